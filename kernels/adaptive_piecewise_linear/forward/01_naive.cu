// 01_naive: one thread an element.
//
// Computes   y[o, u, i] = max(0, x[o, u, i]) + sum_s a[s, u] * max(0, b[s, u] - x[o, u, i]); x, y (O, U, I), a, b (S, U)
// Launch     grid ceil(O*U*I/BLOCK), block BLOCK
// FLOPs      O*U*I*(3*S + 1)
// Traffic    sizeof(T)*O*U*I*(2 + S*(1 + f)) B, f the share of hinges above x (half of them, say); a and b stay in L1
// Numerics   fp32 (fp64 for double), summed in order of s
// Source     Agostinelli, Hoffman, Sadowski & Baldi 2014, arXiv:1412.6830, equation 1
#include "common.cuh"

extern "C" __global__ void apl_fwd(
    const T* __restrict__ x, const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int64_t O, int64_t U, int64_t I, int64_t S) {
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j >= O * U * I) return;
    const int64_t u = j / I % U;
    const acc_t v = acc_t(x[j]);
    acc_t sum = v <= 0 ? acc_t(0) : v;
    for (int64_t s = 0; s < S; ++s) {
        const acc_t below = acc_t(b[s * U + u]) - v;
        if (!(below <= 0)) sum += acc_t(a[s * U + u]) * below;
    }
    y[j] = T(sum);
}
