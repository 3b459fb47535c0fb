// 03_vector: 16 bytes a load and a store; a scalar stays in a register.
//
// Computes   y[i] = F(a[i], b[i]); y contiguous, a and b contiguous or of stride 0 (a scalar); F is one of ../functions.cuh
// Launch     grid min(ceil(size/(BLOCK*N)), 16 blocks an SM), block BLOCK; N = 16 / the largest element
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(B) + sizeof(Y)) B; nothing for a scalar
// Since 02   N neighbours move as one access: fewer instructions and more bytes in flight a thread
// Numerics   as 01
#include "binary/functions.cuh"

// N neighbours from element i on; all the same for a scalar.
template <typename X, int N> __device__ __forceinline__ Vec<X, N> load(const X* p, int64_t i, int64_t stride) {
    if (stride) return reinterpret_cast<const Vec<X, N>*>(p)[i];
    Vec<X, N> same;
    #pragma unroll
    for (int k = 0; k < N; ++k) same.v[k] = p[0];
    return same;
}

extern "C" __global__ void binary_fwd(const A* __restrict__ a, const B* __restrict__ b, Y* __restrict__ y, Dims dims, int64_t size) {
    constexpr int ab = sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B), N = 16 / (ab > sizeof(Y) ? ab : sizeof(Y));
    const int64_t step = gridDim.x * int64_t(BLOCK), first = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int64_t sa = dims.stride[0][0], sb = dims.stride[1][0];
    const bool aligned = (!sa || is_aligned<A, N>(a)) && (!sb || is_aligned<B, N>(b)) && is_aligned<Y, N>(y);
    const int64_t vectors = aligned ? size / N : 0;
    for (int64_t i = first; i < vectors; i += step) {
        const Vec<A, N> left = load<A, N>(a, i, sa);
        const Vec<B, N> right = load<B, N>(b, i, sb);
        Vec<Y, N> out;
        #pragma unroll
        for (int k = 0; k < N; ++k) out.v[k] = Y(F(C(left.v[k]), C(right.v[k])));
        reinterpret_cast<Vec<Y, N>*>(y)[i] = out;
    }
    for (int64_t i = vectors * N + first; i < size; i += step) y[i] = Y(F(C(a[i * sa]), C(b[i * sb])));
}
