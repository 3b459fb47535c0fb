// row.cuh: what the rungs of layer norm share beside norm.cuh: weight and bias of a position, where they are given (macros WEIGHT, BIAS).
#pragma once
#include "norm.cuh"

// W neighbouring parameters, 16 bytes an access; S may be wider than T.
template <int W> __device__ __forceinline__ void parameters(const S* p, acc_t (&out)[W]) {
    constexpr int E = 16 / sizeof(S) < W ? 16 / sizeof(S) : W;
#pragma unroll
    for (int k = 0; k < W; k += E) {
        const Vec<S, E> in = *reinterpret_cast<const Vec<S, E>*>(p + k);
#pragma unroll
        for (int e = 0; e < E; ++e) out[k + e] = acc_t(in.v[e]);
    }
}

#ifdef BIAS  // forward
__device__ __forceinline__ T scaled(acc_t xhat, const S* weight, const S* bias, int64_t j) {
    return T((WEIGHT ? xhat * acc_t(weight[j]) : xhat) + (BIAS ? acc_t(bias[j]) : acc_t(0)));
}
__device__ __forceinline__ acc_t rstd_of(acc_t var, double eps) { return 1 / sqrt_(var + acc_t(eps)); }
#elif defined(WEIGHT)  // backward
__device__ __forceinline__ acc_t weighted(T dy, const S* weight, int64_t j) { return WEIGHT ? acc_t(dy) * acc_t(weight[j]) : acc_t(dy); }
#endif
