// 01_naive: one thread an output, which writes its K pieces.
//
// Computes   dx[m, k, i] = k == which[m, i] ? dy[m, i] : 0; dx (M, K, I), dy and which (M, I)
// Launch     grid ceil(M*I/BLOCK), block BLOCK
// FLOPs      0
// Traffic    M*I*(K*sizeof(T) + sizeof(T) + 4*K) B; for I = 1 each store of a warp touches K times the sectors that it fills
// Numerics   exact
#include "common.cuh"

extern "C" __global__ void maxout_bwd(
    const T* __restrict__ dy, const int32_t* __restrict__ which, T* __restrict__ dx, int64_t M, int64_t K, int64_t I) {
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j >= M * I) return;
    const int64_t m = j / I, i = j - m * I;
    for (int64_t k = 0; k < K; ++k) dx[(m * K + k) * I + i] = k == which[j] ? dy[j] : T(0);
}
