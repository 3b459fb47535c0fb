// 02_flat: each operand is one run of memory or one number, so no index is taken apart; a grid-stride loop.
//
// Computes   y[i] = F(a[i], b[i]); y contiguous, a and b contiguous or of stride 0 (a scalar); F is one of ../functions.cuh
// Launch     grid min(ceil(size/BLOCK), 16 blocks an SM), block BLOCK
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(B) + sizeof(Y)) B; nothing for a scalar
// Since 01   no divisions: the axes that both operands walk through as one were merged on the host, down to one
// Numerics   as 01
#include "binary/functions.cuh"

extern "C" __global__ void binary_fwd(const A* __restrict__ a, const B* __restrict__ b, Y* __restrict__ y, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), sa = dims.stride[0][0], sb = dims.stride[1][0];
    for (int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x; i < size; i += step) y[i] = Y(F(C(a[i * sa]), C(b[i * sb])));
}
