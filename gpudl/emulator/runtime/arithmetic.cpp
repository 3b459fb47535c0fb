// Arithmetic that the C library does not have: directed rounding, inverse error functions, Bessel functions of imaginary argument.
#include "runtime.h"
#include <cfenv>
#include <cmath>

// Operations of gpudl_math.h, rounded down (1), up (2) or to zero (3). Operands and results are volatile: the compiler must not compute
// on the other side of a change of mode.
enum { ADD, SUBTRACT, MULTIPLY, DIVIDE, ROOT, FUSED, CONVERT };
static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
template <class REAL> static REAL compute(int operation, volatile REAL a, volatile REAL b, volatile REAL c) {
    switch (operation) {
        case ADD: return a + b;
        case SUBTRACT: return a - b;
        case MULTIPLY: return a * b;
        case DIVIDE: return a / b;
        case ROOT: return std::sqrt((REAL)a);
        default: return std::fma((REAL)a, (REAL)b, (REAL)c);
    }
}
EXPORT double gpudl_emu_rounded(int operation, int mode, int single, double a, double b, double c) {
    fesetround(modes[mode]);
    volatile double wide = a;
    volatile double result = operation == CONVERT ? (double)(float)wide : single ? (double)compute<float>(operation, (float)a, (float)b, (float)c) : compute<double>(operation, a, b, c);
    fesetround(FE_TONEAREST);
    return result;
}
EXPORT double gpudl_emu_rounded_integer(u64 value, int is_signed, int mode, int single) {
    fesetround(modes[mode]);
    volatile u64 given = value;
    volatile int64_t with_sign = (int64_t)value;
    volatile double result = single ? (is_signed ? (double)(float)with_sign : (double)(float)given) : is_signed ? (double)with_sign : (double)given;
    fesetround(FE_TONEAREST);
    return result;
}

// I_n(x), n = 0 or 1: the power series; for large x 1/pi * integral over [0, pi] of exp(x cos t) cos(n t) dt, for which the trapezoidal
// rule converges exponentially (Trefethen & Weideman 2014).
EXPORT double gpudl_emu_bessel_i(int order, double x) {
    if (std::isnan(x)) return x;
    double size = std::fabs(x), sign = order % 2 && x < 0 ? -1 : 1;
    if (size > 714) return sign * HUGE_VAL;
    if (size < 12) {
        double term = order ? size / 2 : 1, sum = 0;
        for (int k = 1; term > sum * 1e-17; k++) sum += term, term *= size * size / (4.0 * k * (k + order));
        return sign * sum;
    }
    int steps = 64 + (int)(2 * std::sqrt(size) * 8);
    double sum = 0;
    for (int i = 0; i <= steps; i++) {
        double t = M_PI * i / steps;
        sum += (i == 0 || i == steps ? 0.5 : 1.0) * std::exp(size * (std::cos(t) - 1)) * std::cos(order * t);
    }
    return sign * sum / steps * std::exp(size);
}
// exp(x^2) * erfc(x); for large x the asymptotic series (Abramowitz & Stegun 7.1.23).
EXPORT double gpudl_emu_erfcx(double x) {
    if (x < 25) {
        double square = x * x, rest = std::fma(x, x, -square);
        return std::exp(square) * (1 + rest) * std::erfc(x);
    }
    double r = 1 / (2 * x * x);
    return (1 - r * (1 - 3 * r * (1 - 5 * r * (1 - 7 * r * (1 - 9 * r * (1 - 11 * r)))))) / (x * std::sqrt(M_PI));
}
// The quantile of the normal distribution: a rational first guess (Acklam 2003), refined by Halley's method.
EXPORT double gpudl_emu_normal_quantile(double p) {
    if (!(p > 0 && p < 1)) return p == 0 ? -HUGE_VAL : p == 1 ? HUGE_VAL : NAN;
    double tail = std::fmin(p, 1 - p), x;
    if (tail < 0.02425) {
        double q = std::sqrt(-2 * std::log(tail));
        x = (((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838e+00) * q - 2.549732539343734e+00) * q + 4.374664141464968e+00) * q + 2.938163982698783e+00) /
            ((((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996e+00) * q + 3.754408661907416e+00) * q + 1);
    } else {
        double q = tail - 0.5, r = q * q;
        x = (((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r + 1.383577518672690e+02) * r - 3.066479806614716e+01) * r + 2.506628277459239e+00) * q /
            (((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r + 6.680131188771972e+01) * r - 1.328068155288572e+01) * r + 1);
    }
    for (int i = 0; i < 3; i++) {                               // relative to the density, so that tiny tails keep their digits
        double e = 0.5 * std::erfc(-x * M_SQRT1_2) - tail, u = e * std::sqrt(2 * M_PI) * std::exp(0.5 * x * x);
        if (!std::isfinite(u)) break;
        x -= u / (1 + 0.5 * x * u);
    }
    return p > 0.5 ? -x : x;
}
EXPORT double gpudl_emu_erfcinv(double y) {
    if (!(y >= 0 && y <= 2)) return NAN;
    return y > 1 ? gpudl_emu_normal_quantile(1 - 0.5 * y) * M_SQRT1_2 : -gpudl_emu_normal_quantile(0.5 * y) * M_SQRT1_2;
}
EXPORT double gpudl_emu_erfinv(double x) {
    double size = std::fabs(x);
    if (size > 0.5) return std::copysign(gpudl_emu_erfcinv(1 - size), x);       // 1 - size is exact
    double y = size * 0.886226925452758 * (1 + 0.2617993877991494 * x * x);     // series; then Newton on erf
    for (int i = 0; i < 5; i++) y -= (std::erf(y) - size) * 0.886226925452758 * std::exp(y * y);
    return std::copysign(y, x);
}
