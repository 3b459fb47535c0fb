// 02_flat: each operand is one run of memory or one number, so no index is taken apart; a grid-stride loop.
//
// Computes   da[i] = DA(dy[i], a[i], b[i]) where NEED & 1, db[i] = DB(dy[i], a[i], b[i]) where NEED & 2; dy, a, b contiguous or of stride 0
// Launch     grid min(ceil(size/BLOCK), 16 blocks an SM), block BLOCK
// FLOPs      1 to 40 an element and gradient, as DA and DB are
// Traffic    size * (sizeof(T) + sizeof(A) + sizeof(B)) B read, less what DA and DB do not use, size * sizeof(T) B written a gradient
// Since 01   no divisions; each thread walks on with the grid's stride
// Numerics   as 01
#include "binary/functions.cuh"

extern "C" __global__ void binary_bwd(
    const T* __restrict__ dy, const A* __restrict__ a, const B* __restrict__ b, T* __restrict__ da, T* __restrict__ db, Dims dims, int64_t size) {
    const int64_t step = gridDim.x * int64_t(BLOCK), sg = dims.stride[0][0], sa = dims.stride[1][0], sb = dims.stride[2][0];
    for (int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x; i < size; i += step) {
        const C g = C(dy[i * sg]), left = C(a[i * sa]), right = C(b[i * sb]);
        if (NEED & 1) da[i] = T(DA(g, left, right));
        if (NEED & 2) db[i] = T(DB(g, left, right));
    }
}
