// 02_vector: for one run of memory: 16 bytes a store.
//
// Computes   y[i] = T(value) for floating T, T(integer) otherwise; y contiguous
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / sizeof(T)
// FLOPs      0
// Traffic    size * sizeof(T) B
// Since 01   no index is taken apart; N neighbours move as one store; a grid-stride loop
// Numerics   as 01
#include "common.cuh"

extern "C" __global__ void fill_fwd(T* __restrict__ y, int64_t size, double value, int64_t integer) {
    constexpr int N = 16 / sizeof(T);
    const T one = T(0.5f) == T(0) || sizeof(T) == 1 ? static_cast<T>(integer) : static_cast<T>(value);
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t vectors = is_aligned<T, N>(y) ? size / N : 0;
    Vec<T, N> all;
    #pragma unroll
    for (int k = 0; k < N; ++k) all.v[k] = one;
    for (int64_t i = first; i < vectors; i += step) reinterpret_cast<Vec<T, N>*>(y)[i] = all;
    for (int64_t i = vectors * N + first; i < size; i += step) y[i] = one;
}
