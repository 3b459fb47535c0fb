// group.cuh: what the rungs of group norm share beside norm.cuh. A group is K = C/G neighbouring channels of one image: K*L values in one
// run of memory, so a group is to a kernel what a row is to layer norm; only weight and bias change along it, once every L values.
//
// Macros of a launch: WEIGHT, BIAS (1 where they are given; a pointer that is not read stands in for an absent one).
#pragma once
#include "norm.cuh"

// Channel and position of every `step`-th value of a group, without a division in the loop.
struct Walk {
    int64_t c, l, step_c, step_l, L;
    __device__ __forceinline__ Walk(int64_t first, int64_t step, int64_t L) : c(first / L), l(first % L), step_c(step / L), step_l(step % L), L(L) {}
    __device__ __forceinline__ void next() {
        c += step_c;
        l += step_l;
        if (l >= L) {
            l -= L;
            ++c;
        }
    }
};

#ifdef BIAS  // forward
__device__ __forceinline__ T scaled(acc_t xhat, const S* weight, const S* bias, int64_t c) {
    return T((WEIGHT ? xhat * acc_t(weight[c]) : xhat) + (BIAS ? acc_t(bias[c]) : acc_t(0)));
}
__device__ __forceinline__ acc_t rstd_of(acc_t var, double eps) { return 1 / sqrt_(var + acc_t(eps)); }
#else  // backward
__device__ __forceinline__ acc_t weighted(acc_t dy, const S* weight, int64_t c) { return WEIGHT ? dy * acc_t(weight[c]) : dy; }
#endif
