// functions.cuh: every elementwise function of one operand, y = f(x) as <name>_fwd and dx = dy * f'(x) as <name>_bwd.
//
// A rung is compiled for one of them: -DF=exp_fwd. X is the type that is computed in: float for float and the halves, double, int64_t.
// p and q are numbers of the call (a slope, a bound). A derivative gets v: the output y where the derivative is shortest in it (so the input
// need not be kept and nothing transcendental is computed twice), else the input x. Kinks and NaN follow PyTorch.
#pragma once
#include "common.cuh"

#define FUNCTION template <typename X> __device__ __forceinline__

// name_(x) for float and double alike
#define REAL(name)                                                                                  \
    __device__ __forceinline__ float name##_(float x) { return name##f(x); }                        \
    __device__ __forceinline__ double name##_(double x) { return name(x); }
REAL(expm1) REAL(log1p) REAL(log2) REAL(log10) REAL(sin) REAL(cos) REAL(tanh) REAL(erf) REAL(floor) REAL(ceil) REAL(rint) REAL(trunc)
#undef REAL

// ---------------------------------------------------------------------------------------------------------------------- any type
FUNCTION X neg_fwd(X x, X, X) { return -x; }
FUNCTION X abs_fwd(X x, X, X) { return x > 0 ? x : X(0) - x; }  // 0 - x, not -x: |-0| is +0
FUNCTION X sign_fwd(X x, X, X) { return X(x > 0) - X(x < 0); }
FUNCTION X square_fwd(X x, X, X) { return x * x; }
FUNCTION X relu_fwd(X x, X, X) { return x <= 0 ? X(0) : x; }  // NaN passes
FUNCTION bool isnan_fwd(X x, X, X) { return x != x; }
FUNCTION bool isfinite_fwd(X x, X, X) { return x - x == 0; }
FUNCTION bool isinf_fwd(X x, X, X) { return x == x && !(x - x == 0); }
FUNCTION bool logical_not_fwd(X x, X, X) { return x == 0; }
FUNCTION X bitwise_not_fwd(X x, X, X) { return ~x; }

FUNCTION X abs_bwd(X dy, X x, X, X) { return dy * sign_fwd(x, x, x); }
FUNCTION X square_bwd(X dy, X x, X, X) { return dy * (x + x); }
FUNCTION X relu_bwd(X dy, X y, X, X) { return y <= 0 ? X(0) : dy; }

// -------------------------------------------------------------------------------------------------------------------- mathematics
FUNCTION X floor_fwd(X x, X, X) { return floor_(x); }
FUNCTION X ceil_fwd(X x, X, X) { return ceil_(x); }
FUNCTION X round_fwd(X x, X, X) { return rint_(x); }  // halves to even
FUNCTION X trunc_fwd(X x, X, X) { return trunc_(x); }
FUNCTION X exp_fwd(X x, X, X) { return exp_(x); }
FUNCTION X expm1_fwd(X x, X, X) { return expm1_(x); }
FUNCTION X log_fwd(X x, X, X) { return log_(x); }
FUNCTION X log1p_fwd(X x, X, X) { return log1p_(x); }
FUNCTION X log2_fwd(X x, X, X) { return log2_(x); }
FUNCTION X log10_fwd(X x, X, X) { return log10_(x); }
FUNCTION X sqrt_fwd(X x, X, X) { return sqrt_(x); }
FUNCTION X rsqrt_fwd(X x, X, X) { return X(1) / sqrt_(x); }
FUNCTION X reciprocal_fwd(X x, X, X) { return X(1) / x; }
FUNCTION X sin_fwd(X x, X, X) { return sin_(x); }
FUNCTION X cos_fwd(X x, X, X) { return cos_(x); }
FUNCTION X tanh_fwd(X x, X, X) { return tanh_(x); }
FUNCTION X sigmoid_fwd(X x, X, X) { return X(1) / (X(1) + exp_(-x)); }  // exp overflows to inf, which gives the 0 wanted
FUNCTION X erf_fwd(X x, X, X) { return erf_(x); }
FUNCTION X clamp_fwd(X x, X lo, X hi) { return x < lo ? (lo < hi ? lo : hi) : x > hi ? hi : x; }  // NaN passes; lo > hi gives hi

