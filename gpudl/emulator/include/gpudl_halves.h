// What cuda_fp16.h and cuda_bf16.h have in common. Arithmetic is computed in float and rounded once, as the hardware does for each
// operation (a product or sum of two halves is exact in float up to that rounding; fma is rounded twice here in rare ties).
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

// Type names differ (__half, __nv_bfloat16), and so do those of conversions (half, bfloat16); the rest is one text.
#define GPUDL_HALF_TYPE(type, type2, word, widen, narrow)                                                                           \
    struct type {                                                                                                                   \
        unsigned short __x;                                                                                                         \
        type() = default;                                                                                                           \
        gpudl_inline type(float v) : __x(narrow(v)) {}                                                                              \
        gpudl_inline type(double v) : __x(narrow((float)v)) {}                                                                      \
        gpudl_inline type(int v) : __x(narrow((float)v)) {}                                                                         \
        gpudl_inline type(unsigned v) : __x(narrow((float)v)) {}                                                                    \
        gpudl_inline type(long v) : __x(narrow((float)v)) {}                                                                        \
        gpudl_inline type(long long v) : __x(narrow((float)v)) {}                                                                   \
        gpudl_inline operator float() const { return widen(__x); }                                                                  \
    };                                                                                                                              \
    struct alignas(4) type2 { type x, y; };                                                                                         \
    gpudl_inline type __float2##word(float v) { return type(v); }                                                                   \
    gpudl_inline type __float2##word##_rn(float v) { return type(v); }                                                              \
    gpudl_inline type __double2##word(double v) { return type(v); }                                                                 \
    gpudl_inline float __##word##2float(type v) { return (float)v; }                                                                \
    gpudl_inline type __int2##word##_rn(int v) { return type((float)v); }                                                           \
    gpudl_inline int __##word##2int_rn(type v) { return __float2int_rn((float)v); }                                                 \
    gpudl_inline int __##word##2int_rz(type v) { return __float2int_rz((float)v); }                                                 \
    gpudl_inline unsigned short __##word##_as_ushort(type v) { return v.__x; }                                                      \
    gpudl_inline short __##word##_as_short(type v) { return (short)v.__x; }                                                         \
    gpudl_inline type __ushort_as_##word(unsigned short v) { type r; r.__x = v; return r; }                                         \
    gpudl_inline type2 __##word##s2##word##2(type a, type b) { return {a, b}; }                                                     \
    gpudl_inline type2 __##word##2##word##2(type a) { return {a, a}; }                                                              \
    gpudl_inline type2 __floats2##word##2_rn(float a, float b) { return {type(a), type(b)}; }                                       \
    gpudl_inline type2 __float2##word##2_rn(float a) { return {type(a), type(a)}; }                                                 \
    gpudl_inline type2 __float22##word##2_rn(float2 v) { return {type(v.x), type(v.y)}; }                                           \
    gpudl_inline float2 __##word##22float2(type2 v) { return make_float2((float)v.x, (float)v.y); }                                 \
    gpudl_inline float __low2float(type2 v) { return (float)v.x; }                                                                  \
    gpudl_inline float __high2float(type2 v) { return (float)v.y; }                                                                 \
    gpudl_inline type __low2##word(type2 v) { return v.x; }                                                                         \
    gpudl_inline type __high2##word(type2 v) { return v.y; }                                                                        \
    gpudl_inline type2 make_##word##2(type a, type b) { return {a, b}; }                                                            \
    GPUDL_HALF_BINARY(type, type2, +, __hadd) GPUDL_HALF_BINARY(type, type2, -, __hsub)                                             \
    GPUDL_HALF_BINARY(type, type2, *, __hmul) GPUDL_HALF_BINARY(type, type2, /, __hdiv)                                             \
    GPUDL_HALF_COMPARE(type, ==, __heq) GPUDL_HALF_COMPARE(type, !=, __hne) GPUDL_HALF_COMPARE(type, <, __hlt)                      \
    GPUDL_HALF_COMPARE(type, <=, __hle) GPUDL_HALF_COMPARE(type, >, __hgt) GPUDL_HALF_COMPARE(type, >=, __hge)                      \
    gpudl_inline type operator-(type v) { v.__x ^= 0x8000; return v; }                                                              \
    gpudl_inline type __hneg(type v) { return -v; }                                                                                 \
    gpudl_inline type __habs(type v) { v.__x &= 0x7fff; return v; }                                                                 \
    gpudl_inline type2 __habs2(type2 v) { return {__habs(v.x), __habs(v.y)}; }                                                      \
    gpudl_inline type2 __hneg2(type2 v) { return {-v.x, -v.y}; }                                                                    \
    gpudl_inline type __hfma(type a, type b, type c) { return type(fmaf((float)a, (float)b, (float)c)); }                           \
    gpudl_inline type2 __hfma2(type2 a, type2 b, type2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }                \
    gpudl_inline type __hmax(type a, type b) { return type(fmaxf((float)a, (float)b)); }                                            \
    gpudl_inline type __hmin(type a, type b) { return type(fminf((float)a, (float)b)); }                                            \
    gpudl_inline type2 __hmax2(type2 a, type2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                                   \
    gpudl_inline type2 __hmin2(type2 a, type2 b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }                                   \
    gpudl_inline bool __hisnan(type v) { return (float)v != (float)v; }                                                             \
    gpudl_inline int __hisinf(type v) { float f = (float)v; return f == __builtin_inff() ? 1 : f == -__builtin_inff() ? -1 : 0; }   \
    GPUDL_HALF_FUNCTION(type, hexp, expf) GPUDL_HALF_FUNCTION(type, hexp2, exp2f) GPUDL_HALF_FUNCTION(type, hlog, logf)             \
    GPUDL_HALF_FUNCTION(type, hlog2, log2f) GPUDL_HALF_FUNCTION(type, hsqrt, sqrtf) GPUDL_HALF_FUNCTION(type, hrsqrt, rsqrtf)       \
    GPUDL_HALF_FUNCTION(type, hsin, sinf) GPUDL_HALF_FUNCTION(type, hcos, cosf) GPUDL_HALF_FUNCTION(type, htanh, tanhf)             \
    GPUDL_HALF_FUNCTION(type, hfloor, floorf) GPUDL_HALF_FUNCTION(type, hceil, ceilf) GPUDL_HALF_FUNCTION(type, hrint, rintf)       \
    gpudl_inline type hrcp(type v) { return type(1.0f / (float)v); }                                                                \
    gpudl_inline type atomicAdd(type* address, type value) {                                                                        \
        unsigned short* word = (unsigned short*)address;                                                                            \
        unsigned short seen = atomicCAS(word, (unsigned short)0, (unsigned short)0);                                                \
        for (;;) {                                                                                                                  \
            type old = __ushort_as_##word(seen);                                                                                    \
            unsigned short got = atomicCAS(word, seen, (old + value).__x);                                                          \
            if (got == seen) return old;                                                                                            \
            seen = got;                                                                                                             \
        }                                                                                                                           \
    }                                                                                                                               \
    gpudl_inline type2 atomicAdd(type2* address, type2 value) { return {atomicAdd(&address->x, value.x), atomicAdd(&address->y, value.y)}; }
#define GPUDL_HALF_BINARY(type, type2, sign, name)                                                          \
    gpudl_inline type operator sign(type a, type b) { return type((float)a sign(float) b); }                \
    gpudl_inline type& operator sign##=(type & a, type b) { return a = a sign b; }                          \
    gpudl_inline type name(type a, type b) { return a sign b; }                                             \
    gpudl_inline type2 operator sign(type2 a, type2 b) { return {a.x sign b.x, a.y sign b.y}; }             \
    gpudl_inline type2& operator sign##=(type2 & a, type2 b) { return a = a sign b; }                       \
    gpudl_inline type2 name##2(type2 a, type2 b) { return a sign b; }
#define GPUDL_HALF_COMPARE(type, sign, name)                                                                \
    gpudl_inline bool operator sign(type a, type b) { return (float)a sign(float) b; }                      \
    gpudl_inline bool name(type a, type b) { return a sign b; }
#define GPUDL_HALF_FUNCTION(type, name, function) gpudl_inline type name(type v) { return type(function((float)v)); }
