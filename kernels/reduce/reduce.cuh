// reduce.cuh: what a reduction starts from, does with an element, with two partial results, and at the end.
//
// A launch names one of these structs with the macro OP. x is seen as kept axes (A, B) and reduced axes (P, Q), each with a stride of its
// own: rows of a matrix, its columns, and the channels of an NCHW tensor are all that, without a copy.
#pragma once
#include "common.cuh"

#ifndef OP
#define OP Sum  // where a rung is compiled without a launch
#endif

template <typename X> __device__ __forceinline__ X lowest() { return -INF; }
template <> __device__ __forceinline__ int64_t lowest<int64_t>() { return -0x7fffffffffffffffLL - 1; }
template <typename X> __device__ __forceinline__ X highest() { return INF; }
template <> __device__ __forceinline__ int64_t highest<int64_t>() { return 0x7fffffffffffffffLL; }
template <typename X> __device__ __forceinline__ X nan_min(X a, X b) { return (a < b || a != a) ? a : b; }

struct Sum {
    static constexpr bool adds = true;  // merge is an addition
    static __device__ __forceinline__ acc_t start() { return 0; }
    static __device__ __forceinline__ acc_t load(T x) { return acc_t(x); }
    static __device__ __forceinline__ acc_t merge(acc_t a, acc_t b) { return a + b; }
    static __device__ __forceinline__ acc_t finish(acc_t a, int64_t) { return a; }
};
struct Mean : Sum {
    static __device__ __forceinline__ acc_t finish(acc_t a, int64_t n) { return a / acc_t(n); }
};
struct SquareRoot : Sum {  // the Euclidean norm
    static __device__ __forceinline__ acc_t load(T x) { return acc_t(x) * acc_t(x); }
    static __device__ __forceinline__ acc_t finish(acc_t a, int64_t) { return acc_t(sqrt_(double(a))); }
};
struct Prod : Sum {
    static constexpr bool adds = false;
    static __device__ __forceinline__ acc_t start() { return 1; }
    static __device__ __forceinline__ acc_t merge(acc_t a, acc_t b) { return a * b; }
};
struct Max : Sum {
    static constexpr bool adds = false;
    static __device__ __forceinline__ acc_t start() { return lowest<acc_t>(); }
    static __device__ __forceinline__ acc_t merge(acc_t a, acc_t b) { return nan_max(a, b); }
};
struct Min : Sum {
    static constexpr bool adds = false;
    static __device__ __forceinline__ acc_t start() { return highest<acc_t>(); }
    static __device__ __forceinline__ acc_t merge(acc_t a, acc_t b) { return nan_min(a, b); }
};
struct Count : Sum {  // elements that are not 0; NaN is not 0
    static __device__ __forceinline__ acc_t load(T x) { return acc_t(acc_t(x) != acc_t(0)); }
};
struct Any : Count {
    static constexpr bool adds = false;
    static __device__ __forceinline__ acc_t merge(acc_t a, acc_t b) { return a > b ? a : b; }
};
struct All : Count {
    static constexpr bool adds = false;
    static __device__ __forceinline__ acc_t start() { return 1; }
    static __device__ __forceinline__ acc_t merge(acc_t a, acc_t b) { return a < b ? a : b; }
};

// All lanes of a warp get the result; the butterfly's order is fixed.
__device__ __forceinline__ acc_t warp_merge(acc_t v) {
    for (int offset = 16; offset > 0; offset >>= 1) v = OP::merge(v, __shfl_xor_sync(FULL, v, offset));
    return v;
}
