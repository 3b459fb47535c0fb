// 03_vector: 16 bytes a load and a store; a scalar stays in a register.
//
// Computes   da[i] = DA(dy[i], a[i], b[i]) where NEED & 1, db[i] = DB(dy[i], a[i], b[i]) where NEED & 2; dy, a, b contiguous or of stride 0
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / the largest element
// FLOPs      1 to 40 an element and gradient, as DA and DB are
// Traffic    size * (sizeof(T) + sizeof(A) + sizeof(B)) B read, less what DA and DB do not use, size * sizeof(T) B written a gradient
// Since 02   N neighbours move as one access: fewer instructions and more bytes in flight a thread
// Numerics   as 01
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

extern "C" __global__ void binary_bwd(
    const T* __restrict__ dy, const A* __restrict__ a, const B* __restrict__ b, T* __restrict__ da, T* __restrict__ db, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t sg = dims.stride[0][0], sa = dims.stride[1][0], sb = dims.stride[2][0];
    const bool inputs = (!sg || is_aligned<T, N>(dy)) && (!sa || is_aligned<A, N>(a)) && (!sb || is_aligned<B, N>(b));
    const bool outputs = (!(NEED & 1) || is_aligned<T, N>(da)) && (!(NEED & 2) || is_aligned<T, N>(db));
    const int64_t vectors = inputs && outputs ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<T, N> g = load<T, N>(dy, i, sg);
        const Vec<A, N> left = load<A, N>(a, i, sa);
        const Vec<B, N> right = load<B, N>(b, i, sb);
        Vec<T, N> out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = T(DA(C(g.v[k]), C(left.v[k]), C(right.v[k])));
        if (NEED & 1) reinterpret_cast<Vec<T, N>*>(da)[i] = out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = T(DB(C(g.v[k]), C(left.v[k]), C(right.v[k])));
        if (NEED & 2) reinterpret_cast<Vec<T, N>*>(db)[i] = out;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) {
        const C g = C(dy[i * sg]), left = C(a[i * sa]), right = C(b[i * sb]);
        if (NEED & 1) da[i] = T(DA(g, left, right));
        if (NEED & 2) db[i] = T(DB(g, left, right));
    }
}
