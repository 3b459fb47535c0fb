// 01_naive: one thread an element.
//
// Computes   y[i] = T(value) for floating T, T(integer) otherwise; any strides
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      0
// Traffic    size * sizeof(T) B
// Numerics   a double holds every float32 and half; 64-bit integers come in a parameter of their own, because a double does not hold them
#include "common.cuh"

extern "C" __global__ void fill_fwd(T* __restrict__ y, Dims dims, int64_t size, double value, int64_t integer) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;  // kept: without it surplus threads wrap around in offsets() and store elements again, the same values
    int64_t at;
    offsets(dims, i, &at, 1);
    y[at] = T(0.5f) == T(0) || sizeof(T) == 1 ? static_cast<T>(integer) : static_cast<T>(value);
}
