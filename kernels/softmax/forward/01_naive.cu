// 01_naive: one thread a row, three passes over it.
//
// Computes   y[m, j] = exp(x[m, j] - hi[m]) / sum_j exp(x[m, j] - hi[m]), hi[m] = max_j x[m, j]; x, y (M, N); any M, N >= 1
// Launch     grid ceil(M/BLOCK), block BLOCK
// FLOPs      5*M*N (compare, subtract, exp, add, multiply)
// Traffic    4*sizeof(T)*M*N B requested (three reads, one write); floor 2*sizeof(T)*M*N B
// Intensity  5/(4*sizeof(T)) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order of j; the maximum is taken off first, so exp cannot overflow
// Source     the textbook definition
#include "common.cuh"

extern "C" __global__ void softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (m >= M) return;
    x += m * N;  // neighbouring threads read addresses N apart: each load of a warp touches 32 sectors
    y += m * N;
    acc_t hi = -INF, sum = 0;
    for (int64_t j = 0; j < N; ++j) hi = nan_max(hi, acc_t(x[j]));
    for (int64_t j = 0; j < N; ++j) sum += exp_(acc_t(x[j]) - hi);
    for (int64_t j = 0; j < N; ++j) y[j] = T(exp_(acc_t(x[j]) - hi) / sum);
}
