// channel.cuh: what the rungs of batch norm share beside norm.cuh: a channel's factors, its outputs, its running statistics.
//
// Macros of a launch: WEIGHT, BIAS, RESIDUAL (1 where they are given; a pointer that is not read stands in for an absent one), RELU, RUNNING.
#pragma once
#include "norm.cuh"

struct Factors {
    acc_t mean, rstd, scale, shift;  // y = (x - mean) * scale + shift

    __device__ __forceinline__ acc_t before(T x, const T* residual, int64_t at) const {  // what the ReLU sees
        const acc_t v = (acc_t(x) - mean) * scale + shift;
        return RESIDUAL ? v + acc_t(residual[at]) : v;
    }
    __device__ __forceinline__ T output(T x, const T* residual, int64_t at) const {
        const acc_t v = before(x, residual, at);
        return T(RELU ? nan_max(v, acc_t(0)) : v);
    }
    // dy where the output was positive. Computed anew from x, which backward reads anyway: no mask is stored.
    __device__ __forceinline__ acc_t masked(T dy, T x, const T* residual, int64_t at) const {
        return RELU && before(x, residual, at) <= 0 ? acc_t(0) : acc_t(dy);
    }
};

__device__ __forceinline__ Factors factors(acc_t mean, acc_t rstd, const S* weight, const S* bias, int64_t c) {
    return {mean, rstd, WEIGHT ? rstd * acc_t(weight[c]) : rstd, BIAS ? acc_t(bias[c]) : acc_t(0)};
}

#ifdef RUNNING  // the forward kernels of training
// mean, rstd and running statistics of channel c; returns rstd.
__device__ __forceinline__ acc_t publish(Moments a, int64_t c, R* running_mean, R* running_var, acc_t* mean, acc_t* rstd, double momentum,
                                         double eps) {
    const acc_t rs = 1 / sqrt_(a.m2 / a.k + acc_t(eps));
    mean[c] = a.mean;
    rstd[c] = rs;
    if (RUNNING) {
        const acc_t m = momentum, keep = 1 - momentum;
        running_mean[c] = R(keep * acc_t(running_mean[c]) + m * a.mean);
        running_var[c] = R(keep * acc_t(running_var[c]) + m * (a.m2 / (a.k - 1)));
    }
    return rs;
}
#endif

#ifdef TRAIN  // the backward kernels
// spread is rstd while training, the running variance otherwise.
__device__ __forceinline__ Factors known_factors(const R* mean, const R* spread, const S* weight, const S* bias, int64_t c, double eps) {
    return factors(acc_t(mean[c]), TRAIN ? acc_t(spread[c]) : 1 / sqrt_(acc_t(spread[c]) + acc_t(eps)), weight, bias, c);
}

// dx = scale * (g - mean(g) - xhat * mean(g * xhat)) from the channel's sums of g and of g * xhat over n values.
struct Slope {
    acc_t mean_g, slope;

    __device__ __forceinline__ T dx(const Factors& f, acc_t g, T x) const {
        return T(f.scale * (TRAIN ? g - mean_g - (acc_t(x) - f.mean) * f.rstd * slope : g));
    }
};
__device__ __forceinline__ Slope slope_of(acc_t sum, acc_t dot, acc_t n) { return {sum / n, dot / n}; }
#endif
