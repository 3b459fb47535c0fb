// 03_columns: for rows of channels (I = 1), a warp takes 32 neighbouring channels.
//
// Computes   g[o, k] = dy[o, k] * ACT'(y[o, k]) (with an activation), db[k] = sum_o g[o, k] (with a bias); all (O, K), db (K); I = 1
// Launch     grid ceil(K/32), block (32, ROWS)
// FLOPs      2*O*K
// Traffic    3*sizeof(T)*O*K + sizeof(T)*K B with an activation, sizeof(T)*O*K without
// Since 02   the channels are what lies side by side here: lanes take channels, warps take every ROWS-th row
// Numerics   fp32 (fp64 for double); every ROWS-th row in order, then the warps in order: repeatable bit for bit
// Source     the column sum of Harris 2007, "Optimizing Parallel Reduction in CUDA", turned
#include "epilogue/epilogue.cuh"

extern "C" __global__ void epilogue_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ g, T* __restrict__ db, int64_t O,
                                        int64_t K, int act, double number, int bias) {
    __shared__ acc_t sums[ROWS][32];
    const int lane = threadIdx.x, row = threadIdx.y;
    const int64_t k = blockIdx.x * int64_t(32) + lane;
    acc_t sum = 0;
    if (k < K)
        for (int64_t o = row; o < O; o += ROWS) {
            acc_t v = acc_t(dy[o * K + k]);
            if (act) {
                v = before(act, acc_t(number), v, acc_t(y[o * K + k]));
                g[o * K + k] = T(v);
            }
            sum += v;
        }
    sums[row][lane] = sum;
    __syncthreads();  // every warp has its sums down
    if (row == 0 && k < K && bias) {
        for (int r = 1; r < ROWS; ++r) sum += sums[r][lane];
        db[k] = T(sum);
    }
}
