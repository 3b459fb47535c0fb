// common.cuh: what more than one kernel needs: integer and half types, the accumulator type, INF, vectors, reductions, strided indexing.
//
// NVRTC has no system headers, so everything a kernel uses is here, in ptx.cuh, or built into the compiler. The macro T (the element
// type) comes from the Kernel record as -DT=float, so no template parameter below may be called T.
#pragma once

#ifndef GPUDL_EMULATOR  // the emulator brings <cstdint>
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#endif

#include "ptx.cuh"

#define INF __int_as_float(0x7f800000)
#define FULL 0xffffffffu  // every lane of a warp

// Storage types of 16 bits. Arithmetic happens in float: a load widens, a store rounds once to nearest even.
struct Half {
    uint16_t bits;
    Half() = default;
    __device__ __forceinline__ Half(float x) : bits(float_to_half(x)) {}
    __device__ __forceinline__ operator float() const { return half_to_float(bits); }
};
struct BFloat16 {
    uint16_t bits;
    BFloat16() = default;
    __device__ __forceinline__ BFloat16(float x) : bits(float_to_bfloat16(x)) {}
    __device__ __forceinline__ operator float() const { return bfloat16_to_float(bits); }
};

// Acc<X>::type: what sums of X are kept in. float for the halves and float, double for double, 64 bits for integers.
template <typename X> struct Acc { typedef int64_t type; };
template <> struct Acc<float> { typedef float type; };
template <> struct Acc<double> { typedef double type; };
template <> struct Acc<Half> { typedef float type; };
template <> struct Acc<BFloat16> { typedef float type; };
#ifdef T
typedef Acc<T>::type acc_t;
#endif

// N elements that move as one access of N * sizeof(X) <= 16 bytes; the address must be a multiple of that.
template <typename X, int N> struct alignas(sizeof(X) * N) Vec { X v[N]; };
// Whether a Vec<X, N> may be loaded from this address: a view may start anywhere.
template <typename X, int N> __device__ __forceinline__ bool is_aligned(const X* p) { return reinterpret_cast<uint64_t>(p) % (sizeof(X) * N) == 0; }

__device__ __forceinline__ float exp_(float x) { return expf(x); }
__device__ __forceinline__ double exp_(double x) { return exp(x); }
__device__ __forceinline__ float log_(float x) { return logf(x); }
__device__ __forceinline__ double log_(double x) { return log(x); }
__device__ __forceinline__ float sqrt_(float x) { return sqrtf(x); }
__device__ __forceinline__ double sqrt_(double x) { return sqrt(x); }

// max that keeps a NaN, as NumPy and PyTorch do; fmaxf would drop it.
template <typename X> __device__ __forceinline__ X nan_max(X a, X b) { return (a > b || a != a) ? a : b; }

// Sum and maximum over the 32 lanes of a warp; every lane gets the result. The butterfly's order is fixed: repeatable bit for bit.
template <typename X> __device__ __forceinline__ X warp_sum(X v) {
    for (int offset = 16; offset > 0; offset >>= 1) v += __shfl_xor_sync(FULL, v, offset);
    return v;
}
template <typename X> __device__ __forceinline__ X warp_max(X v) {
    for (int offset = 16; offset > 0; offset >>= 1) v = nan_max(v, __shfl_xor_sync(FULL, v, offset));
    return v;
}

// The same over a block of at most 1024 threads; `smem` holds one value a warp. The first barrier lets a caller reuse smem.
template <typename X> __device__ __forceinline__ X block_sum(X v, X* smem) {
    const int tid = threadIdx.x + blockDim.x * threadIdx.y, lane = tid & 31, warp = tid >> 5;
    const int warps = (blockDim.x * blockDim.y + 31) / 32;
    v = warp_sum(v);
    __syncthreads();
    if (lane == 0) smem[warp] = v;
    __syncthreads();
    return warp_sum(lane < warps ? smem[lane] : X(0));
}

// Shape and element strides of up to three operands of an elementwise kernel. Python passes it by value (gpudl.kernels.Dims).
#define MAX_DIMS 8
struct Dims {
    int32_t ndim;
    int32_t pad;
    int64_t shape[MAX_DIMS];
    int64_t stride[3][MAX_DIMS];
};

// Offset of element i (row-major over dims.shape) in each operand.
__device__ __forceinline__ void offsets(const Dims& dims, int64_t i, int64_t* out, int operands) {
    for (int k = 0; k < operands; ++k) out[k] = 0;
    for (int d = dims.ndim - 1; d >= 0; --d) {
        const int64_t q = i / dims.shape[d], r = i - q * dims.shape[d];
        for (int k = 0; k < operands; ++k) out[k] += r * dims.stride[k][d];
        i = q;
    }
}
