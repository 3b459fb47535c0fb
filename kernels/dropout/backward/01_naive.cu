// 01_naive: one thread an element.
//
// Computes   dx[i] = mask[i] ? dy[i] * scale : 0
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      1 an element
// Traffic    size * ((2 - p)*sizeof(T) + 1) B: of dy what was kept; in whole sectors that is nearly all of it
// Numerics   the product in fp32 (fp64 for double), rounded once
#include "common.cuh"

extern "C" __global__ void dropout_bwd(const T* __restrict__ dy, const bool* __restrict__ mask, T* __restrict__ dx, int64_t size, acc_t scale) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i < size) dx[i] = mask[i] ? T(acc_t(dy[i]) * scale) : T(0);
}
