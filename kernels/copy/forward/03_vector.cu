// 03_vector: 16 bytes a load and a store.
//
// Computes   y[i] = T(x[i]); x and y contiguous
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / the larger element
// FLOPs      0
// Traffic    size * (sizeof(S) + sizeof(T)) B
// Since 02   N neighbours move as one access: fewer instructions for the same bytes, and more bytes in flight a thread
// Numerics   as 01
// Source     Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access"
#include "common.cuh"

extern "C" __global__ void copy_fwd(const S* __restrict__ x, T* __restrict__ y, int64_t size) {
    constexpr int N = 16 / (sizeof(S) > sizeof(T) ? sizeof(S) : sizeof(T));
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    // A view may start anywhere: where the addresses do not fit, the last loop does all of it.
    const int64_t vectors = is_aligned<S, N>(x) && is_aligned<T, N>(y) ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<S, N> in = reinterpret_cast<const Vec<S, N>*>(x)[i];
        Vec<T, N> out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = static_cast<T>(in.v[k]);
        reinterpret_cast<Vec<T, N>*>(y)[i] = out;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) y[i] = static_cast<T>(x[i]);
}
