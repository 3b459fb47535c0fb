// 01_naive: one thread an element, any strides; both gradients from one reading of the operands.
//
// Computes   da[i] = DA(dy[i], a[i], b[i]) where NEED & 1, db[i] = DB(dy[i], a[i], b[i]) where NEED & 2, both over the broadcast shape (the
//            sum over broadcast axes is another kernel's); dy, a, b of any strides
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      1 to 40 an element and gradient, as DA and DB are
// Traffic    size * (sizeof(T) + sizeof(A) + sizeof(B)) B read, less what DA and DB do not use, size * sizeof(T) B written a gradient
// Numerics   computed in C (float for halves), rounded once; no fast-math
#include "binary/functions.cuh"

extern "C" __global__ void binary_bwd(
    const T* __restrict__ dy, const A* __restrict__ a, const B* __restrict__ b, T* __restrict__ da, T* __restrict__ db, Dims dims, int64_t size) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[3];
    offsets(dims, i, at, 3);
    const C g = C(dy[at[0]]), left = C(a[at[1]]), right = C(b[at[2]]);
    if (NEED & 1) da[i] = T(DA(g, left, right));
    if (NEED & 2) db[i] = T(DB(g, left, right));
}
