// Every inline-PTX instruction of the library, one function each. Under the emulator (GPUDL_EMULATOR) the same function
// holds the instruction's meaning in plain C++, beside the PTX that it stands for. Kernels call these and contain no asm.
#pragma once

// cvt.f32.f16: exact; subnormals, infinities and NaN payloads carry over.
__device__ __forceinline__ float half_to_float(unsigned short bits) {
#ifdef GPUDL_EMULATOR
    unsigned sign = (unsigned)(bits & 0x8000u) << 16, rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));      // infinity, NaN
    if (rest >= 0x0400u) return __uint_as_float(sign | ((rest << 13) + 0x38000000u));               // normal: rebias 15 -> 127
    return __uint_as_float(sign | __float_as_uint((float)rest * 5.9604644775390625e-8f));           // subnormal: rest * 2^-24
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#endif
}

// cvt.rn.f16.f32: to nearest, ties to even; overflow gives infinity, any NaN gives 0x7fff.
__device__ __forceinline__ unsigned short float_to_half(float value) {
#ifdef GPUDL_EMULATOR
    unsigned word = __float_as_uint(value), sign = (word >> 16) & 0x8000u, rest = word & 0x7fffffffu;
    if (rest > 0x7f800000u) return 0x7fff;
    if (rest >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);                               // >= 65520 rounds to infinity
    if (rest < 0x38800000u) {                                                                       // below 2^-14: adding 0.5 leaves
        float shifted = __uint_as_float(rest) + 0.5f;                                               // the value in units of 2^-24,
        return (unsigned short)(sign | (__float_as_uint(shifted) - 0x3f000000u));                   // rounded by the addition
    }
    return (unsigned short)(sign | ((rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13));
#else
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#endif
}

// A bfloat16 is the upper half of a float, so widening is a shift and needs no instruction of its own.
__device__ __forceinline__ float bfloat16_to_float(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

// cvt.rn.bf16.f32: to nearest, ties to even; any NaN gives 0x7fff. The instruction is new with sm_80; before, the same in plain C++.
__device__ __forceinline__ unsigned short float_to_bfloat16(float value) {
#if defined(GPUDL_EMULATOR) || __CUDA_ARCH__ < 800
    unsigned word = __float_as_uint(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
#else
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#endif
}
