// 04_several: UNROLL loads of 16 bytes in flight.
//
// Computes   y[i] = F(x[i]); x and y contiguous; F is one of ../functions.cuh
// Launch     grid min(floor(size/(BLOCK*N*UNROLL)), 16 blocks an SM), at least 1, block BLOCK; N = 16 / the larger element
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(Y)) B
// Since 03   a thread asks for UNROLL vectors before it needs the first: UNROLL times the bytes on their way from memory at any moment
// Numerics   as 01
// Source     Volkov 2010, "Better Performance at Lower Occupancy" (GTC): bytes in flight, not threads, hide the latency of memory
#include "unary/functions.cuh"

constexpr int N = 16 / (sizeof(A) > sizeof(Y) ? sizeof(A) : sizeof(Y));

__device__ __forceinline__ Vec<Y, N> apply(Vec<A, N> in, C p, C q) {
    Vec<Y, N> out;
    #pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = Y(F(C(in.v[k]), p, q));
    return out;
}

extern "C" __global__ void unary_fwd(const A* __restrict__ x, Y* __restrict__ y, int64_t size, double p, double q) {
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    // A view may start anywhere: where the addresses do not fit, the last loop does all of it.
    const int64_t vectors = is_aligned<A, N>(x) && is_aligned<Y, N>(y) ? size / N : 0;
    const Vec<A, N>* from = reinterpret_cast<const Vec<A, N>*>(x);
    Vec<Y, N>* to = reinterpret_cast<Vec<Y, N>*>(y);
    int64_t i = first;
    for (; i + (UNROLL - 1) * step < vectors; i += UNROLL * step) {
        Vec<A, N> in[UNROLL];
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) in[u] = from[i + u * step];
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) to[i + u * step] = apply(in[u], C(p), C(q));
    }
    for (; i < vectors; i += step) to[i] = apply(from[i], C(p), C(q));
    for (i = vectors * N + first; i < size; i += step) y[i] = Y(F(C(x[i]), C(p), C(q)));
}
