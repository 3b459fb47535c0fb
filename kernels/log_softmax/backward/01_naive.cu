// 01_naive: one thread a row, two passes over it.
//
// Computes   dx[m, j] = dy[m, j] - exp(y[m, j]) * sum_j dy[m, j]; dy, y, dx (M, N); any M, N >= 1
// Launch     grid ceil(M/BLOCK), block BLOCK
// FLOPs      4*M*N
// Traffic    4*sizeof(T)*M*N B requested (two reads of dy, one of y, one write); floor 3*sizeof(T)*M*N B
// Intensity  1/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order of j
// Source     the derivative of the definition; only the output y is needed
#include "common.cuh"

extern "C" __global__ void log_softmax_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t M, int64_t N) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (m >= M) return;
    dy += m * N;
    y += m * N;
    dx += m * N;
    acc_t sum = 0;
    for (int64_t j = 0; j < N; ++j) sum += acc_t(dy[j]);
    for (int64_t j = 0; j < N; ++j) dx[j] = T(acc_t(dy[j]) - exp_(acc_t(y[j])) * sum);
}
