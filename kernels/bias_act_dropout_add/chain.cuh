// chain.cuh: one element's way through bias, activation, dropout and residual, and its gradient's way back.
//
// The macros say which parts there are: BIAS, DROP and ADD (0 or 1), ACT (a function of unary/functions.cuh: -DACT=gelu_fwd -DBACK=gelu_bwd),
// LINEAR (1 where there is no activation) and OUTPUT (1 where BACK is written in the activation's output, 0 where in its input).
// Every part rounds to T as the op of its own would, and products (an activation may end in one) are kept from fusing into sums: the chain gives the
// same bits as the ops.
#pragma once
#include "random/philox.cuh"
#include "unary/functions.cuh"

FUNCTION X identity_fwd(X x, X, X) { return x; }
FUNCTION X identity_bwd(X dy, X, X, X) { return dy; }

__device__ __forceinline__ float product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double product(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ float total(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ double total(double a, double b) { return __dadd_rn(a, b); }

// The input of the activation.
__device__ __forceinline__ acc_t before(T x, acc_t bias) { return BIAS ? acc_t(T(acc_t(x) + bias)) : acc_t(x); }

__device__ __forceinline__ T chain_fwd(T x, acc_t bias, bool kept, acc_t scale, acc_t residual) {
    T v = T(ACT(before(x, bias), acc_t(0), acc_t(0)));
    if (DROP) v = kept ? T(product(acc_t(v), scale)) : T(0);
    return ADD ? T(total(acc_t(v), residual)) : v;
}

__device__ __forceinline__ T chain_bwd(T dy, T x, acc_t bias, bool kept, acc_t scale) {
    const acc_t g = DROP ? acc_t(kept ? T(product(acc_t(dy), scale)) : T(0)) : acc_t(dy);
    if (LINEAR) return T(g);
    const acc_t v = before(x, bias);
    return T(BACK(g, OUTPUT ? acc_t(T(ACT(v, acc_t(0), acc_t(0)))) : v, acc_t(0), acc_t(0)));
}

// Which element of the bias (K) belongs to element i of (O, K, I).
struct Channel {
    int64_t k, i, K, I;
    __device__ __forceinline__ Channel(int64_t at, int64_t K, int64_t I) : k(BIAS ? at / I % K : 0), i(BIAS ? at % I : 0), K(K), I(I) {}
    __device__ __forceinline__ void next() {
        if (++i == I) {
            i = 0;
            if (++k == K) k = 0;
        }
    }
};

// The biases of N neighbours of x, as one load where they are neighbours themselves.
template <int N> __device__ __forceinline__ Vec<T, N> biases(const T* bias, Channel& channel) {
    Vec<T, N> found;
    if (channel.I == 1 && channel.K % N == 0) {
        found = *reinterpret_cast<const Vec<T, N>*>(bias + channel.k);
        channel.k = channel.k + N == channel.K ? 0 : channel.k + N;
    } else {
        #pragma unroll
        for (int k = 0; k < N; ++k) {
            found.v[k] = bias[channel.k];
            channel.next();
        }
    }
    return found;
}
