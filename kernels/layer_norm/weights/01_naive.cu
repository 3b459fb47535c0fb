// 01_naive: one thread a column, down all rows.
//
// Computes   dw[j] = sum_m dy[m, j] * (x[m, j] - mean[m]) * rstd[m], db[j] = sum_m dy[m, j]; dy, x (M, N)
// Launch     grid ceil(N/BLOCK), block BLOCK
// FLOPs      5*M*N
// Traffic    2*sizeof(T)*M*N B; that is the floor (neighbouring threads read neighbouring columns); mean and rstd
//            of a row once a thread, from cache
// Intensity  5/(2*sizeof(T)) FLOP/B
// Numerics   fp32 (fp64 for double), summed in order of m
// Source     the derivative of the definition
#include "common.cuh"

extern "C" __global__ void layer_norm_bwd_dw(const T* __restrict__ dy, const T* __restrict__ x, const acc_t* __restrict__ mean,
                                             const acc_t* __restrict__ rstd, acc_t* dw, acc_t* db, int64_t M, int64_t N) {
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j >= N) return;
    acc_t sum = 0, dot = 0;
    for (int64_t m = 0; m < M; ++m) {
        const acc_t g = acc_t(dy[m * N + j]);
        sum += g;
        dot += g * ((acc_t(x[m * N + j]) - mean[m]) * rstd[m]);
    }
    dw[j] = dot;
    db[j] = sum;
}
