// 03_vector: 16 bytes a load and a store.
//
// Computes   y[i] = F(x[i]); x and y contiguous; F is one of ../functions.cuh
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / the larger element
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(Y)) B
// Since 02   N neighbours move as one access: a quarter of the instructions for float, an eighth for halves, and more bytes in flight a thread
// Numerics   as 01
// Source     Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access"
#include "unary/functions.cuh"

extern "C" __global__ void unary_fwd(const A* __restrict__ x, Y* __restrict__ y, int64_t size, double p, double q) {
    constexpr int N = 16 / (sizeof(A) > sizeof(Y) ? sizeof(A) : sizeof(Y));
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    // A view may start anywhere: where the addresses do not fit, the last loop does all of it.
    const int64_t vectors = is_aligned<A, N>(x) && is_aligned<Y, N>(y) ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<A, N> in = reinterpret_cast<const Vec<A, N>*>(x)[i];
        Vec<Y, N> out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = Y(F(C(in.v[k]), C(p), C(q)));
        reinterpret_cast<Vec<Y, N>*>(y)[i] = out;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) y[i] = Y(F(C(x[i]), C(p), C(q)));
}
