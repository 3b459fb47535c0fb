// 02_atomic: dx is cleared, then one thread an element of dy adds it where it belongs.
//
// Computes   dx[o, k, c] = sum of dy[o, i, c] over the i with line[o, i, c] = k; dy (O, I, C), dx (O, K, C); line with strides so, si, sc
// Launch     index_clear: grid ceil(O*K*C/BLOCK), block BLOCK; index_bwd: grid ceil(O*I*C/BLOCK), block BLOCK
// FLOPs      O*I*C
// Traffic    (sizeof(T) + 8 + sizeof(acc_t))*O*I*C + sizeof(acc_t)*O*K*C B requested; an atomic addition reads and writes in the L2
// Since 01   work grows with O*I*C in place of O*K*I*C; the price is the order of additions
// Numerics   fp32 (fp64 for double); equal indices add up in any order: not repeatable bit for bit
// Source     the definition
#include "common.cuh"

extern "C" __global__ void index_clear(acc_t* __restrict__ dx, int64_t O, int64_t K, int64_t C) {
    const int64_t e = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (e < O * K * C) dx[e] = 0;
}

extern "C" __global__ void index_bwd(const T* __restrict__ dy, const int64_t* __restrict__ line, acc_t* __restrict__ dx, int64_t O, int64_t K,
                                     int64_t I, int64_t C, int64_t so, int64_t si, int64_t sc) {
    const int64_t e = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (e >= O * I * C) return;
    const int64_t c = e % C, i = e / C % I, o = e / (C * I);
    atomicAdd(&dx[(o * K + line[o * so + i * si + c * sc]) * C + c], acc_t(dy[e]));
}
