// 04_thread_tile: each thread keeps a TM x TN patch of C in registers.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid (ceil(M/BM)*ceil(N/BN), 1, min(batches, 65535)), block THREADS = BM*BN/(TM*TN), static smem BK*(BM+BN+2)*sizeof(acc_t) B
// FLOPs      2*M*N*K a matrix
// Traffic    sizeof(T)*M*N*K*(1/BM + 1/BN) + sizeof(T)*M*N B requested a matrix; floor sizeof(T)*(M*K + K*N + M*N) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 03   a patch of C a thread: each value read from shared memory feeds TM or TN multiply-adds, and the tile can be larger
// Numerics   fp32 (fp64 for double, 64 bits for integers), summed in order of k
// Source     Volkov & Demmel 2008, "Benchmarking GPUs to Tune Dense Linear Algebra" (register blocking)
#include "epilogue/epilogue.cuh"

constexpr int ROWS = BM / TM, COLS = BN / TN, THREADS = ROWS * COLS;
static_assert(BM % TM == 0 && BN % TN == 0, "the block tile is made of whole thread tiles");

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, int64_t M, int64_t N,
               int64_t K, int64_t a_m, int64_t a_k, int64_t b_k, int64_t b_n, int64_t bias_n, Dims batch, int64_t batches) {
    __shared__ acc_t As[BK][BM + 1], Bs[BK][BN + 1];  // one more column: a tile that is stored turned meets no bank twice
    const int tid = threadIdx.x, x = tid % COLS, y = tid / COLS;
    const int64_t across = (N + BN - 1) / BN;
    const int64_t m0 = blockIdx.x / across * BM, n0 = blockIdx.x % across * BN;
    const bool a_turned = a_k != 1 && a_m == 1, b_turned = b_n != 1 && b_k == 1;  // where neighbouring threads find neighbouring addresses
    for (int64_t z = blockIdx.z; z < batches; z += gridDim.z) {
        int64_t at[2];
        offsets(batch, z, at, 2);
        const T* a = A + at[0];
        const T* b = B + at[1];
        acc_t acc[TM][TN] = {};
        for (int64_t k0 = 0; k0 < K; k0 += BK) {
            for (int i = tid; i < BM * BK; i += THREADS) {
                const int m = a_turned ? i % BM : i / BK, k = a_turned ? i / BM : i % BK;
                As[k][m] = m0 + m < M && k0 + k < K ? acc_t(a[(m0 + m) * a_m + (k0 + k) * a_k]) : acc_t(0);
            }
            for (int i = tid; i < BK * BN; i += THREADS) {
                const int k = b_turned ? i % BK : i / BN, n = b_turned ? i / BK : i % BN;
                Bs[k][n] = k0 + k < K && n0 + n < N ? acc_t(b[(k0 + k) * b_k + (n0 + n) * b_n]) : acc_t(0);
            }
            __syncthreads();  // the tiles are complete
#pragma unroll
            for (int k = 0; k < BK; ++k) {
                acc_t av[TM], bv[TN];
                for (int i = 0; i < TM; ++i) av[i] = As[k][y + i * ROWS];
                for (int j = 0; j < TN; ++j) bv[j] = Bs[k][x + j * COLS];  // COLS apart, so that a warp reads and stores neighbours
                for (int i = 0; i < TM; ++i)
                    for (int j = 0; j < TN; ++j) acc[i][j] += av[i] * bv[j];
            }
            __syncthreads();  // and read, before the next ones overwrite them
        }
        for (int i = 0; i < TM; ++i)
            for (int j = 0; j < TN; ++j) {
                const int64_t m = m0 + y + i * ROWS, n = n0 + x + j * COLS;
                if (m < M && n < N) {
                    store_one(acc[i][j], bias + n * bias_n, extra, C, (z * M + m) * N + n);
                }
            }
    }
}
