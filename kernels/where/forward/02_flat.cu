// 02_flat: each operand is one run of memory or one number, so no index is taken apart; a grid-stride loop.
//
// Computes   y[i] = condition[i] ? a[i] : b[i]; y contiguous, the operands contiguous or of stride 0 (a scalar)
// Launch     grid min(ceil(size/BLOCK), 16 blocks an SM), block BLOCK
// FLOPs      0
// Traffic    size * (1 + 2*sizeof(T)) B: one of a and b is read, and where they alternate within 32 bytes, both
// Since 01   no divisions; each thread walks on with the grid's stride
// Numerics   exact
#include "common.cuh"

extern "C" __global__ void where_fwd(
    const bool* __restrict__ condition, const A* __restrict__ a, const B* __restrict__ b, T* __restrict__ y, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), sc = dims.stride[0][0], sa = dims.stride[1][0], sb = dims.stride[2][0];
    for (int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x; i < size; i += step) y[i] = condition[i * sc] ? T(a[i * sa]) : T(b[i * sb]);
}
