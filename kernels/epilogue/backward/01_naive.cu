// 01_naive: one thread a channel, which walks through all of its elements.
//
// Computes   g[o, k, i] = dy[o, k, i] * ACT'(y[o, k, i]) (with an activation), db[k] = sum_oi g[o, k, i] (with a bias); all (O, K, I), db (K)
// Launch     grid ceil(K/BLOCK), block BLOCK
// FLOPs      2*O*K*I
// Traffic    3*sizeof(T)*O*K*I + sizeof(T)*K B with an activation, sizeof(T)*O*K*I without
// Numerics   fp32 (fp64 for double), summed in order of o, then i; g is rounded to T, the sum is of unrounded values
// Source     the chain rule
#include "epilogue/epilogue.cuh"

extern "C" __global__ void epilogue_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ g, T* __restrict__ db, int64_t O,
                                        int64_t K, int64_t I, int act, double number, int bias) {
    const int64_t k = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (k >= K) return;
    acc_t sum = 0;
    for (int64_t o = 0; o < O; ++o)
        for (int64_t i = 0; i < I; ++i) {
            const int64_t at = (o * K + k) * I + i;
            acc_t v = acc_t(dy[at]);
            if (act) {
                v = before(act, acc_t(number), v, acc_t(y[at]));
                g[at] = T(v);
            }
            sum += v;
        }
    if (bias) db[k] = T(sum);
}
