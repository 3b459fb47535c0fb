// functions.cuh: every elementwise function of two operands, y = f(a, b) as <name>_fwd, its derivatives da = dy * df/da as <name>_da
// and db = dy * df/db as <name>_db.
//
// A rung is compiled for one of them: -DF=mul_fwd. X is the type that is computed in: float for float and the halves, double, int64_t.
// Kinks, ties and NaN follow PyTorch. An integer division by zero, an error on the CPU, gives 0 here.
#pragma once
#include "common.cuh"

#define FUNCTION template <typename X> __device__ __forceinline__
#define EXACT(type) __device__ __forceinline__ type  // an overload for one type, preferred to the template

// name_(a, b) for float and double alike
#define REAL(name)                                                                                  \
    __device__ __forceinline__ float name##_(float a, float b) { return name##f(a, b); }            \
    __device__ __forceinline__ double name##_(double a, double b) { return name(a, b); }
REAL(fmod) REAL(pow) REAL(atan2)
#undef REAL
__device__ __forceinline__ float floor_(float x) { return floorf(x); }
__device__ __forceinline__ double floor_(double x) { return floor(x); }
__device__ __forceinline__ float trunc_(float x) { return truncf(x); }
__device__ __forceinline__ double trunc_(double x) { return trunc(x); }

// --------------------------------------------------------------------------------------------------------------------- arithmetic
FUNCTION X add_fwd(X a, X b) { return a + b; }
FUNCTION X sub_fwd(X a, X b) { return a - b; }
FUNCTION X mul_fwd(X a, X b) { return a * b; }
FUNCTION X div_fwd(X a, X b) { return a / b; }
FUNCTION X maximum_fwd(X a, X b) { return nan_max(a, b); }
FUNCTION X minimum_fwd(X a, X b) { return (a < b || a != a) ? a : b; }
FUNCTION X atan2_fwd(X a, X b) { return atan2_(a, b); }
FUNCTION X fmod_fwd(X a, X b) { return fmod_(a, b); }       // the sign of a
FUNCTION X remainder_fwd(X a, X b) {                        // the sign of b
    const X r = fmod_(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
FUNCTION X trunc_divide_fwd(X a, X b) { return trunc_(a / b); }
// As Python's //: exact where a / b rounds up to the next integer, as in 0.3 // 0.1.
FUNCTION X floor_divide_fwd(X a, X b) {
    if (b == 0) return a / b;
    const X r = fmod_(a, b);
    X q = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) q -= X(1);
    if (q == 0) return X(0) * (a / b);  // a zero with the sign of the quotient
    const X f = floor_(q);
    return q - f > X(0.5) ? f + X(1) : f;
}
FUNCTION X pow_fwd(X a, X b) { return pow_(a, b); }

// b == -1 goes by negation: the quotient of the smallest integer by -1 does not exist
EXACT(int64_t) trunc_divide_fwd(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? int64_t(0 - uint64_t(a)) : a / b; }
EXACT(int64_t) fmod_fwd(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
EXACT(int64_t) remainder_fwd(int64_t a, int64_t b) {
    const int64_t r = fmod_fwd(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
EXACT(int64_t) floor_divide_fwd(int64_t a, int64_t b) {
    const int64_t r = fmod_fwd(a, b);
    return trunc_divide_fwd(a, b) - (r != 0 && (r < 0) != (b < 0));
}
EXACT(int64_t) pow_fwd(int64_t a, int64_t b) {  // by squaring, wrapping around; a negative power of an integer is 0 but for 1 and -1
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
    uint64_t y = 1, square = uint64_t(a);
    for (; b > 0; b >>= 1, square *= square)
        if (b & 1) y *= square;
    return int64_t(y);
}

FUNCTION X mul_da(X dy, X, X b) { return dy * b; }
FUNCTION X mul_db(X dy, X a, X) { return dy * a; }
FUNCTION X div_da(X dy, X, X b) { return dy / b; }
FUNCTION X div_db(X dy, X a, X b) { return -(dy / b) * (a / b); }
FUNCTION X maximum_da(X dy, X a, X b) { return a == b ? dy / X(2) : a < b ? X(0) : dy; }  // a tie is shared
FUNCTION X maximum_db(X dy, X a, X b) { return a == b ? dy / X(2) : a > b ? X(0) : dy; }
FUNCTION X minimum_da(X dy, X a, X b) { return a == b ? dy / X(2) : a > b ? X(0) : dy; }
FUNCTION X minimum_db(X dy, X a, X b) { return a == b ? dy / X(2) : a < b ? X(0) : dy; }
FUNCTION X atan2_da(X dy, X a, X b) { return a * a + b * b == 0 ? X(0) : dy / (a * a + b * b) * b; }
FUNCTION X atan2_db(X dy, X a, X b) { return a * a + b * b == 0 ? X(0) : -(dy / (a * a + b * b)) * a; }
FUNCTION X fmod_da(X dy, X, X) { return dy; }
FUNCTION X fmod_db(X dy, X a, X b) { return -dy * trunc_(a / b); }
FUNCTION X remainder_da(X dy, X, X) { return dy; }
FUNCTION X remainder_db(X dy, X a, X b) { return -dy * floor_divide_fwd(a, b); }
FUNCTION X pow_da(X dy, X a, X b) { return b == 0 ? X(0) : dy * (b * pow_(a, b - X(1))); }
FUNCTION X pow_db(X dy, X a, X b) { return a == 0 && b >= 0 ? X(0) : dy * (pow_(a, b) * log_(a)); }

// ------------------------------------------------------------------------------------------------------------- comparisons and logic
FUNCTION bool eq_fwd(X a, X b) { return a == b; }
FUNCTION bool ne_fwd(X a, X b) { return a != b; }
FUNCTION bool lt_fwd(X a, X b) { return a < b; }
FUNCTION bool le_fwd(X a, X b) { return a <= b; }
FUNCTION bool gt_fwd(X a, X b) { return a > b; }
FUNCTION bool ge_fwd(X a, X b) { return a >= b; }
FUNCTION bool logical_and_fwd(X a, X b) { return a != 0 && b != 0; }
FUNCTION bool logical_or_fwd(X a, X b) { return a != 0 || b != 0; }
FUNCTION bool logical_xor_fwd(X a, X b) { return (a != 0) != (b != 0); }
FUNCTION X bitwise_and_fwd(X a, X b) { return a & b; }
FUNCTION X bitwise_or_fwd(X a, X b) { return a | b; }
FUNCTION X bitwise_xor_fwd(X a, X b) { return a ^ b; }

// -------------------------------------------------------------------------------------------------------------------- activations
FUNCTION X prelu_fwd(X x, X w) { return x > 0 ? x : w * x; }
FUNCTION X prelu_da(X dy, X x, X w) { return x > 0 ? dy : w * dy; }
FUNCTION X prelu_db(X dy, X x, X) { return x > 0 ? X(0) : x * dy; }
