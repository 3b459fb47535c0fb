// 02_vector: 16 bytes of gradients a load and a store, and their mask with them.
//
// Computes   dx[i] = mask[i] ? dy[i] * scale : 0
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / sizeof(T)
// FLOPs      1 an element
// Traffic    size * (2*sizeof(T) + 1) B
// Since 01   N neighbours move as one access; a grid-stride loop
// Numerics   as 01
#include "common.cuh"

extern "C" __global__ void dropout_bwd(const T* __restrict__ dy, const bool* __restrict__ mask, T* __restrict__ dx, int64_t size, acc_t scale) {
    constexpr int N = 16 / sizeof(T);
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t vectors = is_aligned<T, N>(dy) && is_aligned<bool, N>(mask) && is_aligned<T, N>(dx) ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<T, N> g = reinterpret_cast<const Vec<T, N>*>(dy)[i];
        const Vec<bool, N> kept = reinterpret_cast<const Vec<bool, N>*>(mask)[i];
        Vec<T, N> out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = kept.v[k] ? T(acc_t(g.v[k]) * scale) : T(0);
        reinterpret_cast<Vec<T, N>*>(dx)[i] = out;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) dx[i] = mask[i] ? T(acc_t(dy[i]) * scale) : T(0);
}
