// 02_flat: x is one run of memory, so no index is taken apart; a grid-stride loop.
//
// Computes   y[i] = F(x[i]); x and y contiguous; F is one of ../functions.cuh
// Launch     grid min(ceil(size/BLOCK), 16 blocks an SM), block BLOCK
// FLOPs      1 to 30 an element, as F is
// Traffic    size * (sizeof(A) + sizeof(Y)) B
// Since 01   no divisions; the grid fills the GPU once and each thread walks on, so its set-up is paid once for several elements
// Numerics   as 01
// Source     Harris 2013, "CUDA Pro Tip: Write Flexible Kernels with Grid-Stride Loops"
#include "unary/functions.cuh"

extern "C" __global__ void unary_fwd(const A* __restrict__ x, Y* __restrict__ y, int64_t size, double p, double q) {
    const int64_t step = gridDim.x * int64_t(BLOCK);
    for (int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x; i < size; i += step) y[i] = Y(F(C(x[i]), C(p), C(q)));
}
