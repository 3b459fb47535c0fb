// 08_async: tiles travel to shared memory by cp.async, STAGES - 1 of them under way while one is multiplied.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid (ceil(M/BM)*ceil(N/BN), 1, min(batches, 65535)), block THREADS = BM*BN/(TM*TN), dynamic smem STAGES*BK*(BM+BN)*sizeof(T) B
// FLOPs      2*M*N*K a matrix
// Traffic    sizeof(T)*M*N*K*(1/BM + 1/BN) + sizeof(T)*M*N B requested a matrix; floor sizeof(T)*(M*K + K*N + M*N) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 07   no load passes through registers or is waited for at once, and one barrier a tile in place of two. cp.async cannot turn a vector, so
//            an operand whose rows lie along k comes one element a copy; and it cannot convert, so T is the type of the sums
// Numerics   fp32, summed in order of k; float alone
// Source     PTX ISA, "cp.async"; Kerr 2020, as 06 (multistage pipeline)
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

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, int64_t M, int64_t N,
               int64_t K, int64_t a_m, int64_t a_k, int64_t b_k, int64_t b_n, int64_t bias_n, Dims batch, int64_t batches) {
    extern __shared__ __align__(16) unsigned char memory[];
    auto As = reinterpret_cast<T(*)[BK][BM]>(memory);  // As[stage][k][m]
    auto Bs = reinterpret_cast<T(*)[BK][BN]>(memory + STAGES * sizeof(*As));
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, x = lane % COLS, y = lane / COLS;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
    const int64_t across = (N + BN - 1) / BN;
    const int64_t m0 = blockIdx.x / across * BM, n0 = blockIdx.x % across * BN;
    const bool wide = N % W == 0 && is_aligned<T, W>(C);
    for (int64_t z = blockIdx.z; z < batches; z += gridDim.z) {
        int64_t at[2];
        offsets(batch, z, at, 2);
        acc_t acc[TM][TN] = {};
        for (int t = 0; t < STAGES - 1; ++t) {
            copy_tile(As[t], A + at[0], m0, t * BK, M, K, a_m, a_k);
            copy_tile(Bs[t], B + at[1], n0, t * BK, N, K, b_n, b_k);
            cp_async_commit();
        }
        int stage = 0, next = STAGES - 1;  // which slot is multiplied, and which one is filled meanwhile
        for (int64_t k0 = 0; k0 < K; k0 += BK) {
            cp_async_wait<STAGES - 2>();  // this thread's part of the tile has landed
            __syncthreads();              // everybody's has; and nobody reads the slot of the tile before any more
            copy_tile(As[next], A + at[0], m0, k0 + (STAGES - 1) * BK, M, K, a_m, a_k);
            copy_tile(Bs[next], B + at[1], n0, k0 + (STAGES - 1) * BK, N, K, b_n, b_k);
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
                    acc_t v[W];
                    for (int j = 0; j < W; ++j) v[j] = acc[i][p * W + j];
                    store_row<W>(v, bias, bias_n, extra, C, (z * M + m) * N + n, n, N, wide);
                }
            }
    }
}
