// CUDA's mathematical functions and integer intrinsics that <math.h> lacks. Included by the prelude.
//
// The fast intrinsics are rounded correctly here; a GPU's are not, so compare with tolerances.
#pragma once
extern "C" {
double gpudl_emu_rounded(int operation, int mode, int single, double a, double b, double c) __attribute__((const));
double gpudl_emu_rounded_integer(unsigned long long value, int is_signed, int mode, int single) __attribute__((const));
double gpudl_emu_bessel_i(int order, double x) __attribute__((const));
double gpudl_emu_erfcx(double x) __attribute__((const));
double gpudl_emu_normal_quantile(double p) __attribute__((const));
double gpudl_emu_erfcinv(double y) __attribute__((const));
double gpudl_emu_erfinv(double x) __attribute__((const));
}

// ---- Functions of one name and two types.
#define GPUDL_REAL(name, expression)                                                        \
    gpudl_inline double name(double v) { return expression; }                               \
    gpudl_inline float name##f(float given) { const double v = given; return (float)(expression); } \
    gpudl_inline float name(float v) { return name##f(v); }
GPUDL_REAL(rsqrt, 1.0 / sqrt(v))
GPUDL_REAL(rcbrt, 1.0 / cbrt(v))
GPUDL_REAL(sinpi, sin(3.14159265358979323846 * fmod(v, 2.0)))
GPUDL_REAL(cospi, cos(3.14159265358979323846 * fmod(v, 2.0)))
GPUDL_REAL(normcdf, 0.5 * erfc(-0.70710678118654752440 * v))
GPUDL_REAL(normcdfinv, gpudl_emu_normal_quantile(v))
GPUDL_REAL(erfinv, gpudl_emu_erfinv(v))
GPUDL_REAL(erfcinv, gpudl_emu_erfcinv(v))
GPUDL_REAL(erfcx, gpudl_emu_erfcx(v))
GPUDL_REAL(cyl_bessel_i0, gpudl_emu_bessel_i(0, v))
GPUDL_REAL(cyl_bessel_i1, gpudl_emu_bessel_i(1, v))
#undef GPUDL_REAL
#define GPUDL_REALS(type, f)                                                                                                        \
    gpudl_inline type norm3d##f(type a, type b, type c) { return (type)hypot((double)a, hypot((double)b, (double)c)); }             \
    gpudl_inline type norm4d##f(type a, type b, type c, type d) { return (type)hypot(hypot((double)a, (double)b), hypot((double)c, (double)d)); } \
    gpudl_inline type rhypot##f(type a, type b) { return (type)(1.0 / hypot((double)a, (double)b)); }                               \
    gpudl_inline type rnorm3d##f(type a, type b, type c) { return (type)(1.0 / norm3d((double)a, (double)b, (double)c)); }          \
    gpudl_inline type rnorm4d##f(type a, type b, type c, type d) { return (type)(1.0 / norm4d((double)a, (double)b, (double)c, (double)d)); } \
    inline type norm##f(int n, const type* v) { double sum = 0; for (int i = 0; i < n; i++) sum = hypot(sum, (double)v[i]); return (type)sum; } \
    gpudl_inline type rnorm##f(int n, const type* v) { return (type)(1.0 / (double)norm##f(n, v)); }                                \
    gpudl_inline void sincospi##f(type v, type* s, type* c) { *s = sinpi(v); *c = cospi(v); }
GPUDL_REALS(double, )
GPUDL_REALS(float, f)
#undef GPUDL_REALS
gpudl_inline float fdividef(float a, float b) { return a / b; }
gpudl_inline float exp10(float v) { return exp10f(v); }
gpudl_inline float j0(float v) { return j0f(v); }
gpudl_inline float j1(float v) { return j1f(v); }
gpudl_inline float jn(int n, float v) { return jnf(n, v); }
gpudl_inline float y0(float v) { return y0f(v); }
gpudl_inline float y1(float v) { return y1f(v); }
gpudl_inline float yn(int n, float v) { return ynf(n, v); }
gpudl_inline float gpudl_saturate(float v) { return v > 0 ? (v < 1 ? v : 1.0f) : 0.0f; }       // NaN becomes 0, as on a GPU

// glibc declares __expf and its relatives, hence macros.
#define __expf(v) expf(v)
#define __exp10f(v) exp10f(v)
#define __logf(v) logf(v)
#define __log2f(v) log2f(v)
#define __log10f(v) log10f(v)
#define __powf(a, b) powf(a, b)
#define __sinf(v) sinf(v)
#define __cosf(v) cosf(v)
#define __tanf(v) tanf(v)
#define __tanhf(v) tanhf(v)
#define __sincosf(v, s, c) sincosf(v, s, c)
gpudl_inline float __fdividef(float a, float b) { return a / b; }
gpudl_inline float __saturatef(float v) { return gpudl_saturate(v); }
gpudl_inline float __frsqrt_rn(float v) { return (float)(1.0 / sqrt((double)v)); }

// ---- Arithmetic with a direction of rounding.
gpudl_inline float __fadd_rn(float a, float b) { return a + b; }
gpudl_inline float __fsub_rn(float a, float b) { return a - b; }
gpudl_inline float __fmul_rn(float a, float b) { return a * b; }
gpudl_inline float __fdiv_rn(float a, float b) { return a / b; }
gpudl_inline float __frcp_rn(float a) { return 1.0f / a; }
gpudl_inline float __fsqrt_rn(float a) { return sqrtf(a); }
gpudl_inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
gpudl_inline float __fmaf_ieee_rn(float a, float b, float c) { return fmaf(a, b, c); }
gpudl_inline double __dadd_rn(double a, double b) { return a + b; }
gpudl_inline double __dsub_rn(double a, double b) { return a - b; }
gpudl_inline double __dmul_rn(double a, double b) { return a * b; }
gpudl_inline double __ddiv_rn(double a, double b) { return a / b; }
gpudl_inline double __drcp_rn(double a) { return 1.0 / a; }
gpudl_inline double __dsqrt_rn(double a) { return sqrt(a); }
gpudl_inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
gpudl_inline float __double2float_rn(double v) { return (float)v; }
#define GPUDL_DIRECTED(d, mode)                                                                                                          \
    gpudl_inline float __fadd_##d(float a, float b) { return (float)gpudl_emu_rounded(0, mode, 1, a, b, 0); }                            \
    gpudl_inline float __fsub_##d(float a, float b) { return (float)gpudl_emu_rounded(1, mode, 1, a, b, 0); }                            \
    gpudl_inline float __fmul_##d(float a, float b) { return (float)gpudl_emu_rounded(2, mode, 1, a, b, 0); }                            \
    gpudl_inline float __fdiv_##d(float a, float b) { return (float)gpudl_emu_rounded(3, mode, 1, a, b, 0); }                            \
    gpudl_inline float __frcp_##d(float a) { return (float)gpudl_emu_rounded(3, mode, 1, 1, a, 0); }                                     \
    gpudl_inline float __fsqrt_##d(float a) { return (float)gpudl_emu_rounded(4, mode, 1, a, 0, 0); }                                    \
    gpudl_inline float __fmaf_##d(float a, float b, float c) { return (float)gpudl_emu_rounded(5, mode, 1, a, b, c); }                   \
    gpudl_inline float __fmaf_ieee_##d(float a, float b, float c) { return (float)gpudl_emu_rounded(5, mode, 1, a, b, c); }              \
    gpudl_inline double __dadd_##d(double a, double b) { return gpudl_emu_rounded(0, mode, 0, a, b, 0); }                                \
    gpudl_inline double __dsub_##d(double a, double b) { return gpudl_emu_rounded(1, mode, 0, a, b, 0); }                                \
    gpudl_inline double __dmul_##d(double a, double b) { return gpudl_emu_rounded(2, mode, 0, a, b, 0); }                                \
    gpudl_inline double __ddiv_##d(double a, double b) { return gpudl_emu_rounded(3, mode, 0, a, b, 0); }                                \
    gpudl_inline double __drcp_##d(double a) { return gpudl_emu_rounded(3, mode, 0, 1, a, 0); }                                          \
    gpudl_inline double __dsqrt_##d(double a) { return gpudl_emu_rounded(4, mode, 0, a, 0, 0); }                                         \
    gpudl_inline double __fma_##d(double a, double b, double c) { return gpudl_emu_rounded(5, mode, 0, a, b, c); }                       \
    gpudl_inline float __double2float_##d(double v) { return (float)gpudl_emu_rounded(6, mode, 1, v, 0, 0); }                            \
    gpudl_inline float __int2float_##d(int v) { return (float)gpudl_emu_rounded_integer((unsigned long long)(long long)v, 1, mode, 1); } \
    gpudl_inline float __uint2float_##d(unsigned v) { return (float)gpudl_emu_rounded_integer(v, 0, mode, 1); }                          \
    gpudl_inline float __ll2float_##d(long long v) { return (float)gpudl_emu_rounded_integer((unsigned long long)v, 1, mode, 1); }       \
    gpudl_inline float __ull2float_##d(unsigned long long v) { return (float)gpudl_emu_rounded_integer(v, 0, mode, 1); }                 \
    gpudl_inline double __ll2double_##d(long long v) { return gpudl_emu_rounded_integer((unsigned long long)v, 1, mode, 0); }            \
    gpudl_inline double __ull2double_##d(unsigned long long v) { return gpudl_emu_rounded_integer(v, 0, mode, 0); }
GPUDL_DIRECTED(rd, 1) GPUDL_DIRECTED(ru, 2) GPUDL_DIRECTED(rz, 3)
#undef GPUDL_DIRECTED

// Conversions to integers: a GPU clamps to the range and turns NaN into 0; the intrinsics say so in C++.
template <class to_, class from_> gpudl_inline to_ gpudl_clamp(from_ v, double low, double high, to_ lowest, to_ highest) {
    return v != v ? to_(0) : (double)v <= low ? lowest : (double)v >= high ? highest : (to_)v;
}
gpudl_inline int gpudl_to_int(double v) { return gpudl_clamp<int>(v, -2147483648.0, 2147483647.0, INT_MIN, INT_MAX); }
gpudl_inline unsigned gpudl_to_uint(double v) { return gpudl_clamp<unsigned>(v, 0.0, 4294967295.0, 0u, UINT_MAX); }
gpudl_inline long long gpudl_to_ll(double v) { return gpudl_clamp<long long>(v, -9223372036854775808.0, 9223372036854775807.0, LLONG_MIN, LLONG_MAX); }
gpudl_inline unsigned long long gpudl_to_ull(double v) { return gpudl_clamp<unsigned long long>(v, 0.0, 18446744073709551615.0, 0ull, ULLONG_MAX); }
gpudl_inline short gpudl_to_short(double v) { return gpudl_clamp<short>(v, -32768.0, 32767.0, SHRT_MIN, SHRT_MAX); }
gpudl_inline unsigned short gpudl_to_ushort(double v) { return gpudl_clamp<unsigned short>(v, 0.0, 65535.0, 0, USHRT_MAX); }
#define GPUDL_TO_INTEGER(from, prefix, type, word, suffix, round) \
    gpudl_inline type prefix##2##word##_##suffix(from v) { return gpudl_to_##word(round((double)v)); }
#define GPUDL_TO_INTEGERS(from, prefix, type, word)                                                                             \
    GPUDL_TO_INTEGER(from, prefix, type, word, rn, rint) GPUDL_TO_INTEGER(from, prefix, type, word, rz, trunc)                  \
    GPUDL_TO_INTEGER(from, prefix, type, word, rd, floor) GPUDL_TO_INTEGER(from, prefix, type, word, ru, ceil)
#define GPUDL_CONVERSIONS(from, prefix)                                                                                         \
    GPUDL_TO_INTEGERS(from, prefix, int, int) GPUDL_TO_INTEGERS(from, prefix, unsigned, uint)                                   \
    GPUDL_TO_INTEGERS(from, prefix, long long, ll) GPUDL_TO_INTEGERS(from, prefix, unsigned long long, ull)
GPUDL_CONVERSIONS(float, __float)
GPUDL_CONVERSIONS(double, __double)
gpudl_inline float __int2float_rn(int v) { return (float)v; }
gpudl_inline float __uint2float_rn(unsigned v) { return (float)v; }
gpudl_inline float __ll2float_rn(long long v) { return (float)v; }
gpudl_inline float __ull2float_rn(unsigned long long v) { return (float)v; }
gpudl_inline double __int2double_rn(int v) { return (double)v; }
gpudl_inline double __uint2double_rn(unsigned v) { return (double)v; }
gpudl_inline double __ll2double_rn(long long v) { return (double)v; }
gpudl_inline double __ull2double_rn(unsigned long long v) { return (double)v; }

// ---- Integers.
gpudl_inline long long llmin(long long a, long long b) { return b < a ? b : a; }
gpudl_inline long long llmax(long long a, long long b) { return a < b ? b : a; }
gpudl_inline unsigned long long ullmin(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
gpudl_inline unsigned long long ullmax(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
gpudl_inline unsigned umin(unsigned a, unsigned b) { return b < a ? b : a; }
gpudl_inline unsigned umax(unsigned a, unsigned b) { return a < b ? b : a; }
gpudl_inline int __hadd(int a, int b) { return (int)(((long long)a + b) >> 1); }
gpudl_inline int __rhadd(int a, int b) { return (int)(((long long)a + b + 1) >> 1); }
gpudl_inline unsigned __uhadd(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a + b) >> 1); }
gpudl_inline unsigned __urhadd(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a + b + 1) >> 1); }
gpudl_inline unsigned __sad(int a, int b, unsigned sum) { return (unsigned)(a > b ? (long long)a - b : (long long)b - a) + sum; }
gpudl_inline unsigned __usad(unsigned a, unsigned b, unsigned sum) { return (a > b ? a - b : b - a) + sum; }
gpudl_inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned n) { return n >= 32 ? low : (unsigned)(((((unsigned long long)high << 32) | low) << n) >> 32); }
gpudl_inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned n) { return n >= 32 ? high : (unsigned)((((unsigned long long)high << 32) | low) >> n); }
inline unsigned __fns(unsigned mask, unsigned base, int offset) {       // after the PTX manual's text of fns
    if (offset == 0) return mask >> (base & 31) & 1 ? base : ~0u;
    int left = (offset > 0 ? offset : -offset) - 1, step = offset > 0 ? 1 : -1;
    for (int place = (int)base; place >= 0 && place < 32; place += step)
        if (mask >> place & 1 && left-- == 0) return (unsigned)place;
    return ~0u;
}
#define GPUDL_DOT(type, byte, word)                                                                                                                            \
    inline type __dp4a(type a, type b, type sum) { for (int i = 0; i < 4; i++) sum += (type)(byte)(a >> (8 * i)) * (type)(byte)(b >> (8 * i)); return sum; }   \
    inline type __dp2a_lo(type a, type b, type sum) { for (int i = 0; i < 2; i++) sum += (type)(word)(a >> (16 * i)) * (type)(byte)(b >> (8 * i)); return sum; } \
    inline type __dp2a_hi(type a, type b, type sum) { for (int i = 0; i < 2; i++) sum += (type)(word)(a >> (16 * i)) * (type)(byte)(b >> (8 * i + 16)); return sum; }
