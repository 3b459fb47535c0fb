// 01_naive: one thread an element, any strides; both gradients from one reading.
//
// Computes   da[i] = condition[i] ? dy[i] : 0 where NEED & 1, db[i] = condition[i] ? 0 : dy[i] where NEED & 2
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      0
// Traffic    size * (1 + sizeof(T)) B read, size * sizeof(T) B written a gradient
// Numerics   exact
#include "common.cuh"

extern "C" __global__ void where_bwd(
    const bool* __restrict__ condition, const T* __restrict__ dy, T* __restrict__ da, T* __restrict__ db, Dims dims, int64_t size) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[2];
    offsets(dims, i, at, 2);
    const bool chosen = condition[at[0]];
    if (NEED & 1) da[i] = chosen ? dy[at[1]] : T(0);
    if (NEED & 2) db[i] = chosen ? T(0) : dy[at[1]];
}
