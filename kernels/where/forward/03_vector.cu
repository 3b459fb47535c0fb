// 03_vector: 16 bytes a load and a store, and their conditions with them; a scalar stays in a register.
//
// Computes   y[i] = condition[i] ? a[i] : b[i]; y contiguous, the operands contiguous or of stride 0 (a scalar)
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / the largest element
// FLOPs      0
// Traffic    size * (1 + sizeof(A) + sizeof(B) + sizeof(T)) B, nothing for a scalar: both sides are read, as nearly always in 02 by whole sectors
// Since 02   N neighbours move as one access: fewer instructions and more bytes in flight a thread, and no load waits for its condition
// Numerics   exact
#include "common.cuh"

constexpr int AB = sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B), N = 16 / (AB > sizeof(T) ? AB : sizeof(T));

// N neighbours from vector i on; all the same for a scalar.
template <typename X, int N> __device__ __forceinline__ Vec<X, N> load(const X* p, int64_t i, int64_t stride) {
    if (stride) return reinterpret_cast<const Vec<X, N>*>(p)[i];
    Vec<X, N> same;
    #pragma unroll
    for (int k = 0; k < N; ++k) same.v[k] = p[0];
    return same;
}

extern "C" __global__ void where_fwd(
    const bool* __restrict__ condition, const A* __restrict__ a, const B* __restrict__ b, T* __restrict__ y, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t sc = dims.stride[0][0], sa = dims.stride[1][0], sb = dims.stride[2][0];
    const bool inputs = (!sc || is_aligned<bool, N>(condition)) && (!sa || is_aligned<A, N>(a)) && (!sb || is_aligned<B, N>(b));
    const int64_t vectors = inputs && is_aligned<T, N>(y) ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<bool, N> chosen = load<bool, N>(condition, i, sc);
        const Vec<A, N> left = load<A, N>(a, i, sa);
        const Vec<B, N> right = load<B, N>(b, i, sb);
        Vec<T, N> out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = chosen.v[k] ? T(left.v[k]) : T(right.v[k]);
        reinterpret_cast<Vec<T, N>*>(y)[i] = out;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) y[i] = condition[i * sc] ? T(a[i * sa]) : T(b[i * sb]);
}
