// functions.cuh: number k of the PER that one Philox evaluation gives, for each distribution; a rung is compiled for one (-DF=uniform -DPER=4).
//
// a and b are the distribution's numbers. gpudl/_random.py holds the same arithmetic in NumPy, step by step: uniforms and integers agree bit
// for bit, normals to 4 units in the last place. __fmul_rn and __fadd_rn keep the compiler from fusing a product into a sum, which rounds once less.
#pragma once
#include "random/philox.cuh"

template <typename X> struct Uniform {  // float: 24 bits
    static __device__ __forceinline__ X draw(const Words& r, int k, double a, double b) {
        return X(__fadd_rn(__fmul_rn(unit_float(r.w[k]), float(b - a)), float(a)));
    }
};
template <> struct Uniform<double> {
    static __device__ __forceinline__ double draw(const Words& r, int k, double a, double b) {
        return __dadd_rn(__dmul_rn(unit_double(r.w[2 * k], r.w[2 * k + 1]), b - a), a);
    }
};
template <> struct Uniform<Half> {  // 11 bits, where 24 could round up to 1
    static __device__ __forceinline__ Half draw(const Words& r, int k, double a, double b) {
        return Half(__fadd_rn(__fmul_rn(float(r.w[k] >> 21) * 0.00048828125f, float(b - a)), float(a)));
    }
};
template <> struct Uniform<BFloat16> {  // 8 bits
    static __device__ __forceinline__ BFloat16 draw(const Words& r, int k, double a, double b) {
        return BFloat16(__fadd_rn(__fmul_rn(float(r.w[k] >> 24) * 0.00390625f, float(b - a)), float(a)));
    }
};
template <typename X> __device__ __forceinline__ X uniform(const Words& r, int k, double a, double b, int64_t, uint64_t) { return Uniform<X>::draw(r, k, a, b); }

// cos and sin of 2 pi u for u in [0, 1). The angle is brought to the nearest quarter turn in u itself, which is exact: sin(2 pi u) near its
// zeros would otherwise lose what 2 pi u rounds away.
__device__ __forceinline__ double turn(double u, bool sine) {
    const double quarter = rint(4.0 * u), rest = (u - 0.25 * quarter) * 6.283185307179586476925;
    const int q = (int(quarter) + (sine ? 3 : 0)) & 3;  // sin(x) = cos(x - a quarter turn)
    const double c = q & 1 ? sin(rest) : cos(rest);
    return q == 1 || q == 2 ? -c : c;
}

// Box & Muller 1958, doi:10.1214/aoms/1177706645, in double and rounded once: two uniforms give two normals, u1 in (0, 1].
template <typename X> struct Normal {
    static __device__ __forceinline__ double draw(const Words& r, int k) {
        const double u1 = (double(r.w[k & 2]) + 1.0) * 2.3283064365386962891e-10, u2 = double(r.w[(k & 2) + 1]) * 2.3283064365386962891e-10;
        return sqrt(-2.0 * log(u1)) * turn(u2, k & 1);
    }
};
template <> struct Normal<double> {
    static __device__ __forceinline__ double draw(const Words& r, int k) {
        return sqrt(-2.0 * log(1.0 - unit_double(r.w[0], r.w[1]))) * turn(unit_double(r.w[2], r.w[3]), k & 1);
    }
};
template <typename X> __device__ __forceinline__ X normal(const Words& r, int k, double mean, double std, int64_t, uint64_t) {
    const double z = __dadd_rn(__dmul_rn(Normal<X>::draw(r, k), std), mean);
    return X(sizeof(X) == 8 ? z : double(float(z)));
}

// An integer from low on, below low + range; range 0 is 2^64. Modulo 64 random bits: no value is likelier by more than range / 2^64.
template <typename X> __device__ __forceinline__ X integers(const Words& r, int k, double, double, int64_t low, uint64_t range) {
    const uint64_t bits = uint64_t(r.w[2 * k]) << 32 | r.w[2 * k + 1];
    return X(int64_t(uint64_t(low) + (range ? bits % range : bits)));
}
