// 02_inputs: one thread an element of dx.
//
// Computes   dx[m, k, i] = k == which[m, i] ? dy[m, i] : 0; dx (M, K, I), dy and which (M, I)
// Launch     grid ceil(M*K*I/BLOCK), block BLOCK
// FLOPs      0
// Traffic    M*I*(K*sizeof(T) + sizeof(T) + 4*K) B
// Since 01   neighbouring threads store to neighbouring addresses for every I; K threads read the same dy, which is one load of the warp
// Numerics   exact
#include "common.cuh"

extern "C" __global__ void maxout_bwd(
    const T* __restrict__ dy, const int32_t* __restrict__ which, T* __restrict__ dx, int64_t M, int64_t K, int64_t I) {
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j >= M * K * I) return;
    const int64_t row = j / I, i = j - row * I, m = row / K, k = row - m * K;
    dx[j] = k == which[m * I + i] ? dy[m * I + i] : T(0);
}
