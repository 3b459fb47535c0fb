// 01_naive: one thread an element, any strides; an axis with stride 0 is broadcast.
//
// Computes   y[i] = F(a[i], b[i]); a and b of any strides over y's shape, y contiguous; F is one of ../functions.cuh
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(B) + sizeof(Y)) B where neighbours in the shape are neighbours in memory; up to 32 times the
//            reads where not; a broadcast operand is read again and again, from cache
// Numerics   computed in C (float for halves), rounded once; no fast-math
#include "binary/functions.cuh"

extern "C" __global__ void binary_fwd(const A* __restrict__ a, const B* __restrict__ b, Y* __restrict__ y, Dims dims, int64_t size) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[2];
    offsets(dims, i, at, 2);
    y[i] = Y(F(C(a[at[0]]), C(b[at[1]])));
}
