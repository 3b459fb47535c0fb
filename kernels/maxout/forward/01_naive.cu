// 01_naive: one thread an output, which walks over its K pieces.
//
// Computes   y[m, i] = max_k x[m, k, i], which[m, i] = the first k that has it; x (M, K, I), y and which (M, I); a NaN is the maximum
// Launch     grid ceil(M*I/BLOCK), block BLOCK
// FLOPs      M*I*(K - 1)
// Traffic    M*I*(K*sizeof(T) + sizeof(T) + 4) B; for I = 1 a warp's load touches K times the sectors that it needs, which the next K - 1 find in L1
// Numerics   exact
// Source     Goodfellow et al. 2013, "Maxout Networks", arXiv:1302.4389
#include "common.cuh"

extern "C" __global__ void maxout_fwd(
    const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ which, int64_t M, int64_t K, int64_t I) {
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j >= M * I) return;
    const int64_t m = j / I, i = j - m * I;
    x += m * K * I + i;
    acc_t best = acc_t(x[0]);
    int32_t at = 0;
    for (int64_t k = 1; k < K; ++k) {
        const acc_t v = acc_t(x[k * I]);
        if (v > best || (v != v && best == best)) best = v, at = int32_t(k);
    }
    y[j] = T(best);
    which[j] = at;
}
