// 02_rows: one block a row of v, so that the index is read and taken apart once a row.
//
// Computes   x[o, line[o, i, c], c] = v[o, i, c]; x (O, K, C), v (O, I, C); line with strides so, si and sc = 0
// Launch     grid O*I, block BLOCK
// FLOPs      0
// Traffic    2*sizeof(T)*O*I*C + 8*BLOCK*O*I B requested (each thread asks for its row's index: from cache); floor 2*sizeof(T)*O*I*C + 8*O*I B
// Since 01   no divisions an element, one index a row in place of one an element
// Numerics   exact; where an index comes twice, either value stays
// Source     the definition
#include "common.cuh"

extern "C" __global__ void index_write(const T* __restrict__ v, const int64_t* __restrict__ line, T* __restrict__ x, int64_t K, int64_t I,
                                       int64_t C, int64_t so, int64_t si) {
    const int64_t row = blockIdx.x, o = row / I, i = row % I;
    x += (o * K + line[o * so + i * si]) * C;
    v += row * C;
    for (int64_t c = threadIdx.x; c < C; c += BLOCK) x[c] = v[c];
}
