// 02_flat: each operand is one run of memory or one number, so no index is taken apart; a grid-stride loop.
//
// Computes   da[i] = condition[i] ? dy[i] : 0 where NEED & 1, db[i] = condition[i] ? 0 : dy[i] where NEED & 2
// Launch     grid min(ceil(size/BLOCK), 16 blocks an SM), block BLOCK
// FLOPs      0
// Traffic    size * (1 + sizeof(T)) B read, size * sizeof(T) B written a gradient
// Since 01   no divisions; each thread walks on with the grid's stride
// Numerics   exact
#include "common.cuh"

extern "C" __global__ void where_bwd(
    const bool* __restrict__ condition, const T* __restrict__ dy, T* __restrict__ da, T* __restrict__ db, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), sc = dims.stride[0][0], sg = dims.stride[1][0];
    for (int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x; i < size; i += step) {
        const bool chosen = condition[i * sc];
        const T g = dy[i * sg];
        if (NEED & 1) da[i] = chosen ? g : T(0);
        if (NEED & 2) db[i] = chosen ? T(0) : g;
    }
}
