// pick.cuh: the order of two candidates of an argmax or argmin. The macro OP of the launch says which.
#pragma once
#include "common.cuh"

#ifndef OP
#define OP Max  // where a rung is compiled without a launch
#endif

struct Max {
    static __device__ __forceinline__ bool beats(T a, T b) { return acc_t(a) > acc_t(b); }
};
struct Min {
    static __device__ __forceinline__ bool beats(T a, T b) { return acc_t(a) < acc_t(b); }
};

// Whether element i of value v goes before the best one so far. NaN beats every number; of equals the first wins.
__device__ __forceinline__ bool before(T v, int64_t i, T best, int64_t at) {
    const bool nan = acc_t(v) != acc_t(v), best_nan = acc_t(best) != acc_t(best);
    if (nan != best_nan) return nan;
    if (!nan && OP::beats(v, best)) return true;
    return (nan || acc_t(v) == acc_t(best)) && i < at;
}

// The best of a warp's candidates, in every lane. A lane without a candidate has at < 0.
__device__ __forceinline__ void warp_pick(acc_t& value, int64_t& at) {
    for (int offset = 16; offset > 0; offset >>= 1) {
        const acc_t other = __shfl_xor_sync(FULL, value, offset);
        const int64_t i = __shfl_xor_sync(FULL, at, offset);
        if (i >= 0 && (at < 0 || before(T(other), i, T(value), at))) {
            value = other;
            at = i;
        }
    }
}
