// 10_split_k: several blocks share a tile of C, each with a slice of K; a second launch adds the slices, in order.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid (ceil(M/BM)*ceil(N/BN), slices, min(batches, 65535)), block THREADS = BM*BN/(TM*TN), dynamic smem STAGES*BK*(BM+BN)*sizeof(T) B; then
//            grid ceil(batches*M*N/THREADS), block THREADS
// FLOPs      2*M*N*K a matrix, and slices*M*N additions
// Traffic    sizeof(T)*M*N*K*(1/BM + 1/BN) + sizeof(T)*M*N B requested a matrix, and the partial sums written and read: 2*slices*M*N*sizeof(acc_t) B
// Intensity  2/(1/BM + 1/BN + 2*slices/K)/sizeof(T) FLOP/B requested
// Since 09   blocks for the idle multiprocessors where C has few tiles and K is long: slices of K. No atomics: every slice has its own sums in `partial`,
//            so the order of addition, and with it every bit, is that of the slices whichever block comes first
// Numerics   fp32, summed in order of k within a slice, then in order of slices; repeatable bit for bit; float alone
// Source     CUTLASS, "Efficient GEMM in CUDA" (parallel reductions: split-K)
#include "epilogue/epilogue.cuh"

constexpr int ROWS = WM / TM, COLS = WN / TN, THREADS = BM * BN / (TM * TN);  // lanes of a warp, down and across
constexpr int W = 16 / sizeof(T);  // elements in 16 bytes
static_assert(BM % WM == 0 && BN % WN == 0 && ROWS * COLS == 32, "the block tile is made of whole warp tiles, and these of 32 thread tiles");
static_assert(TM % W == 0 && TN % W == 0 && BM % W == 0 && BN % W == 0, "and the tiles of whole vectors");
typedef Vec<acc_t, W> Sums;

// Where a warp turns elements, BK lanes side by side hold different k and 32/BK neighbours of the other axis.
constexpr int SHIFT = 32 / BK;
static_assert(sizeof(T) == 4 && sizeof(acc_t) == 4, "cp.async copies 4 bytes or more, and does not convert");
static_assert(STAGES >= 2 && SHIFT % W == 0 && BM % 32 == 0 && BN % 32 == 0, "the xor permutes whole vectors within 32 words");
__device__ __forceinline__ constexpr int swizzle(int k) { return k * SHIFT % 32; }

