// The names of CuPy's cupy/complex.cuh (Thrust's complex numbers), for the emulator: arithmetic in the open, functions by the C library.
#pragma once
namespace thrust {
template <class type_> struct alignas(2 * sizeof(type_)) complex {
    typedef type_ value_type;
    type_ re, im;
    complex() = default;
    gpudl_inline complex(type_ real, type_ imag = type_()) : re(real), im(imag) {}
    template <class other_> gpudl_inline complex(const complex<other_>& z) : re((type_)z.re), im((type_)z.im) {}
    gpudl_inline type_ real() const { return re; }
    gpudl_inline type_ imag() const { return im; }
    gpudl_inline void real(type_ v) { re = v; }
    gpudl_inline void imag(type_ v) { im = v; }
    gpudl_inline complex& operator+=(complex z) { return *this = *this + z; }
    gpudl_inline complex& operator-=(complex z) { return *this = *this - z; }
    gpudl_inline complex& operator*=(complex z) { return *this = *this * z; }
    gpudl_inline complex& operator/=(complex z) { return *this = *this / z; }
    friend gpudl_inline complex operator+(complex a, complex b) { return {a.re + b.re, a.im + b.im}; }
    friend gpudl_inline complex operator-(complex a, complex b) { return {a.re - b.re, a.im - b.im}; }
    friend gpudl_inline complex operator*(complex a, complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
    friend gpudl_inline complex operator/(complex a, complex b) {       // scaled, so that |b|^2 cannot overflow
        type_ s = fabs(b.re) + fabs(b.im), c = b.re / s, d = b.im / s, n = (c * c + d * d) * s;
        return {(a.re * c + a.im * d) / n, (a.im * c - a.re * d) / n};
    }
    friend gpudl_inline bool operator==(complex a, complex b) { return a.re == b.re && a.im == b.im; }
    friend gpudl_inline bool operator!=(complex a, complex b) { return !(a == b); }
    gpudl_inline complex operator-() const { return {-re, -im}; }
    gpudl_inline complex operator+() const { return *this; }
};
template <class type_> gpudl_inline type_ real(const complex<type_>& z) { return z.re; }
template <class type_> gpudl_inline type_ imag(const complex<type_>& z) { return z.im; }
template <class type_> gpudl_inline complex<type_> conj(const complex<type_>& z) { return {z.re, -z.im}; }
template <class type_> gpudl_inline type_ norm(const complex<type_>& z) { return z.re * z.re + z.im * z.im; }
template <class type_> gpudl_inline type_ abs(const complex<type_>& z) { return hypot(z.re, z.im); }
template <class type_> gpudl_inline type_ arg(const complex<type_>& z) { return atan2(z.im, z.re); }
template <class type_> gpudl_inline complex<type_> polar(type_ size, type_ angle = type_()) { return {size * cos(angle), size * sin(angle)}; }
template <class type_> gpudl_inline complex<type_> proj(const complex<type_>& z) { return isinf(z.re) || isinf(z.im) ? complex<type_>(__builtin_inf(), copysign(type_(0), z.im)) : z; }
#define GPUDL_COMPLEX(name)                                                                                         \
    inline complex<float> name(complex<float> z) {                                                                  \
        _Complex float v; __real__ v = z.re; __imag__ v = z.im; v = __builtin_c##name##f(v);                        \
        return {__real__ v, __imag__ v};                                                                            \
    }                                                                                                               \
    inline complex<double> name(complex<double> z) {                                                                \
        _Complex double v; __real__ v = z.re; __imag__ v = z.im; v = __builtin_c##name(v);                          \
        return {__real__ v, __imag__ v};                                                                            \
    }
GPUDL_COMPLEX(exp) GPUDL_COMPLEX(log) GPUDL_COMPLEX(sqrt) GPUDL_COMPLEX(sin) GPUDL_COMPLEX(cos) GPUDL_COMPLEX(tan) GPUDL_COMPLEX(sinh)
GPUDL_COMPLEX(cosh) GPUDL_COMPLEX(tanh) GPUDL_COMPLEX(asin) GPUDL_COMPLEX(acos) GPUDL_COMPLEX(atan) GPUDL_COMPLEX(asinh) GPUDL_COMPLEX(acosh) GPUDL_COMPLEX(atanh)
#undef GPUDL_COMPLEX
template <class type_> gpudl_inline complex<type_> log10(const complex<type_>& z) { return log(z) * complex<type_>((type_)0.43429448190325182765); }
template <class type_> gpudl_inline complex<type_> pow(const complex<type_>& z, const complex<type_>& w) { return exp(w * log(z)); }
template <class type_> gpudl_inline complex<type_> pow(const complex<type_>& z, type_ w) { return exp(complex<type_>(w) * log(z)); }
template <class type_> gpudl_inline complex<type_> pow(type_ z, const complex<type_>& w) { return exp(w * log(complex<type_>(z))); }
}  // namespace thrust
using thrust::complex;
using thrust::abs; using thrust::acos; using thrust::acosh; using thrust::arg; using thrust::asin; using thrust::asinh; using thrust::atan; using thrust::atanh;
using thrust::conj; using thrust::cos; using thrust::cosh; using thrust::exp; using thrust::imag; using thrust::log; using thrust::log10; using thrust::norm;
using thrust::polar; using thrust::pow; using thrust::proj; using thrust::real; using thrust::sin; using thrust::sinh; using thrust::sqrt; using thrust::tan;
using thrust::tanh;
