// 11_stream_k: as many blocks as multiprocessors, and each does the same number of steps, wherever a tile of C ends.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid G = min(multiprocessors, tiles*steps), block THREADS = BM*BN/(TM*TN), dynamic smem STAGES*BK*(BM+BN)*sizeof(T) B; then
//            grid tiles, block THREADS; tiles = ceil(M/BM)*ceil(N/BN)*batches, steps = ceil(K/BK)
// FLOPs      2*M*N*K a matrix, and an addition for each partial sum
// Traffic    sizeof(T)*M*N*K*(1/BM + 1/BN) + sizeof(T)*M*N B requested a matrix, and 2*pieces*BM*BN*sizeof(acc_t) B: pieces (at most 2*G) are the parts of
//            tiles that more than one block works on
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested, less what the pieces cost
// Since 10   the steps of all tiles, one after another, are dealt out in G equal runs. A run may begin and end inside a tile: these two pieces go to
//            `partial`, whole tiles straight to C. No block is idle while others do the last tiles; the second launch adds a tile's pieces in order
// Numerics   fp32, summed in order of k within a piece, then in order of pieces; repeatable bit for bit on GPUs of as many multiprocessors; float alone
// Source     Osama et al. 2023, "Stream-K: Work-centric Parallel Decomposition for Dense Matrix-Matrix Multiplication on the GPU", arXiv:2301.03598
//            (there a block waits for its neighbours' pieces; here a second launch takes them, so no block depends on another's progress)
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
    if (k0 >= K) return;  // kept: nobody will read that tile, and its zeros could land in the next one's slot (copies under way have no order)
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

// The work is tiles * steps steps; block b of G does those from begin(b) to begin(b + 1), and step i is done by block owner(i).
__device__ __forceinline__ int64_t begin(int64_t b, int64_t work, int64_t G) { return b * work / G; }
__device__ __forceinline__ int64_t owner(int64_t i, int64_t work, int64_t G) { return ((i + 1) * G - 1) / work; }

// Tile t of all: of which matrix, and where in it.
struct Place { int64_t z, m0, n0; };
__device__ __forceinline__ Place place(int64_t t, int64_t M, int64_t N) {
    const int64_t down = (M + BM - 1) / BM, across = (N + BN - 1) / BN, in = t % (down * across);
    return {t / (down * across), in / across * BM, in % across * BN};
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, acc_t* __restrict__ partial,
               int64_t M, int64_t N, int64_t K, int64_t a_m, int64_t a_k, int64_t b_k, int64_t b_n, int64_t bias_n, Dims batch, int64_t tiles) {
    extern __shared__ __align__(16) unsigned char memory[];
    auto As = reinterpret_cast<T(*)[BK][BM]>(memory);  // As[stage][k][m]
    auto Bs = reinterpret_cast<T(*)[BK][BN]>(memory + STAGES * sizeof(*As));
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, x = lane % COLS, y = lane / COLS;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
    const int64_t steps = K > 0 ? (K + BK - 1) / BK : 1, work = tiles * steps;
    const int64_t first = begin(blockIdx.x, work, gridDim.x), last = begin(blockIdx.x + 1, work, gridDim.x);
    const bool wide = N % W == 0 && is_aligned<T, W>(C);
    for (int64_t step = first, stop; step < last; step = stop) {  // a tile, or the piece of one that falls to this block
        const int64_t tile = step / steps, end = (tile + 1) * steps;
        stop = end < last ? end : last;
        const bool whole = stop - step == steps;
        const int64_t from = step % steps * BK, until = from + (stop - step) * BK, to = until < K ? until : K;
        const auto [z, m0, n0] = place(tile, M, N);
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
        __syncthreads();  // the next tile fills slots that are still read here
        acc_t* piece = partial + (2 * blockIdx.x + (step > first)) * int64_t(BM * BN);  // a run has two of them at most: its first and its last
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int p = 0; p < TN / W; ++p) {
                const int down = wm + (i / W * ROWS + y) * W + i % W, right = wn + (p * COLS + x) * W;
                const int64_t m = m0 + down, n = n0 + right;
                if (!whole) {
                    Sums c;
                    for (int j = 0; j < W; ++j) c.v[j] = acc[i][p * W + j];
                    *reinterpret_cast<Sums*>(&piece[down * BN + right]) = c;
                } else if (m < M && n < N) {
                    acc_t v[W];
                    for (int j = 0; j < W; ++j) v[j] = acc[i][p * W + j];
                    store_row<W>(v, bias, bias_n, extra, C, (z * M + m) * N + n, n, N, wide);
                }
            }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    matmul_fwd_sum(const acc_t* __restrict__ partial, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, int64_t M, int64_t N, int64_t K, int64_t bias_n,
                   int64_t tiles, int64_t G) {
    const int64_t steps = K > 0 ? (K + BK - 1) / BK : 1, work = tiles * steps, tile = blockIdx.x;
    const int64_t first = owner(tile * steps, work, G), last = owner(tile * steps + steps - 1, work, G);
    if (first == last) return;  // one block had it whole
    const int64_t top = (2 * first + (begin(first, work, G) < tile * steps)) * (BM * BN);  // a block that begins before has it as its last piece
    const auto [z, m0, n0] = place(tile, M, N);
    for (int i = threadIdx.x; i < BM * BN; i += THREADS) {
        const int64_t m = m0 + i / BN, n = n0 + i % BN;
        if (m >= M || n >= N) continue;
        acc_t v = partial[top + i];
        for (int64_t b = first + 1; b <= last; ++b) v += partial[2 * b * (BM * BN) + i];  // which begin in this tile: it is their first piece
        store_one(v, bias + n * bias_n, extra, C, (z * M + m) * N + n);
    }
}
