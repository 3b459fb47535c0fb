// 01_naive: one thread a row, three passes over it.
//
// Computes   y[m, j] = x[m, j] - hi[m] - log(sum_j exp(x[m, j] - hi[m])), hi[m] = max_j x[m, j]; x, y (M, N); any M, N >= 1
// Launch     grid ceil(M/BLOCK), block BLOCK
// FLOPs      6*M*N (compare, subtract, exp, add, subtract twice)
// Traffic    4*sizeof(T)*M*N B requested (three reads, one write); floor 2*sizeof(T)*M*N B
// Intensity  6/(4*sizeof(T)) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order of j; hi comes off before the logarithm of the sum does, so that large x keep their digits
// Source     the textbook definition
#include "common.cuh"

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (m >= M) return;
    x += m * N;
    y += m * N;
    acc_t hi = -INF, sum = 0;
    for (int64_t j = 0; j < N; ++j) hi = nan_max(hi, acc_t(x[j]));
    for (int64_t j = 0; j < N; ++j) sum += exp_(acc_t(x[j]) - hi);
    const acc_t log_sum = log_(sum);
    for (int64_t j = 0; j < N; ++j) y[j] = T(acc_t(x[j]) - hi - log_sum);
}
