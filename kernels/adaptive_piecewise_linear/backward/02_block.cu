// 02_block: one block a pair (s, u): its threads share the sum over the batch.
//
// Computes   dx[o, u, i] = dy * ([x > 0] - sum_s a[s, u] * [b[s, u] > x]), da[s, u] = sum_{o, i} dy * max(0, b[s, u] - x),
//            db[s, u] = a[s, u] * sum_{o, i} dy * [b[s, u] > x]; x, dy, dx (O, U, I), a, b, da, db (S, U)
// Launch     grid ceil(O*U*I/BLOCK), block BLOCK; then grid (U, S), block BLOCK, static smem 64*sizeof(acc_t) B
// FLOPs      O*U*I*(8*S + 2)
// Traffic    sizeof(T)*(O*U*I*(3 + S*(1 + f) + 2*S) + (3 + BLOCK)*S*U) B, f the share of hinges above x (half of them, say); the S blocks of a
//            unit meet in L2
// Since 01   BLOCK threads read a unit's elements, neighbours together where I > 1, and add up by shuffles, where one thread walked alone
// Numerics   fp32 (fp64 for double), summed by thread, then by a fixed tree: repeatable bit for bit
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
    __shared__ acc_t slopes[32], shifts[32];
    const int64_t u = blockIdx.x, su = blockIdx.y * U + u;
    const acc_t hinge = acc_t(b[su]);
    acc_t slope = 0, shift = 0;
    for (int64_t j = threadIdx.x; j < O * I; j += BLOCK) {
        const int64_t o = j / I, at = (o * U + u) * I + (j - o * I);
        const acc_t g = acc_t(dy[at]), below = hinge - acc_t(x[at]);
        if (below > 0) slope += g * below, shift += g;
    }
    slope = block_sum(slope, slopes);
    shift = block_sum(shift, shifts);
    if (threadIdx.x == 0) {
        da[su] = T(slope);
        db[su] = T(acc_t(a[su]) * shift);
    }
}
