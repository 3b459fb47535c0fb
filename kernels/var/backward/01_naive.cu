// 01_naive: one thread an element, which finds its row by dividing.
//
// Computes   dx[i] = dy[o(i)] * scale * (x[i] - mean[o(i)]); scale = 2/(n - correction); strides of 0 repeat dy and mean along reduced axes
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      3*size
// Traffic    (3*sizeof(T) + sizeof(acc_t))*size B requested (every element asks for its dy and mean: from cache); floor 2*sizeof(T)*size B
// Numerics   fp32 (fp64 for double), rounded once
// Source     the derivative of the definition; that of the mean sums to zero
#include "common.cuh"

extern "C" __global__ void var_bwd(const T* __restrict__ x, const T* __restrict__ dy, const acc_t* __restrict__ mean, T* __restrict__ dx,
                                   Dims dims, int64_t size, acc_t scale) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[3];
    offsets(dims, i, at, 3);
    dx[i] = T(acc_t(dy[at[1]]) * scale * (acc_t(x[at[0]]) - mean[at[2]]));
}
