// 01_naive: one thread an element, any strides on both sides, with a cast.
//
// Computes   y[i] = T(x[i]); i runs over a shape of up to 8 dimensions, x and y each with strides of their own
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      0
// Traffic    size * (sizeof(S) + sizeof(T)) B where neighbours in the shape are neighbours in memory; up to 32 times that where they are not
// Numerics   a cast to a half rounds through float, once, to nearest even; float to integer truncates
#include "common.cuh"

extern "C" __global__ void copy_fwd(const S* __restrict__ x, T* __restrict__ y, Dims dims, int64_t size) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;  // kept: without it surplus threads wrap around in offsets() and store elements again, the same values
    int64_t at[2];
    offsets(dims, i, at, 2);
    y[at[1]] = static_cast<T>(x[at[0]]);
}
