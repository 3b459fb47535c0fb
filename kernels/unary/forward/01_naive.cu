// 01_naive: one thread an element, any strides.
//
// Computes   y[i] = F(x[i]); x of any strides, y contiguous; F is one of ../functions.cuh
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(Y)) B where neighbours in the shape are neighbours in memory; up to 32 times the read where not
// Intensity  far below the ridge for every F: memory decides
// Numerics   computed in C (float for halves), rounded once; no fast-math
#include "unary/functions.cuh"

extern "C" __global__ void unary_fwd(const A* __restrict__ x, Y* __restrict__ y, Dims dims, int64_t size, double p, double q) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[1];
    offsets(dims, i, at, 1);
    y[i] = Y(F(C(x[at[0]]), C(p), C(q)));
}