GPUDL_DOT(int, signed char, short)
GPUDL_DOT(unsigned, unsigned char, unsigned short)
#undef GPUDL_DOT

// ---- Two halfwords or four bytes in a word ("SIMD intrinsics"): a and b are one part each, as int; parts of the result are cut to size.
#define GPUDL_PARTS(name, expression, kind)                                                                         \
    GPUDL_PARTS_OF(name##2, 2, kind short, kind##_16, expression)                                                   \
    GPUDL_PARTS_OF(name##4, 4, kind char, kind##_8, expression)
#define GPUDL_PARTS_OF(name, count, part, limits, expression)                                                       \
    inline unsigned name(unsigned x, unsigned y = 0) {                                                              \
        constexpr int bits = 32 / count, lowest = limits##_low, highest = limits##_high;                            \
        unsigned result = 0;                                                                                        \
        for (int i = 0; i < count; i++) {                                                                           \
            const int a = (part)(x >> (bits * i)), b = (part)(y >> (bits * i));                                     \
            (void)a, (void)b, (void)lowest, (void)highest;                                                          \
            result |= ((unsigned)(expression) & ((1u << bits) - 1)) << (bits * i);                                  \
        }                                                                                                           \
        return result;                                                                                              \
    }
enum { signed_16_low = -32768, signed_16_high = 32767, signed_8_low = -128, signed_8_high = 127,
       unsigned_16_low = 0, unsigned_16_high = 65535, unsigned_8_low = 0, unsigned_8_high = 255 };
#define GPUDL_FIT(v) ((v) < lowest ? lowest : (v) > highest ? highest : (v))
GPUDL_PARTS(__vabs, a < 0 ? -a : a, signed) GPUDL_PARTS(__vabsss, GPUDL_FIT(a < 0 ? -a : a), signed)
GPUDL_PARTS(__vneg, -a, signed) GPUDL_PARTS(__vnegss, GPUDL_FIT(-a), signed)
GPUDL_PARTS(__vabsdiffs, a > b ? a - b : b - a, signed) GPUDL_PARTS(__vabsdiffu, a > b ? a - b : b - a, unsigned)
GPUDL_PARTS(__vadd, a + b, signed) GPUDL_PARTS(__vaddss, GPUDL_FIT(a + b), signed) GPUDL_PARTS(__vaddus, GPUDL_FIT(a + b), unsigned)
GPUDL_PARTS(__vsub, a - b, signed) GPUDL_PARTS(__vsubss, GPUDL_FIT(a - b), signed) GPUDL_PARTS(__vsubus, GPUDL_FIT(a - b), unsigned)
GPUDL_PARTS(__vavgs, (a + b + (a + b >= 0)) >> 1, signed) GPUDL_PARTS(__vavgu, (a + b + 1) >> 1, unsigned) GPUDL_PARTS(__vhaddu, (a + b) >> 1, unsigned)
GPUDL_PARTS(__vmaxs, a > b ? a : b, signed) GPUDL_PARTS(__vmaxu, a > b ? a : b, unsigned)
GPUDL_PARTS(__vmins, a < b ? a : b, signed) GPUDL_PARTS(__vminu, a < b ? a : b, unsigned)
#define GPUDL_COMPARE(name, sign, kind) GPUDL_PARTS(__vcmp##name, a sign b ? -1 : 0, kind) GPUDL_PARTS(__vset##name, a sign b ? 1 : 0, kind)
GPUDL_COMPARE(eq, ==, signed) GPUDL_COMPARE(ne, !=, signed)
GPUDL_COMPARE(ges, >=, signed) GPUDL_COMPARE(gts, >, signed) GPUDL_COMPARE(les, <=, signed) GPUDL_COMPARE(lts, <, signed)
GPUDL_COMPARE(geu, >=, unsigned) GPUDL_COMPARE(gtu, >, unsigned) GPUDL_COMPARE(leu, <=, unsigned) GPUDL_COMPARE(ltu, <, unsigned)
#undef GPUDL_COMPARE
#undef GPUDL_FIT
#undef GPUDL_PARTS_OF
#undef GPUDL_PARTS
inline unsigned gpudl_sum_of_parts(unsigned v, int bits) { unsigned sum = 0; for (int at = 0; at < 32; at += bits) sum += v >> at & ((1u << bits) - 1); return sum; }
gpudl_inline unsigned __vsads2(unsigned a, unsigned b) { return gpudl_sum_of_parts(__vabsdiffs2(a, b), 16); }
gpudl_inline unsigned __vsads4(unsigned a, unsigned b) { return gpudl_sum_of_parts(__vabsdiffs4(a, b), 8); }
gpudl_inline unsigned __vsadu2(unsigned a, unsigned b) { return gpudl_sum_of_parts(__vabsdiffu2(a, b), 16); }
gpudl_inline unsigned __vsadu4(unsigned a, unsigned b) { return gpudl_sum_of_parts(__vabsdiffu4(a, b), 8); }
