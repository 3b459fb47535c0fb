// 04_several: UNROLL loads of 16 bytes of each operand in flight.
//
// Computes   dx[i] = F(dy[i], v[i]); all contiguous
// Launch     grid min(floor(size/(BLOCK*N*UNROLL)), 16 blocks an SM), at least 1, block BLOCK; N = 16 / the larger element
// FLOPs      1 to 40 an element, as F is
// Traffic    size * (2*sizeof(T) + sizeof(A)) B
// Since 03   a thread asks for UNROLL vectors of dy and of v before it needs the first
// Numerics   as 01
// Source     Volkov 2010, "Better Performance at Lower Occupancy" (GTC): bytes in flight, not threads, hide the latency of memory
#include "unary/functions.cuh"

constexpr int N = 16 / (sizeof(T) > sizeof(A) ? sizeof(T) : sizeof(A));

__device__ __forceinline__ Vec<T, N> apply(Vec<T, N> g, Vec<A, N> in, C p, C q) {
    Vec<T, N> out;
    #pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = T(F(C(g.v[k]), C(in.v[k]), p, q));
    return out;
}

extern "C" __global__ void unary_bwd(
    const T* __restrict__ dy, const A* __restrict__ v, T* __restrict__ dx, int64_t size, double p, double q) {
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t vectors = is_aligned<T, N>(dy) && is_aligned<A, N>(v) && is_aligned<T, N>(dx) ? size / N : 0;
    const Vec<T, N>* gs = reinterpret_cast<const Vec<T, N>*>(dy);
    const Vec<A, N>* vs = reinterpret_cast<const Vec<A, N>*>(v);
    Vec<T, N>* to = reinterpret_cast<Vec<T, N>*>(dx);
    int64_t i = first;
    for (; i + (UNROLL - 1) * step < vectors; i += UNROLL * step) {
        Vec<T, N> g[UNROLL];
        Vec<A, N> in[UNROLL];
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            g[u] = gs[i + u * step];
            in[u] = vs[i + u * step];
        }
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) to[i + u * step] = apply(g[u], in[u], C(p), C(q));
    }
    for (; i < vectors; i += step) to[i] = apply(gs[i], vs[i], C(p), C(q));
    for (i = vectors * N + first; i < size; i += step) dx[i] = T(F(C(dy[i]), C(v[i]), C(p), C(q)));
}
