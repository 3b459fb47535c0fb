// epilogue.cuh: what a product does to its result before the store: v -> ACT(v + bias + residual). The macros BIAS (0 or 1), ACT and ACT_NUMBER (a
// slope) and EXTRA come from the launch: a tile's store is unrolled, and a choice among nine functions at each of its elements would be most of the code.
//
// EXTRA says what the array `extra`, of C's shape, is for: 0 nothing, 1 a residual to be added, 2 memory for the sum that the activation is given.
//
// Where the activation grows with v its derivative follows from its output, and backward needs the output alone; GELU and SiLU fall and then grow,
// and backward needs v.
#pragma once
#include "common.cuh"
#include "unary/functions.cuh"  // the formulas, so that fused and separate results are equal

#ifndef BIAS
#define BIAS 0
#endif
#ifndef ACT
#define ACT identity
#endif
#ifndef ACT_NUMBER
#define ACT_NUMBER 0
#endif
#ifndef EXTRA
#define EXTRA 0
#endif
#define RESIDUAL 1
#define KEPT 2

// of(v): the activation.
struct identity {
    template <typename X> static __device__ __forceinline__ X of(X v) { return v; }
};
#define ACTIVATION(name, function, how)                                                                  \
    struct name {                                                                                        \
        template <typename X> static __device__ how X of(X v) { return function(v, X(ACT_NUMBER), X(0)); } \
    };
ACTIVATION(relu, relu_fwd, __forceinline__)
ACTIVATION(leaky_relu, leaky_relu_fwd, __forceinline__)
// A tile has 64 results a thread: 64 copies of an error function would be more code than the product, and keep registers from it. So these are called.
ACTIVATION(sigmoid, sigmoid_fwd, __noinline__)
ACTIVATION(hyperbolic_tangent, tanh_fwd, __noinline__)  // not "tanh": that is a function already
ACTIVATION(elu, elu_fwd, __noinline__)
ACTIVATION(gelu, gelu_fwd, __noinline__)
ACTIVATION(gelu_tanh, gelu_tanh_fwd, __noinline__)
ACTIVATION(silu, silu_fwd, __noinline__)
#undef ACTIVATION

// C[at] from its sum v; bias points at its column's.
__device__ __forceinline__ void store_one(acc_t v, const T* bias, T* extra, T* C, int64_t at) {
    if (BIAS) v += acc_t(*bias);
    if (EXTRA == RESIDUAL) v += acc_t(extra[at]);
    if (EXTRA == KEPT) extra[at] = T(v);
    C[at] = T(ACT::of(v));
}

// W neighbours of a row, C[at] being in column n of N; wide: W elements may move as one access (extra starts at a multiple of 16 bytes, as C then does).
template <int W> __device__ __forceinline__ void store_row(acc_t (&v)[W], const T* bias, int64_t bias_n, T* extra, T* C, int64_t at, int64_t n, int64_t N,
                                                           bool wide) {
    Vec<T, W> c, e;
    if (EXTRA == RESIDUAL && wide) e = *reinterpret_cast<const Vec<T, W>*>(extra + at);
    for (int j = 0; j < W; ++j) {
        if (BIAS && n + j < N) v[j] += acc_t(bias[(n + j) * bias_n]);
        if (EXTRA == RESIDUAL && n + j < N) v[j] += acc_t(wide ? e.v[j] : extra[at + j]);
        if (EXTRA == KEPT) e.v[j] = T(v[j]);
        c.v[j] = T(ACT::of(v[j]));
    }
    if (wide) {
        store_whole(reinterpret_cast<Vec<T, W>*>(C + at), c);
        if (EXTRA == KEPT) store_whole(reinterpret_cast<Vec<T, W>*>(extra + at), e);
        return;
    }
    for (int j = 0; j < W; ++j)
        if (n + j < N) {
            C[at + j] = c.v[j];
            if (EXTRA == KEPT) extra[at + j] = e.v[j];
        }
}

// The gradient before an activation, from the one after it and its output y (the last three: from v). Here the activation is a number, that of
// CODES in gpudl/ops/_epilogue.py: it is the same for all threads, and one compiled kernel serves all.
template <typename X> __device__ __forceinline__ X before(int act, X number, X dy, X y) {
    switch (act) {
        case 1: return relu_bwd(dy, y, number, number);
        case 2: return sigmoid_bwd(dy, y, number, number);
        case 3: return tanh_bwd(dy, y, number, number);
        case 4: return leaky_relu_bwd(dy, y, number, number);
        case 5: return elu_bwd(dy, y, number, number);
        case 6: return gelu_bwd(dy, y, number, number);
        case 7: return gelu_tanh_bwd(dy, y, number, number);
        case 8: return silu_bwd(dy, y, number, number);
        default: return dy;
    }
}
