// 03_vector: 16 bytes a load and a store.
//
// Computes   dx[i] = F(dy[i], v[i]); all contiguous
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / the larger element
// FLOPs      1 to 40 an element, as F is
// Traffic    size * (2*sizeof(T) + sizeof(A)) B
// Since 02   N neighbours move as one access: fewer instructions and more bytes in flight a thread
// Numerics   as 01
#include "unary/functions.cuh"

extern "C" __global__ void unary_bwd(
    const T* __restrict__ dy, const A* __restrict__ v, T* __restrict__ dx, int64_t size, double p, double q) {
    constexpr int N = 16 / (sizeof(T) > sizeof(A) ? sizeof(T) : sizeof(A));
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t vectors = is_aligned<T, N>(dy) && is_aligned<A, N>(v) && is_aligned<T, N>(dx) ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<T, N> g = reinterpret_cast<const Vec<T, N>*>(dy)[i];
        const Vec<A, N> in = reinterpret_cast<const Vec<A, N>*>(v)[i];
        Vec<T, N> out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = T(F(C(g.v[k]), C(in.v[k]), C(p), C(q)));
        reinterpret_cast<Vec<T, N>*>(dx)[i] = out;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) dx[i] = T(F(C(dy[i]), C(v[i]), C(p), C(q)));
}
