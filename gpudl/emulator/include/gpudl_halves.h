// What cuda_fp16.h and cuda_bf16.h have in common. Arithmetic is computed in float and rounded once, as the hardware does for each
// operation (float has more than twice the digits of a half, so that rounding twice gives what rounding once does: Figueroa 1995).
#pragma once

inline float gpudl_widen_half(unsigned short bits) {
    unsigned sign = (unsigned)(bits & 0x8000u) << 16, rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
    if (rest >= 0x0400u) return __uint_as_float(sign | ((rest << 13) + 0x38000000u));
    return __uint_as_float(sign | __float_as_uint((float)rest * 5.9604644775390625e-8f));
}
inline unsigned short gpudl_narrow_half(float value) {
    unsigned word = __float_as_uint(value), sign = (word >> 16) & 0x8000u, rest = word & 0x7fffffffu;
    if (rest > 0x7f800000u) return 0x7fff;
    if (rest >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
    if (rest < 0x38800000u) return (unsigned short)(sign | (__float_as_uint(__uint_as_float(rest) + 0.5f) - 0x3f000000u));
    return (unsigned short)(sign | ((rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13));
}
inline float gpudl_widen_bfloat16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }
inline unsigned short gpudl_narrow_bfloat16(float value) {
    unsigned word = __float_as_uint(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
}

// The float that stands for a double on its way to 16 bits: cut off, with the last bit set if anything was ("round to odd"), so that
// rounding it again goes as rounding the double would.
inline float gpudl_odd(double value) {
    float result = (float)value;
    if ((double)result == value || value != value) return result;
    unsigned word = __float_as_uint(result);
    if (__builtin_fabs((double)result) > __builtin_fabs(value)) word--;
    return __uint_as_float(word | 1u);
}
// Narrowing with a direction (1 down, 2 up, 3 to zero): the nearest, and one step back where it went too far.
template <class type_> inline type_ gpudl_narrow_to(float value, int mode) {
    type_ nearest(value);
    float got = (float)nearest;
    bool large = got > value, small = got < value, negative = nearest.__x & 0x8000;
    if (large && (mode == 1 || (mode == 3 && value > 0))) nearest.__x = nearest.__x == 0 ? 0x8001 : negative ? nearest.__x + 1 : nearest.__x - 1;
    if (small && (mode == 2 || (mode == 3 && value < 0))) nearest.__x = nearest.__x == 0x8000 ? 1 : negative ? nearest.__x - 1 : nearest.__x + 1;
    return nearest;
}

// Type names differ (__half, __nv_bfloat16), and so do those of conversions (half, bfloat16); the rest is one text.
#define GPUDL_HALF_TYPE(type, type2, word, widen, narrow)                                                                                   \
    struct type {                                                                                                                           \
        unsigned short __x;                                                                                                                 \
        type() = default;                                                                                                                   \
        gpudl_inline type(float v) : __x(narrow(v)) {}                                                                                      \
        gpudl_inline type(double v) : __x(narrow(gpudl_odd((double)v))) {}                                                                  \
        gpudl_inline type(int v) : __x(narrow(gpudl_odd((double)v))) {}                                                                     \
        gpudl_inline type(unsigned v) : __x(narrow(gpudl_odd((double)v))) {}                                                                \
        gpudl_inline type(long v) : __x(narrow(gpudl_odd((double)v))) {}                                                                    \
        gpudl_inline type(unsigned long v) : __x(narrow(gpudl_odd((double)v))) {}                                                           \
        gpudl_inline type(unsigned long long v) : __x(narrow(gpudl_odd((double)v))) {}                                                      \
        gpudl_inline type(long long v) : __x(narrow(gpudl_odd((double)v))) {}                                                               \
        gpudl_inline operator float() const { return widen(__x); }                                                                          \
    };                                                                                                                                      \
    struct alignas(4) type2 {                                                                                                               \
        type x, y;                                                                                                                          \
        type2() = default;                                                                                                                  \
        gpudl_inline type2(type a, type b) : x(a), y(b) {}                                                                                  \
    };                                                                                                                                      \
    gpudl_inline type gpudl_fit(type v) { float f = (float)v; return f != f ? type(0.0f) : f < 0 ? type(0.0f) : f > 1 ? type(1.0f) : v; }   \
    gpudl_inline type gpudl_relu(type v) { float f = (float)v; return f != f ? type(__builtin_nanf("")) : f < 0 ? type(0.0f) : v; }         \
    gpudl_inline type __float2##word(float v) { return type(v); }                                                                           \
    gpudl_inline type __float2##word##_rn(float v) { return type(v); }                                                                      \
    gpudl_inline type __double2##word(double v) { return type(v); }                                                                         \
    gpudl_inline float __##word##2float(type v) { return (float)v; }                                                                        \
        GPUDL_HALF_INTEGERS(type, word, int, int) GPUDL_HALF_INTEGERS(type, word, unsigned, uint) GPUDL_HALF_INTEGERS(type, word, long long, ll) \
    GPUDL_HALF_INTEGERS(type, word, unsigned long long, ull) GPUDL_HALF_INTEGERS(type, word, short, short) GPUDL_HALF_INTEGERS(type, word, unsigned short, ushort) \
    gpudl_inline unsigned short __##word##_as_ushort(type v) { return v.__x; }                                                              \
    gpudl_inline short __##word##_as_short(type v) { return (short)v.__x; }                                                                 \
    gpudl_inline type __ushort_as_##word(unsigned short v) { type r; r.__x = v; return r; }                                                 \
    gpudl_inline type __short_as_##word(short v) { type r; r.__x = (unsigned short)v; return r; }                                           \
    gpudl_inline type __float2##word##_rd(float v) { return gpudl_narrow_to<type>(v, 1); }                                                  \
    gpudl_inline type __float2##word##_ru(float v) { return gpudl_narrow_to<type>(v, 2); }                                                  \
    gpudl_inline type __float2##word##_rz(float v) { return gpudl_narrow_to<type>(v, 3); }                                                  \
    gpudl_inline type2 __halves2##word##2(type a, type b) { return {a, b}; }                                                                \
    gpudl_inline type2 __low2##word##2(type2 v) { return {v.x, v.x}; }                                                                      \
    gpudl_inline type2 __high2##word##2(type2 v) { return {v.y, v.y}; }                                                                     \
    gpudl_inline type2 __lows2##word##2(type2 a, type2 b) { return {a.x, b.x}; }                                                            \
    gpudl_inline type2 __highs2##word##2(type2 a, type2 b) { return {a.y, b.y}; }                                                           \
    gpudl_inline type2 __lowhigh2highlow(type2 v) { return {v.y, v.x}; }                                                                    \
    gpudl_inline type2 __##word##2##word##2(type a) { return {a, a}; }                                                                      \
    gpudl_inline type2 __floats2##word##2_rn(float a, float b) { return {type(a), type(b)}; }                                               \
    gpudl_inline type2 __float2##word##2_rn(float a) { return {type(a), type(a)}; }                                                         \
    gpudl_inline type2 __float22##word##2_rn(float2 v) { return {type(v.x), type(v.y)}; }                                                   \
    gpudl_inline float2 __##word##22float2(type2 v) { return make_float2((float)v.x, (float)v.y); }                                         \
    gpudl_inline float __low2float(type2 v) { return (float)v.x; }                                                                          \
    gpudl_inline float __high2float(type2 v) { return (float)v.y; }                                                                         \
    gpudl_inline type __low2##word(type2 v) { return v.x; }                                                                                 \
    gpudl_inline type __high2##word(type2 v) { return v.y; }                                                                                \
    gpudl_inline type2 make_##word##2(type a, type b) { return {a, b}; }                                                                    \
    GPUDL_HALF_BINARY(type, type2, +, __hadd) GPUDL_HALF_BINARY(type, type2, -, __hsub)                                                     \
    GPUDL_HALF_BINARY(type, type2, *, __hmul) GPUDL_HALF_BINARY(type, type2, /, __hdiv)                                                     \
    GPUDL_HALF_COMPARE(type, type2, ==, heq) GPUDL_HALF_COMPARE(type, type2, !=, hne) GPUDL_HALF_COMPARE(type, type2, <, hlt)               \
    GPUDL_HALF_COMPARE(type, type2, <=, hle) GPUDL_HALF_COMPARE(type, type2, >, hgt) GPUDL_HALF_COMPARE(type, type2, >=, hge)               \
    GPUDL_HALF_VARIANTS(type, type2, hadd, +) GPUDL_HALF_VARIANTS(type, type2, hsub, -) GPUDL_HALF_VARIANTS(type, type2, hmul, *)           \
    gpudl_inline type operator-(type v) { v.__x ^= 0x8000; return v; }                                                                      \
    gpudl_inline type __hneg(type v) { return -v; }                                                                                         \
    gpudl_inline type __habs(type v) { v.__x &= 0x7fff; return v; }                                                                         \
    gpudl_inline type2 __habs2(type2 v) { return {__habs(v.x), __habs(v.y)}; }                                                              \
    gpudl_inline type2 __hneg2(type2 v) { return {-v.x, -v.y}; }                                                                            \
    gpudl_inline type __hfma(type a, type b, type c) { return type(fma((double)(float)a, (double)(float)b, (double)(float)c)); }            \
    gpudl_inline type __hfma_sat(type a, type b, type c) { return gpudl_fit(__hfma(a, b, c)); }                                             \
    gpudl_inline type __hfma_relu(type a, type b, type c) { return gpudl_relu(__hfma(a, b, c)); }                                           \
    gpudl_inline type2 __hfma2_sat(type2 a, type2 b, type2 c) { return {__hfma_sat(a.x, b.x, c.x), __hfma_sat(a.y, b.y, c.y)}; }            \
    gpudl_inline type2 __hfma2_relu(type2 a, type2 b, type2 c) { return {__hfma_relu(a.x, b.x, c.x), __hfma_relu(a.y, b.y, c.y)}; }         \
    gpudl_inline type2 __hcmadd(type2 a, type2 b, type2 c) {                                                                                \
        return {__hfma(-a.y, b.y, __hfma(a.x, b.x, c.x)), __hfma(a.y, b.x, __hfma(a.x, b.y, c.y))};                                         \
    }                                                                                                                                       \
    gpudl_inline type2 __h2div(type2 a, type2 b) { return a / b; }                                                                          \
    gpudl_inline type2 __hfma2(type2 a, type2 b, type2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }                        \
    gpudl_inline type __hmax(type a, type b) { return type(fmaxf((float)a, (float)b)); }                                                    \
    gpudl_inline type __hmin(type a, type b) { return type(fminf((float)a, (float)b)); }                                                    \
    gpudl_inline type2 __hmax2(type2 a, type2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                                           \
    gpudl_inline type2 __hmin2(type2 a, type2 b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }                                           \
    gpudl_inline bool __hisnan(type v) { return (float)v != (float)v; }                                                                     \
    gpudl_inline type2 __hisnan2(type2 v) { return {type(__hisnan(v.x) ? 1.0f : 0.0f), type(__hisnan(v.y) ? 1.0f : 0.0f)}; }                \
    gpudl_inline type __hmax_nan(type a, type b) { return __hisnan(a) || __hisnan(b) ? __ushort_as_##word(0x7fff) : __hmax(a, b); }         \
    gpudl_inline type __hmin_nan(type a, type b) { return __hisnan(a) || __hisnan(b) ? __ushort_as_##word(0x7fff) : __hmin(a, b); }         \
    gpudl_inline type2 __hmax2_nan(type2 a, type2 b) { return {__hmax_nan(a.x, b.x), __hmax_nan(a.y, b.y)}; }                               \
    gpudl_inline type2 __hmin2_nan(type2 a, type2 b) { return {__hmin_nan(a.x, b.x), __hmin_nan(a.y, b.y)}; }                               \
    gpudl_inline int __hisinf(type v) { float f = (float)v; return f == __builtin_inff() ? 1 : f == -__builtin_inff() ? -1 : 0; }           \
    GPUDL_HALF_FUNCTION(type, type2, exp, exp) GPUDL_HALF_FUNCTION(type, type2, exp2, exp2)                                                 \
    GPUDL_HALF_FUNCTION(type, type2, exp10, exp10) GPUDL_HALF_FUNCTION(type, type2, log, log)                                               \
    GPUDL_HALF_FUNCTION(type, type2, log2, log2) GPUDL_HALF_FUNCTION(type, type2, log10, log10)                                             \
    GPUDL_HALF_FUNCTION(type, type2, sqrt, sqrt) GPUDL_HALF_FUNCTION(type, type2, rsqrt, rsqrt)                                             \
    GPUDL_HALF_FUNCTION(type, type2, sin, sin) GPUDL_HALF_FUNCTION(type, type2, cos, cos)                                                   \
    GPUDL_HALF_FUNCTION(type, type2, floor, floor) GPUDL_HALF_FUNCTION(type, type2, ceil, ceil)                                             \
    GPUDL_HALF_FUNCTION(type, type2, rint, rint) GPUDL_HALF_FUNCTION(type, type2, trunc, trunc)                                             \
    GPUDL_HALF_FUNCTION(type, type2, rcp, 1.0 /)                                                                                            \
    gpudl_inline type htanh(type v) { return type(tanh((double)(float)v)); }                                                                \
    gpudl_inline type2 h2tanh(type2 v) { return {htanh(v.x), htanh(v.y)}; }                                                                 \
    gpudl_inline type atomicAdd(type* address, type value) {                                                                                \
        unsigned short* word = (unsigned short*)address;                                                                                    \
        unsigned short seen = atomicCAS(word, (unsigned short)0, (unsigned short)0);                                                        \
        for (;;) {                                                                                                                          \
            type old = __ushort_as_##word(seen);                                                                                            \
            unsigned short got = atomicCAS(word, seen, (old + value).__x);                                                                  \
            if (got == seen) return old;                                                                                                    \
            seen = got;                                                                                                                     \
        }                                                                                                                                   \
    }                                                                                                                                       \
    gpudl_inline type2 atomicAdd(type2* address, type2 value) { return {atomicAdd(&address->x, value.x), atomicAdd(&address->y, value.y)}; }
#define GPUDL_HALF_BINARY(type, type2, sign, name)                                                                                          \
    gpudl_inline type operator sign(type a, type b) { return type((float)a sign(float) b); }                                                \
    gpudl_inline type& operator sign##=(type & a, type b) { return a = a sign b; }                                                          \
    gpudl_inline type name(type a, type b) { return a sign b; }                                                                             \
    gpudl_inline type2 operator sign(type2 a, type2 b) { return {a.x sign b.x, a.y sign b.y}; }                                             \
    gpudl_inline type2& operator sign##=(type2 & a, type2 b) { return a = a sign b; }                                                       \
    gpudl_inline type2 name##2(type2 a, type2 b) { return a sign b; }
// Comparisons in three shapes: one, both (as 1 and 0, or as a mask), and whether it holds in both. With u, a NaN makes it true.
#define GPUDL_HALF_COMPARE(type, type2, sign, name)                                                                                         \
    gpudl_inline bool operator sign(type a, type b) { return (float)a sign(float) b; }                                                      \
    GPUDL_HALF_COMPARES(type, type2, name, (float)a sign(float) b && (float)a == (float)a && (float)b == (float)b)                          \
    GPUDL_HALF_COMPARES(type, type2, name##u, (float)a sign(float) b || (float)a != (float)a || (float)b != (float)b)
#define GPUDL_HALF_COMPARES(type, type2, name, condition)                                                                                   \
    gpudl_inline bool __##name(type a, type b) { return condition; }                                                                        \
    gpudl_inline type2 __##name##2(type2 a, type2 b) { return {type(__##name(a.x, b.x) ? 1.0f : 0.0f), type(__##name(a.y, b.y) ? 1.0f : 0.0f)}; } \
    gpudl_inline unsigned __##name##2_mask(type2 a, type2 b) { return (__##name(a.x, b.x) ? 0xffffu : 0u) | (__##name(a.y, b.y) ? 0xffff0000u : 0u); } \
    GPUDL_HALF_BOTH(name, type2)
#define GPUDL_HALF_BOTH(name, type2) GPUDL_HALF_BOTH_##name(type2)
#define GPUDL_HALF_BOTH_IS(both, name, type2) gpudl_inline bool both(type2 a, type2 b) { return name(a.x, b.x) && name(a.y, b.y); }
#define GPUDL_HALF_BOTH_heq(type2) GPUDL_HALF_BOTH_IS(__hbeq2, __heq, type2)
#define GPUDL_HALF_BOTH_hne(type2) GPUDL_HALF_BOTH_IS(__hbne2, __hne, type2)
#define GPUDL_HALF_BOTH_hlt(type2) GPUDL_HALF_BOTH_IS(__hblt2, __hlt, type2)
#define GPUDL_HALF_BOTH_hle(type2) GPUDL_HALF_BOTH_IS(__hble2, __hle, type2)
#define GPUDL_HALF_BOTH_hgt(type2) GPUDL_HALF_BOTH_IS(__hbgt2, __hgt, type2)
#define GPUDL_HALF_BOTH_hge(type2) GPUDL_HALF_BOTH_IS(__hbge2, __hge, type2)
#define GPUDL_HALF_BOTH_hequ(type2) GPUDL_HALF_BOTH_IS(__hbequ2, __hequ, type2)
#define GPUDL_HALF_BOTH_hneu(type2) GPUDL_HALF_BOTH_IS(__hbneu2, __hneu, type2)
#define GPUDL_HALF_BOTH_hltu(type2) GPUDL_HALF_BOTH_IS(__hbltu2, __hltu, type2)
#define GPUDL_HALF_BOTH_hleu(type2) GPUDL_HALF_BOTH_IS(__hbleu2, __hleu, type2)
#define GPUDL_HALF_BOTH_hgtu(type2) GPUDL_HALF_BOTH_IS(__hbgtu2, __hgtu, type2)
#define GPUDL_HALF_BOTH_hgeu(type2) GPUDL_HALF_BOTH_IS(__hbgeu2, __hgeu, type2)
#define GPUDL_HALF_VARIANTS(type, type2, name, sign)                                                                                        \
    gpudl_inline type __##name##_rn(type a, type b) { return a sign b; }                                                                    \
    gpudl_inline type __##name##_sat(type a, type b) { return gpudl_fit(a sign b); }                                                        \
    gpudl_inline type2 __##name##2_rn(type2 a, type2 b) { return a sign b; }                                                                \
    gpudl_inline type2 __##name##2_sat(type2 a, type2 b) { return {gpudl_fit(a.x sign b.x), gpudl_fit(a.y sign b.y)}; }
#define GPUDL_HALF_INTEGERS(type, word, integer, short_name)                                                                                \
    GPUDL_TO_INTEGERS(type, __##word, integer, short_name)                                                                                  \
    gpudl_inline type __##short_name##2##word##_rn(integer v) { return type((double)v); }                                                   \
    gpudl_inline type __##short_name##2##word##_rd(integer v) { return gpudl_narrow_to<type>(gpudl_odd((double)v), 1); }                    \
    gpudl_inline type __##short_name##2##word##_ru(integer v) { return gpudl_narrow_to<type>(gpudl_odd((double)v), 2); }                    \
    gpudl_inline type __##short_name##2##word##_rz(integer v) { return gpudl_narrow_to<type>(gpudl_odd((double)v), 3); }
#define GPUDL_HALF_FUNCTION(type, type2, name, function)                                                                                    \
    gpudl_inline type h##name(type v) { return type((double)(function((double)(float)v))); }                                                \
    gpudl_inline type2 h2##name(type2 v) { return {h##name(v.x), h##name(v.y)}; }
