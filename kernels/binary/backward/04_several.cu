// 04_several: UNROLL loads of 16 bytes of each operand in flight.
//
// Computes   da[i] = DA(dy[i], a[i], b[i]) where NEED & 1, db[i] = DB(dy[i], a[i], b[i]) where NEED & 2; dy, a, b contiguous or of stride 0
// Launch     grid min(floor(size/(BLOCK*N*UNROLL)), 16 blocks an SM), at least 1, block BLOCK; N = 16 / the largest element
// FLOPs      1 to 40 an element and gradient, as DA and DB are
// Traffic    size * (sizeof(T) + sizeof(A) + sizeof(B)) B read, less what DA and DB do not use, size * sizeof(T) B written a gradient
// Since 03   a thread asks for UNROLL vectors of each operand before it needs the first
// Numerics   as 01
// Source     Volkov 2010, "Better Performance at Lower Occupancy" (GTC): bytes in flight, not threads, hide the latency of memory
#include "binary/functions.cuh"

constexpr int AB = sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B), N = 16 / (AB > sizeof(T) ? AB : sizeof(T));

// N neighbours from vector i on; all the same for a scalar.
template <typename X, int N> __device__ __forceinline__ Vec<X, N> load(const X* p, int64_t i, int64_t stride) {
    if (stride) return reinterpret_cast<const Vec<X, N>*>(p)[i];
    Vec<X, N> same;
    #pragma unroll
    for (int k = 0; k < N; ++k) same.v[k] = p[0];
    return same;
}

__device__ __forceinline__ void store(T* da, T* db, int64_t i, Vec<T, N> g, Vec<A, N> left, Vec<B, N> right) {
    Vec<T, N> out;
    #pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = T(DA(C(g.v[k]), C(left.v[k]), C(right.v[k])));
    if (NEED & 1) reinterpret_cast<Vec<T, N>*>(da)[i] = out;
    #pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = T(DB(C(g.v[k]), C(left.v[k]), C(right.v[k])));
    if (NEED & 2) reinterpret_cast<Vec<T, N>*>(db)[i] = out;
}

extern "C" __global__ void binary_bwd(
    const T* __restrict__ dy, const A* __restrict__ a, const B* __restrict__ b, T* __restrict__ da, T* __restrict__ db, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t sg = dims.stride[0][0], sa = dims.stride[1][0], sb = dims.stride[2][0];
    const bool inputs = (!sg || is_aligned<T, N>(dy)) && (!sa || is_aligned<A, N>(a)) && (!sb || is_aligned<B, N>(b));
    const bool outputs = (!(NEED & 1) || is_aligned<T, N>(da)) && (!(NEED & 2) || is_aligned<T, N>(db));
    const int64_t vectors = inputs && outputs ? size / N : 0;
    int64_t i = first;
    for (; sg && sa && sb && i + (UNROLL - 1) * step < vectors; i += UNROLL * step) {  // a branch for scalars would keep the loads apart
        Vec<T, N> g[UNROLL];
        Vec<A, N> left[UNROLL];
        Vec<B, N> right[UNROLL];
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            g[u] = reinterpret_cast<const Vec<T, N>*>(dy)[i + u * step];
            left[u] = reinterpret_cast<const Vec<A, N>*>(a)[i + u * step];
            right[u] = reinterpret_cast<const Vec<B, N>*>(b)[i + u * step];
        }
        #pragma unroll
        for (int u = 0; u < UNROLL; ++u) store(da, db, i + u * step, g[u], left[u], right[u]);
    }
    for (; i < vectors; i += step) store(da, db, i, load<T, N>(dy, i, sg), load<A, N>(a, i, sa), load<B, N>(b, i, sb));
    for (i = vectors * N + first; i < size; i += step) {
        const C g = C(dy[i * sg]), left = C(a[i * sa]), right = C(b[i * sb]);
        if (NEED & 1) da[i] = T(DA(g, left, right));
        if (NEED & 2) db[i] = T(DB(g, left, right));
    }
}
