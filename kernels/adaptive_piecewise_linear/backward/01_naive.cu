// 01_naive: one thread an element of dx; then one thread a pair (s, u), which sums over the whole batch.
//
// Computes   dx[o, u, i] = dy * ([x > 0] - sum_s a[s, u] * [b[s, u] > x]), da[s, u] = sum_{o, i} dy * max(0, b[s, u] - x),
//            db[s, u] = a[s, u] * sum_{o, i} dy * [b[s, u] > x]; x, dy, dx (O, U, I), a, b, da, db (S, U)
// Launch     grid ceil(O*U*I/BLOCK), block BLOCK; then grid ceil(S*U/BLOCK), block BLOCK
// FLOPs      O*U*I*(8*S + 2)
// Traffic    sizeof(T)*(O*U*I*(3 + S*(1 + f) + 2*S) + 4*S*U) B, f the share of hinges above x (half of them, say)
// Numerics   fp32 (fp64 for double), summed in order of (o, i)
// Source     Agostinelli, Hoffman, Sadowski & Baldi 2014, arXiv:1412.6830
#include "common.cuh"

extern "C" __global__ void apl_bwd_dx(
    const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ dx,
    int64_t O, int64_t U, int64_t I, int64_t S) {
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j >= O * U * I) return;
    const int64_t u = j / I % U;
    const acc_t v = acc_t(x[j]);
    acc_t slope = v > 0;
    for (int64_t s = 0; s < S; ++s)
        if (acc_t(b[s * U + u]) > v) slope -= acc_t(a[s * U + u]);
    dx[j] = T(acc_t(dy[j]) * slope);
}

extern "C" __global__ void apl_bwd_ab(
    const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ da, T* __restrict__ db,
    int64_t O, int64_t U, int64_t I, int64_t S) {
    const int64_t su = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (su >= S * U) return;
    const int64_t u = su % U;
    const acc_t hinge = acc_t(b[su]);
    acc_t slope = 0, shift = 0;
    for (int64_t o = 0; o < O; ++o)
        for (int64_t i = 0; i < I; ++i) {
            const acc_t g = acc_t(dy[(o * U + u) * I + i]), below = hinge - acc_t(x[(o * U + u) * I + i]);
            if (below > 0) slope += g * below, shift += g;
        }
    da[su] = T(slope);
    db[su] = T(acc_t(a[su]) * shift);
}
