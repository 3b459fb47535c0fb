// 02_columns: a block of 32 columns has ROWS warps, which share the rows.
//
// Computes   dw[j] = sum_m dy[m, j] * (x[m, j] - mean[m]) * rstd[m], db[j] = sum_m dy[m, j]; dy, x (M, N)
// Launch     grid ceil(N/32), block (32, ROWS), static smem 64*ROWS*sizeof(acc_t) B
// FLOPs      5*M*N
// Traffic    2*sizeof(T)*M*N B; that is the floor; mean and rstd
//            of a row once a thread, from cache
// Intensity  5/(2*sizeof(T)) FLOP/B
// Since 01   ROWS times as many threads with work, and sums ROWS times as short
// Numerics   fp32 (fp64 for double); a sum a warp, added in the order of the warps: repeatable bit for bit
// Source     the derivative of the definition
#include "common.cuh"

extern "C" __global__ void layer_norm_bwd_dw(const T* __restrict__ dy, const T* __restrict__ x, const acc_t* __restrict__ mean,
                                             const acc_t* __restrict__ rstd, acc_t* dw, acc_t* db, int64_t M, int64_t N) {
    __shared__ acc_t sums[ROWS][32], dots[ROWS][32];
    const int lane = threadIdx.x, row = threadIdx.y;
    const int64_t j = blockIdx.x * int64_t(32) + lane;
    acc_t sum = 0, dot = 0;
    if (j < N)
        for (int64_t m = row; m < M; m += ROWS) {
            const acc_t g = acc_t(dy[m * N + j]);
            sum += g;
            dot += g * ((acc_t(x[m * N + j]) - mean[m]) * rstd[m]);
        }
    sums[row][lane] = sum;
    dots[row][lane] = dot;
    __syncthreads();
    if (row != 0 || j >= N) return;  // no barrier follows
    for (int r = 1; r < ROWS; ++r) {
        sum += sums[r][lane];
        dot += dots[r][lane];
    }
    dw[j] = dot;
    db[j] = sum;
}
