// epilogue.cuh: what a product does to its result before the store: v -> ACT(v + bias). The macros BIAS (0 or 1), ACT and ACT_NUMBER (a slope)
// come from the launch: a tile's store is unrolled, and a choice among nine functions at each of its elements would be most of the code.
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

// of(v): the activation.
struct identity {
    template <typename X> static __device__ __forceinline__ X of(X v) { return v; }
};
#define ACTIVATION(name, function)                                                                                           \
    struct name {                                                                                                            \
        template <typename X> static __device__ __forceinline__ X of(X v) { return function(v, X(ACT_NUMBER), X(0)); }        \
    };
ACTIVATION(relu, relu_fwd)
ACTIVATION(sigmoid, sigmoid_fwd)
ACTIVATION(hyperbolic_tangent, tanh_fwd)  // not "tanh": that is a function already
ACTIVATION(leaky_relu, leaky_relu_fwd)
ACTIVATION(elu, elu_fwd)
ACTIVATION(gelu, gelu_fwd)
ACTIVATION(gelu_tanh, gelu_tanh_fwd)
ACTIVATION(silu, silu_fwd)
#undef ACTIVATION

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
