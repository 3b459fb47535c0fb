// 04_several: UNROLL loads of 16 bytes of each operand in flight.
//
// Computes   y[i] = F(a[i], b[i]); y contiguous, a and b contiguous or of stride 0 (a scalar); F is one of ../functions.cuh
// Launch     grid min(floor(size/(BLOCK*N*UNROLL)), 16 blocks an SM), at least 1, block BLOCK; N = 16 / the largest element
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(B) + sizeof(Y)) B; nothing for a scalar
// Since 03   a thread asks for UNROLL vectors of a and of b before it needs the first
// Numerics   as 01
// Source     Volkov 2010, "Better Performance at Lower Occupancy" (GTC): bytes in flight, not threads, hide the latency of memory
#include "binary/functions.cuh"

constexpr int AB = sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B), N = 16 / (AB > sizeof(Y) ? AB : sizeof(Y));

// N neighbours from vector i on; all the same for a scalar.
template <typename X, int N> __device__ __forceinline__ Vec<X, N> load(const X* p, int64_t i, int64_t stride) {
    if (stride) return reinterpret_cast<const Vec<X, N>*>(p)[i];
    Vec<X, N> same;
    #pragma unroll
    for (int k = 0; k < N; ++k) same.v[k] = p[0];
    return same;
}

__device__ __forceinline__ Vec<Y, N> apply(Vec<A, N> left, Vec<B, N> right) {
    Vec<Y, N> out;
    #pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = Y(F(C(left.v[k]), C(right.v[k])));
    return out;
}

extern "C" __global__ void binary_fwd(const A* __restrict__ a, const B* __restrict__ b, Y* __restrict__ y, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t sa = dims.stride[0][0], sb = dims.stride[1][0];
    const bool aligned = (!sa || is_aligned<A, N>(a)) && (!sb || is_aligned<B, N>(b)) && is_aligned<Y, N>(y);
    const int64_t vectors = aligned ? size / N : 0;
    Vec<Y, N>* to = reinterpret_cast<Vec<Y, N>*>(y);
    int64_t i = first;
    for (; sa && sb && i + (UNROLL - 1) * step < vectors; i += UNROLL * step) {  // a branch for scalars would keep the loads apart
        Vec<A, N> left[UNROLL];
        Vec<B, N> right[UNROLL];
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            left[u] = reinterpret_cast<const Vec<A, N>*>(a)[i + u * step];
            right[u] = reinterpret_cast<const Vec<B, N>*>(b)[i + u * step];
        }
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) to[i + u * step] = apply(left[u], right[u]);
    }
    for (; i < vectors; i += step) to[i] = apply(load<A, N>(a, i, sa), load<B, N>(b, i, sb));
    for (i = vectors * N + first; i < size; i += step) y[i] = Y(F(C(a[i * sa]), C(b[i * sb])));
}
