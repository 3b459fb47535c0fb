// CUDA's cuComplex.h, for the emulator.
#pragma once
typedef float2 cuFloatComplex;
typedef double2 cuDoubleComplex;
typedef cuFloatComplex cuComplex;
#define GPUDL_CUCOMPLEX(type, real, f, make)                                                                                            \
    gpudl_inline type make(real re, real im) { return {re, im}; }                                                                       \
    gpudl_inline real cuCreal##f(type z) { return z.x; }                                                                                \
    gpudl_inline real cuCimag##f(type z) { return z.y; }                                                                                \
    gpudl_inline type cuConj##f(type z) { return {z.x, -z.y}; }                                                                         \
    gpudl_inline type cuCadd##f(type a, type b) { return {a.x + b.x, a.y + b.y}; }                                                      \
    gpudl_inline type cuCsub##f(type a, type b) { return {a.x - b.x, a.y - b.y}; }                                                      \
    gpudl_inline type cuCmul##f(type a, type b) { return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x}; }                              \
    gpudl_inline type cuCdiv##f(type a, type b) {                                                                                       \
        real s = fabs(b.x) + fabs(b.y), c = b.x / s, d = b.y / s, n = (c * c + d * d) * s;                                              \
        return {(a.x * c + a.y * d) / n, (a.y * c - a.x * d) / n};                                                                      \
    }                                                                                                                                   \
    gpudl_inline real cuCabs##f(type z) { return hypot(z.x, z.y); }                                                                     \
    gpudl_inline type cuCfma##f(type a, type b, type c) { return cuCadd##f(cuCmul##f(a, b), c); }
GPUDL_CUCOMPLEX(cuFloatComplex, float, f, make_cuFloatComplex)
GPUDL_CUCOMPLEX(cuDoubleComplex, double, , make_cuDoubleComplex)
#undef GPUDL_CUCOMPLEX
gpudl_inline cuComplex make_cuComplex(float re, float im) { return {re, im}; }
gpudl_inline cuFloatComplex cuComplexDoubleToFloat(cuDoubleComplex z) { return {(float)z.x, (float)z.y}; }
gpudl_inline cuDoubleComplex cuComplexFloatToDouble(cuFloatComplex z) { return {z.x, z.y}; }