// Start the copy of a BO x BK piece of A (o is m) or of B (o is n), with zeros past its edges: a copy of 0 bytes writes them and reads nothing.
template <int BO>
__device__ __forceinline__ void copy_tile(T (&Xs)[BK][BO], const T* x, int64_t o0, int64_t k0, int64_t O, int64_t K, int64_t x_o, int64_t x_k) {
    if (k0 >= K) return;  // kept: nobody will read that tile, only zeros are spared
    const bool turned = x_k == 1 && x_o != 1;  // rows lie along k and are stored down a column of the tile
    const bool wide = is_aligned<T, W>(x) && !turned && x_o == 1 && O % W == 0 && x_k % W == 0;
    if (wide) {  // then no vector crosses an edge
        for (int i = threadIdx.x; i < BO * BK / W; i += THREADS) {
            const int o = i % (BO / W) * W, k = i / (BO / W);
            const bool in = o0 + o < O && k0 + k < K;
            cp_async_16(&Xs[k][o ^ swizzle(k)], in ? x + (o0 + o) + (k0 + k) * x_k : x, in ? 16 : 0);
        }
    } else {
#pragma unroll 1  // addresses of several elements at once would take registers that the sums need
        for (int i = threadIdx.x; i < BO * BK; i += THREADS) {
            const int o = turned ? i / BK : i % BO, k = turned ? i % BK : i / BO;
            const bool in = o0 + o < O && k0 + k < K;
            cp_async_4(&Xs[k][o ^ swizzle(k)], in ? x + (o0 + o) * x_o + (k0 + k) * x_k : x, in ? 4 : 0);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, acc_t* __restrict__ partial, int64_t M, int64_t N, int64_t K, int64_t a_m,
               int64_t a_k, int64_t b_k, int64_t b_n, Dims batch, int64_t batches) {
    extern __shared__ __align__(16) unsigned char memory[];
    auto As = reinterpret_cast<T(*)[BK][BM]>(memory);  // As[stage][k][m]
    auto Bs = reinterpret_cast<T(*)[BK][BN]>(memory + STAGES * sizeof(*As));
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, x = lane % COLS, y = lane / COLS;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
    const int64_t down = (M + BM - 1) / BM, across = (N + BN - 1) / BN;
    const int64_t top = blockIdx.x / (GROUP * across) * GROUP, at_group = blockIdx.x % (GROUP * across);  // the group's first row of blocks
    const int64_t height = down - top < GROUP ? down - top : GROUP;                                      // the last group may be lower
    const int64_t m0 = (top + at_group % height) * BM, n0 = at_group / height * BN;
    const int64_t span = ((K + BK - 1) / BK + gridDim.y - 1) / gridDim.y * BK;  // of k in a slice; the last may have less, or nothing
    const int64_t from = blockIdx.y * span, to = from + span < K ? from + span : K;
    const bool wide = N % W == 0;
    for (int64_t z = blockIdx.z; z < batches; z += gridDim.z) {
        int64_t at[2];
        offsets(batch, z, at, 2);
        acc_t acc[TM][TN] = {};
        for (int t = 0; t < STAGES - 1; ++t) {
            copy_tile(As[t], A + at[0], m0, from + t * BK, M, to, a_m, a_k);
            copy_tile(Bs[t], B + at[1], n0, from + t * BK, N, to, b_n, b_k);
            cp_async_commit();
        }
        int stage = 0, next = STAGES - 1;  // which slot is multiplied, and which one is filled meanwhile
        for (int64_t k0 = from; k0 < to; k0 += BK) {
            cp_async_wait<STAGES - 2>();  // this thread's part of the tile has landed
            __syncthreads();              // everybody's has; and nobody reads the slot of the tile before any more
            copy_tile(As[next], A + at[0], m0, k0 + (STAGES - 1) * BK, M, to, a_m, a_k);
            copy_tile(Bs[next], B + at[1], n0, k0 + (STAGES - 1) * BK, N, to, b_n, b_k);
            cp_async_commit();
#pragma unroll
            for (int k = 0; k < BK; ++k) {
                Sums av[TM / W], bv[TN / W];
                for (int p = 0; p < TM / W; ++p) av[p] = *reinterpret_cast<const Sums*>(&As[stage][k][(wm + (p * ROWS + y) * W) ^ swizzle(k)]);
                for (int p = 0; p < TN / W; ++p) bv[p] = *reinterpret_cast<const Sums*>(&Bs[stage][k][(wn + (p * COLS + x) * W) ^ swizzle(k)]);
                for (int i = 0; i < TM; ++i)
                    for (int j = 0; j < TN; ++j) acc[i][j] += av[i / W].v[i % W] * bv[j / W].v[j % W];
            }
            stage = stage + 1 == STAGES ? 0 : stage + 1;
            next = next + 1 == STAGES ? 0 : next + 1;
        }
        __syncthreads();  // kept: the next matrix of a batch of more than 65535, larger than any sample, fills slots still read here
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int p = 0; p < TN / W; ++p) {
                const int64_t m = m0 + wm + (i / W * ROWS + y) * W + i % W, n = n0 + wn + (p * COLS + x) * W;
                if (m < M && n < N) {
                    Sums c;
                    for (int j = 0; j < W; ++j) c.v[j] = acc[i][p * W + j];
                    acc_t* to_slice = partial + ((blockIdx.y * batches + z) * M + m) * N + n;
                    if (wide) store_whole(reinterpret_cast<Sums*>(to_slice), c);
                    else
                        for (int j = 0; j < W; ++j)
                            if (n + j < N) to_slice[j] = c.v[j];
                }
            }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_fwd_sum(const acc_t* __restrict__ partial, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, int64_t M, int64_t N, int64_t bias_n,
                   int64_t batches, int64_t slices) {
    const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x, size = batches * M * N;
    if (i >= size) return;
    acc_t v = 0;
    for (int64_t s = 0; s < slices; ++s) v += partial[s * size + i];
    store_one(v, bias + i % N * bias_n, extra, C, i);
}
