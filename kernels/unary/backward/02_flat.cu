// 02_flat: dy and v are runs of memory, so no index is taken apart; a grid-stride loop.
//
// Computes   dx[i] = F(dy[i], v[i]); all contiguous
// Launch     grid min(ceil(size/BLOCK), 16 blocks an SM), block BLOCK
// FLOPs      1 to 40 an element, as F is
// Traffic    size * (2*sizeof(T) + sizeof(A)) B
// Since 01   no divisions; each thread walks on with the grid's stride
// Numerics   as 01
#include "unary/functions.cuh"

extern "C" __global__ void unary_bwd(
    const T* __restrict__ dy, const A* __restrict__ v, T* __restrict__ dx, int64_t size, double p, double q) {
    const int64_t step = gridDim.x * int64_t(BLOCK);
    for (int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x; i < size; i += step) dx[i] = T(F(C(dy[i]), C(v[i]), C(p), C(q)));
}
