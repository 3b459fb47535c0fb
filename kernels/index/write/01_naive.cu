// 01_naive: one thread an element of v.
//
// Computes   x[o, line[o, i, c], c] = v[o, i, c]; x (O, K, C), v (O, I, C); line with strides so, si, sc
// Launch     grid ceil(O*I*C/BLOCK), block BLOCK
// FLOPs      0
// Traffic    (2*sizeof(T) + 8)*O*I*C B requested; floor 2*sizeof(T)*O*I*C B and the indices once
// Numerics   exact; where an index comes twice, either value stays
// Source     the definition
#include "common.cuh"

extern "C" __global__ void index_write(const T* __restrict__ v, const int64_t* __restrict__ line, T* __restrict__ x, int64_t O, int64_t K,
                                       int64_t I, int64_t C, int64_t so, int64_t si, int64_t sc) {
    const int64_t e = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (e >= O * I * C) return;
    const int64_t c = e % C, i = e / C % I, o = e / (C * I);
    x[(o * K + line[o * so + i * si + c * sc]) * C + c] = v[e];
}
