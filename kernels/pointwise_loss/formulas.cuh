// formulas.cuh: one loss an element, and its derivatives: NAME(x, t, p, w), NAME_dx and NAME_dt with x the input, t the target,
// p the loss's constant (beta, delta) and w the weight of positive targets (1 where there is none).
//
// Which loss it is comes as a number, `kind`: all threads take the same branch, which costs a few instructions of the fifty that a multiprocessor
// could spend while the element's bytes arrive; and one compiled kernel serves every loss.
#pragma once

__device__ __forceinline__ acc_t abs_(acc_t v) { return v < 0 ? -v : v; }
__device__ __forceinline__ acc_t sign_(acc_t v) { return v > 0 ? acc_t(1) : v < 0 ? acc_t(-1) : v; }  // a NaN stays
__device__ __forceinline__ float log1p_(float v) { return log1pf(v); }
__device__ __forceinline__ double log1p_(double v) { return log1p(v); }
__device__ __forceinline__ acc_t softplus_(acc_t v) { return log1p_(exp_(-abs_(v))) + (v < 0 ? acc_t(0) : v); }  // log(1 + exp(v))
__device__ __forceinline__ acc_t sigmoid_(acc_t v) {  // the exponent is never positive: no overflow
    const acc_t e = exp_(-abs_(v));
    return v < 0 ? e / (1 + e) : 1 / (1 + e);
}
__device__ __forceinline__ acc_t at_least(acc_t v, acc_t low) { return v < low ? low : v; }  // a NaN stays

#define FORMULA(name) __device__ __forceinline__ acc_t name(acc_t x, acc_t t, acc_t p, acc_t w)

FORMULA(mse_loss) { return (x - t) * (x - t); }
FORMULA(mse_loss_dx) { return 2 * (x - t); }
FORMULA(mse_loss_dt) { return 2 * (t - x); }

FORMULA(l1_loss) { return abs_(x - t); }
FORMULA(l1_loss_dx) { return sign_(x - t); }
FORMULA(l1_loss_dt) { return sign_(t - x); }

FORMULA(smooth_l1_loss) {
    const acc_t d = abs_(x - t);
    return d < p ? acc_t(0.5) * d * d / p : d - acc_t(0.5) * p;
}
FORMULA(smooth_l1_loss_dx) { return abs_(x - t) < p ? (x - t) / p : sign_(x - t); }
FORMULA(smooth_l1_loss_dt) { return abs_(x - t) < p ? (t - x) / p : sign_(t - x); }

FORMULA(huber_loss) {
    const acc_t d = abs_(x - t);
    return d <= p ? acc_t(0.5) * d * d : p * (d - acc_t(0.5) * p);
}
FORMULA(huber_loss_dx) { return abs_(x - t) <= p ? x - t : p * sign_(x - t); }
FORMULA(huber_loss_dt) { return abs_(x - t) <= p ? t - x : p * sign_(t - x); }

FORMULA(binary_cross_entropy_with_logits) { return (1 - t) * x + (w == 1 ? w : 1 + (w - 1) * t) * softplus_(-x); }  // 0 * t would make an infinite t NaN
FORMULA(binary_cross_entropy_with_logits_dx) { return (1 - t) * sigmoid_(x) - w * t * sigmoid_(-x); }
FORMULA(binary_cross_entropy_with_logits_dt) { return w == 1 ? -x : (w - 1) * softplus_(-x) - x; }

FORMULA(binary_cross_entropy) { return (t - 1) * at_least(log1p_(-x), -100) - t * at_least(log_(x), -100); }
FORMULA(binary_cross_entropy_dx) { return (x - t) / at_least((1 - x) * x, acc_t(1e-12)); }
FORMULA(binary_cross_entropy_dt) { return at_least(log1p_(-x), -100) - at_least(log_(x), -100); }

FORMULA(kl_div) { return (t == 0 ? acc_t(0) : t * log_(t)) - t * x; }
FORMULA(kl_div_dx) { return -t; }
FORMULA(kl_div_dt) { return log_(t) + 1 - x; }

FORMULA(kl_div_log) { return exp_(t) * (t - x); }
FORMULA(kl_div_log_dx) { return -exp_(t); }
FORMULA(kl_div_log_dt) { return exp_(t) * (t - x + 1); }

// The order is KINDS in gpudl/ops/losses.py.
#define OF_KIND(suffix)                                                          \
    switch (kind) {                                                              \
        case 0: return mse_loss##suffix(x, t, p, w);                             \
        case 1: return l1_loss##suffix(x, t, p, w);                              \
        case 2: return smooth_l1_loss##suffix(x, t, p, w);                       \
        case 3: return huber_loss##suffix(x, t, p, w);                           \
        case 4: return binary_cross_entropy_with_logits##suffix(x, t, p, w);     \
        case 5: return binary_cross_entropy##suffix(x, t, p, w);                 \
        case 6: return kl_div##suffix(x, t, p, w);                               \
        default: return kl_div_log##suffix(x, t, p, w);                          \
    }

__device__ __forceinline__ acc_t loss_of(int kind, acc_t x, acc_t t, acc_t p, acc_t w) { OF_KIND() }
__device__ __forceinline__ acc_t loss_dx(int kind, acc_t x, acc_t t, acc_t p, acc_t w) { OF_KIND(_dx) }
__device__ __forceinline__ acc_t loss_dt(int kind, acc_t x, acc_t t, acc_t p, acc_t w) { OF_KIND(_dt) }
