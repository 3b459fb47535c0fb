// epilogue.cuh: what a product does to its result before the store: v -> ACT(v + bias). The macros BIAS (0 or 1) and ACT come from the launch.
//
// Every activation here grows with v and has a derivative that follows from its output, so backward needs the output alone.
#pragma once
#include "common.cuh"

#ifndef BIAS
#define BIAS 0
#endif
#ifndef ACT
#define ACT identity
#endif
#ifndef ACTIVE  // 1 where ACT is not the identity
#define ACTIVE 0
#endif

__device__ __forceinline__ float tanh_(float x) { return tanhf(x); }
__device__ __forceinline__ double tanh_(double x) { return tanh(x); }

// of(v): the activation; back(dy, y): the gradient before it, from the one after it and its output.
struct identity {
    template <typename X> static __device__ __forceinline__ X of(X v) { return v; }
    template <typename X> static __device__ __forceinline__ X back(X dy, X y) { return dy; }
};
struct relu {  // keeps a NaN, as PyTorch does
    template <typename X> static __device__ __forceinline__ X of(X v) { return v <= X(0) ? X(0) : v; }
    template <typename X> static __device__ __forceinline__ X back(X dy, X y) { return y <= X(0) ? X(0) : dy; }
};
struct sigmoid {
    template <typename X> static __device__ __forceinline__ X of(X v) {
        const X e = exp_(v < X(0) ? v : -v);  // never overflows
        return (v < X(0) ? e : X(1)) / (X(1) + e);
    }
    template <typename X> static __device__ __forceinline__ X back(X dy, X y) { return dy * (y * (X(1) - y)); }
};
struct hyperbolic_tangent {
    template <typename X> static __device__ __forceinline__ X of(X v) { return tanh_(v); }
    template <typename X> static __device__ __forceinline__ X back(X dy, X y) { return dy * (X(1) - y * y); }
};
