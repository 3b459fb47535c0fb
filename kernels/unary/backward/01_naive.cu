// 01_naive: one thread an element, any strides.
//
// Computes   dx[i] = F(dy[i], v[i]); v is the input or the output, whichever F is written in; dy and v of any strides, dx contiguous
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      1 to 40 an element, as F is
// Traffic    size * (2*sizeof(T) + sizeof(A)) B where neighbours in the shape are neighbours in memory; up to 32 times the reads where not
// Numerics   computed in C (float for halves), rounded once; no fast-math
#include "unary/functions.cuh"

extern "C" __global__ void unary_bwd(
    const T* __restrict__ dy, const A* __restrict__ v, T* __restrict__ dx, Dims dims, int64_t size, double p, double q) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[2];
    offsets(dims, i, at, 2);
    dx[i] = T(F(C(dy[at[0]]), C(v[at[1]]), C(p), C(q)));
}
