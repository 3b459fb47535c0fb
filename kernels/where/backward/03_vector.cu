// 03_vector: 16 bytes of gradients a load and a store, and their conditions with them.
//
// Computes   da[i] = condition[i] ? dy[i] : 0 where NEED & 1, db[i] = condition[i] ? 0 : dy[i] where NEED & 2
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / sizeof(T)
// FLOPs      0
// Traffic    size * (1 + sizeof(T)) B read, size * sizeof(T) B written a gradient
// Since 02   N neighbours move as one access: fewer instructions and more bytes in flight a thread
// Numerics   exact
#include "common.cuh"

constexpr int N = 16 / sizeof(T);

// N neighbours from vector i on; all the same for a scalar.
template <typename X, int N> __device__ __forceinline__ Vec<X, N> load(const X* p, int64_t i, int64_t stride) {
    if (stride) return reinterpret_cast<const Vec<X, N>*>(p)[i];
    Vec<X, N> same;
    #pragma unroll
    for (int k = 0; k < N; ++k) same.v[k] = p[0];
    return same;
}

extern "C" __global__ void where_bwd(
    const bool* __restrict__ condition, const T* __restrict__ dy, T* __restrict__ da, T* __restrict__ db, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t sc = dims.stride[0][0], sg = dims.stride[1][0];
    const bool inputs = (!sc || is_aligned<bool, N>(condition)) && (!sg || is_aligned<T, N>(dy));
    const bool outputs = (!(NEED & 1) || is_aligned<T, N>(da)) && (!(NEED & 2) || is_aligned<T, N>(db));
    const int64_t vectors = inputs && outputs ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<bool, N> chosen = load<bool, N>(condition, i, sc);
        const Vec<T, N> g = load<T, N>(dy, i, sg);
        Vec<T, N> left, right;
        #pragma unroll
        for (int k = 0; k < N; ++k) {
            left.v[k] = chosen.v[k] ? g.v[k] : T(0);
            right.v[k] = chosen.v[k] ? T(0) : g.v[k];
        }
        if (NEED & 1) reinterpret_cast<Vec<T, N>*>(da)[i] = left;
        if (NEED & 2) reinterpret_cast<Vec<T, N>*>(db)[i] = right;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) {
        const bool chosen = condition[i * sc];
        const T g = dy[i * sg];
        if (NEED & 1) da[i] = chosen ? g : T(0);
        if (NEED & 2) db[i] = chosen ? T(0) : g;
    }
}
