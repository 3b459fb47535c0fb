// 01_naive: one thread an element, any strides; an axis with stride 0 is broadcast.
//
// Computes   y[i] = condition[i] ? a[i] : b[i]; condition, a, b of any strides over y's shape, y contiguous
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      0
// Traffic    size * (1 + 2*sizeof(T)) B: one of a and b is read, and where they alternate within 32 bytes, both
// Numerics   exact
#include "common.cuh"

extern "C" __global__ void where_fwd(
    const bool* __restrict__ condition, const A* __restrict__ a, const B* __restrict__ b, T* __restrict__ y, Dims dims, int64_t size) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[3];
    offsets(dims, i, at, 3);
    y[i] = condition[at[0]] ? T(a[at[1]]) : T(b[at[2]]);
}