FUNCTION X exp_bwd(X dy, X y, X, X) { return dy * y; }
FUNCTION X expm1_bwd(X dy, X y, X, X) { return dy * (y + X(1)); }
FUNCTION X log_bwd(X dy, X x, X, X) { return dy / x; }
FUNCTION X log1p_bwd(X dy, X x, X, X) { return dy / (x + X(1)); }
FUNCTION X log2_bwd(X dy, X x, X, X) { return dy / (x * X(0.69314718055994530942)); }   // ln 2
FUNCTION X log10_bwd(X dy, X x, X, X) { return dy / (x * X(2.30258509299404568402)); }  // ln 10
FUNCTION X sqrt_bwd(X dy, X y, X, X) { return dy / (y + y); }
FUNCTION X rsqrt_bwd(X dy, X y, X, X) { return X(-0.5) * dy * y * y * y; }
FUNCTION X reciprocal_bwd(X dy, X y, X, X) { return -dy * y * y; }
FUNCTION X sin_bwd(X dy, X x, X, X) { return dy * cos_(x); }
FUNCTION X cos_bwd(X dy, X x, X, X) { return -dy * sin_(x); }
FUNCTION X tanh_bwd(X dy, X y, X, X) { return dy * (X(1) - y * y); }
FUNCTION X sigmoid_bwd(X dy, X y, X, X) { return dy * (y * (X(1) - y)); }
FUNCTION X erf_bwd(X dy, X x, X, X) { return dy * (X(1.12837916709551257390) * exp_(-x * x)); }  // 2 / sqrt(pi)
FUNCTION X clamp_bwd(X dy, X x, X lo, X hi) { return x >= lo && x <= hi ? dy : X(0); }           // 1 at the bounds

// -------------------------------------------------------------------------------------------------------------------- activations
FUNCTION X leaky_relu_fwd(X x, X slope, X) { return x > 0 ? x : x * slope; }
FUNCTION X elu_fwd(X x, X alpha, X) { return x > 0 ? x : alpha * expm1_(x); }
FUNCTION X silu_fwd(X x, X, X) { return x / (X(1) + exp_(-x)); }
FUNCTION X softplus_fwd(X x, X beta, X threshold) { return x * beta > threshold ? x : log1p_(exp_(x * beta)) / beta; }
FUNCTION X logsigmoid_fwd(X x, X, X) { return (x < 0 ? x : X(0)) - log1p_(exp_(x < 0 ? x : -x)); }
FUNCTION X softsign_fwd(X x, X, X) { return x / (X(1) + abs_fwd(x, x, x)); }
FUNCTION X gelu_fwd(X x, X, X) { return X(0.5) * x * (X(1) + erf_(x * X(0.70710678118654752440))); }  // x * Phi(x)

FUNCTION X leaky_relu_bwd(X dy, X x, X slope, X) { return x > 0 ? dy : dy * slope; }
FUNCTION X elu_bwd(X dy, X y, X alpha, X) { return y > 0 ? dy : dy * (y + alpha); }
FUNCTION X silu_bwd(X dy, X x, X, X) {
    const X s = sigmoid_fwd(x, x, x);
    return dy * (s * (X(1) + x * (X(1) - s)));
}
FUNCTION X softplus_bwd(X dy, X x, X beta, X threshold) { return x * beta > threshold ? dy : dy * sigmoid_fwd(x * beta, x, x); }
FUNCTION X logsigmoid_bwd(X dy, X x, X, X) { return dy * sigmoid_fwd(-x, x, x); }
FUNCTION X softsign_bwd(X dy, X x, X, X) {
    const X d = X(1) + abs_fwd(x, x, x);
    return dy / (d * d) + X(0) * x;  // NaN at infinity, as the quotient itself
}
FUNCTION X hardtanh_fwd(X x, X lo, X hi) { return clamp_fwd(x, lo, hi); }
FUNCTION X hardtanh_bwd(X dy, X x, X lo, X hi) { return x > lo && x < hi ? dy : X(0); }  // 0 at the bounds, unlike clamp
FUNCTION X gelu_bwd(X dy, X x, X, X) {
    const X cdf = X(0.5) * (X(1) + erf_(x * X(0.70710678118654752440)));
    return dy * (cdf + x * X(0.39894228040143267794) * exp_(X(-0.5) * x * x));  // Phi + x * phi
}

// GELU with the tanh approximation: 0.5 x (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3)
FUNCTION X gelu_tanh_fwd(X x, X, X) { return X(0.5) * x * (X(1) + tanh_(X(0.79788456080286535588) * (x + X(0.044715) * x * x * x))); }
FUNCTION X gelu_tanh_bwd(X dy, X x, X, X) {
    const X t = tanh_(X(0.79788456080286535588) * (x + X(0.044715) * x * x * x));
    const X du = X(0.79788456080286535588) * (X(1) + X(0.134145) * x * x);
    return dy * (X(0.5) * (X(1) + t) + X(0.5) * x * (X(1) - t * t) * du);
}
