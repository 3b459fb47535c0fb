// 01_walk: one thread an element of dx, which walks through all indices and adds those that point at it.
//
// Computes   dx[o, k, c] = sum of dy[o, i, c] over the i with line[o, i, c] = k; dy (O, I, C), dx (O, K, C); line with strides so, si, sc
// Launch     grid ceil(O*K*C/BLOCK), block BLOCK
// FLOPs      O*I*C
// Traffic    (8*K + sizeof(T))*O*I*C + sizeof(acc_t)*O*K*C B requested: every thread reads all indices; from DRAM near the floor while
//            they fit into the caches; floor sizeof(T)*O*I*C + sizeof(acc_t)*O*K*C + 8*I B
// Numerics   fp32 (fp64 for double), in order of i: repeatable bit for bit
// Source     the definition
#include "common.cuh"

extern "C" __global__ void index_bwd(const T* __restrict__ dy, const int64_t* __restrict__ line, acc_t* __restrict__ dx, int64_t O, int64_t K,
                                     int64_t I, int64_t C, int64_t so, int64_t si, int64_t sc) {
    const int64_t e = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (e >= O * K * C) return;
    const int64_t c = e % C, k = e / C % K, o = e / (C * K);
    acc_t sum = 0;
    for (int64_t i = 0; i < I; ++i)
        if (line[o * so + i * si + c * sc] == k) sum += acc_t(dy[(o * I + i) * C + c]);
    dx[e] = sum;
}
