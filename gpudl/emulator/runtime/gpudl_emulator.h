// What a .cu file sees in place of CUDA's built-in names: force-included before the user's source.
//
// Names here are lower case or start with gpudl_, because kernels are compiled with macros such as -DT=float or -DBM=64.
#pragma once
// Names of the C library that a kernel may well have: there is no such library on a GPU.
#define index gpudl_libc_index
#define rindex gpudl_libc_rindex
#define remove gpudl_libc_remove
#define rename gpudl_libc_rename
#define gamma gpudl_libc_gamma
#define scalb gpudl_libc_scalb
#define drem gpudl_libc_drem
#define significand gpudl_libc_significand
#define clock gpudl_libc_clock
#include <assert.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#undef index
#undef rindex
#undef remove
#undef rename
#undef gamma
#undef scalb
#undef drem
#undef significand
#undef clock

#ifndef GPUDL_EMULATOR
#define GPUDL_EMULATOR 1
#define __CUDACC__ 1
#endif
#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 900
#endif
#ifndef CUDART_INF_F
#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_INF __builtin_inf()
#define CUDART_NAN __builtin_nan("")
#define CUDART_PI_F 3.141592654f
#endif

// ---- Qualifiers. A block runs on one OS thread, so its shared memory is that thread's thread-local storage: block-scope
// thread_local implies static and stays legal after extern. __constinit keeps g++ from adding a guard variable.
#define __global__ __attribute__((__hot__))      // harmless, and the mark by which the builder finds kernels
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__ thread_local __constinit __attribute__((aligned(128)))
#define __constant__ __attribute__((__section__("gpudl_constant")))
#define __managed__
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __noinline__ __attribute__((noinline))

template <class type_> constexpr size_t gpudl_alignas() { return alignof(type_); }     // of alignas(type) and alignas(number) alike
template <size_t bytes_> constexpr size_t gpudl_alignas() { return bytes_; }

// ---- Vector types.
#define GPUDL_VECTORS(type, name, align2, align4)                                                                       \
    struct name##1 { type x; };                                                                                         \
    struct alignas(align2) name##2 { type x, y; };                                                                      \
    struct name##3 { type x, y, z; };                                                                                   \
    struct alignas(align4) name##4 { type x, y, z, w; };                                                                \
    inline name##1 make_##name##1(type x) { return {x}; }                                                               \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                                    \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                                         \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
GPUDL_VECTORS(signed char, char, 2, 4)
GPUDL_VECTORS(unsigned char, uchar, 2, 4)
GPUDL_VECTORS(short, short, 4, 8)
GPUDL_VECTORS(unsigned short, ushort, 4, 8)
GPUDL_VECTORS(int, int, 8, 16)
GPUDL_VECTORS(unsigned, uint, 8, 16)
GPUDL_VECTORS(long, long, 16, 16)
GPUDL_VECTORS(unsigned long, ulong, 16, 16)
GPUDL_VECTORS(long long, longlong, 16, 16)
GPUDL_VECTORS(unsigned long long, ulonglong, 16, 16)
GPUDL_VECTORS(float, float, 8, 16)
GPUDL_VECTORS(double, double, 16, 16)
#undef GPUDL_VECTORS
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

// ---- The runtime. Calls that only read a thread's identity are const: one thread's answer never changes.
extern "C" {
uint3 gpudl_emu_thread_index() __attribute__((const));
uint3 gpudl_emu_block_index() __attribute__((const));
uint3 gpudl_emu_block_dim() __attribute__((const));
uint3 gpudl_emu_grid_dim() __attribute__((const));
void gpudl_emu_barrier(unsigned id, int expected);                      // expected < 0: every thread of the block
void gpudl_emu_barrier_arrive(unsigned id, int expected);
int gpudl_emu_barrier_vote(int predicate, int operation);               // 0 count, 1 and, 2 or
void gpudl_emu_grid_barrier();
typedef void (*gpudl_emu_combine)(void** records, unsigned mask, unsigned present);
void gpudl_emu_collective(unsigned mask, int kind, gpudl_emu_combine combine, void* record);
unsigned long long gpudl_emu_shuffle(unsigned mask, unsigned long long value, int lane, int width, int mode);
unsigned gpudl_emu_vote(unsigned mask, unsigned predicate);
unsigned gpudl_emu_match(unsigned mask, unsigned long long value);
unsigned gpudl_emu_reduce(unsigned mask, unsigned value, int operation);
void gpudl_emu_syncwarp(unsigned mask);
unsigned gpudl_emu_activemask();
void gpudl_emu_fence(int scope);
void gpudl_emu_yield();
void gpudl_emu_copy_async(void* shared, const void* global, unsigned bytes, unsigned source_bytes);
void gpudl_emu_copy_commit();
void gpudl_emu_copy_wait(unsigned groups_left);
void gpudl_emu_mbarrier_init(void* barrier, unsigned count);
unsigned long long gpudl_emu_mbarrier_arrive(void* barrier, unsigned bytes, unsigned arrivals);
void gpudl_emu_mbarrier_wait(void* barrier, unsigned parity);
void gpudl_emu_bulk_load(void* shared, const void* global, unsigned bytes, void* barrier);
unsigned gpudl_emu_shared_address(const void* pointer);
void* gpudl_emu_shared_pointer(unsigned address);
int gpudl_emu_space(const void* pointer);                               // 0 none, 1 local, 2 shared, 3 global, 4 constant
unsigned long long gpudl_emu_clock();
void gpudl_emu_trap(const char* message) __attribute__((noreturn));
unsigned long long gpudl_emu_atomic(void* address, int bytes, int operation, unsigned long long value, unsigned long long compare);
}
#define threadIdx (gpudl_emu_thread_index())
#define blockIdx (gpudl_emu_block_index())
#define blockDim (gpudl_emu_block_dim())
#define gridDim (gpudl_emu_grid_dim())
#define warpSize 32
#ifdef GPUDL_EMU_SANITIZE
#define GPUDL_EMU_INTERNAL __attribute__((no_sanitize("thread", "undefined"), noinline))    // code that stands for hardware
#else
#define GPUDL_EMU_INTERNAL
#endif
#define gpudl_inline inline __attribute__((always_inline))

#undef assert
#define assert(condition) ((condition) ? (void)0 : gpudl_emu_trap("assertion failed: " #condition))
gpudl_inline void __trap() { gpudl_emu_trap("__trap()"); }
gpudl_inline void __brkpt() {}

// ---- Barriers, fences, warps.
gpudl_inline void __syncthreads() { gpudl_emu_barrier(0, -1); }
gpudl_inline int __syncthreads_count(int predicate) { return gpudl_emu_barrier_vote(predicate, 0); }
gpudl_inline int __syncthreads_and(int predicate) { return gpudl_emu_barrier_vote(predicate, 1); }
gpudl_inline int __syncthreads_or(int predicate) { return gpudl_emu_barrier_vote(predicate, 2); }
gpudl_inline void __syncwarp(unsigned mask = 0xffffffffu) { gpudl_emu_syncwarp(mask); }
gpudl_inline void __threadfence_block() { gpudl_emu_fence(0); }
gpudl_inline void __threadfence() { gpudl_emu_fence(1); }
gpudl_inline void __threadfence_system() { gpudl_emu_fence(2); }
gpudl_inline unsigned __activemask() { return gpudl_emu_activemask(); }
gpudl_inline unsigned __ballot_sync(unsigned mask, int predicate) { return gpudl_emu_vote(mask, predicate != 0); }
gpudl_inline int __any_sync(unsigned mask, int predicate) { return gpudl_emu_vote(mask, predicate != 0) != 0; }
gpudl_inline int __all_sync(unsigned mask, int predicate) { return gpudl_emu_vote(mask, predicate == 0) == 0; }
gpudl_inline void __nanosleep(unsigned) { gpudl_emu_yield(); }
gpudl_inline long long clock64() { return (long long)gpudl_emu_clock(); }
#ifdef GPUDL_SYSTEM_FIRST    // the C library's clock() is declared already
#define clock() ((long)gpudl_emu_clock())
#else
gpudl_inline int clock() { return (int)gpudl_emu_clock(); }
#endif

template <class type_> gpudl_inline type_ gpudl_shuffle(unsigned mask, type_ value, int lane, int width, int mode) {
    static_assert(sizeof(type_) <= 8, "__shfl_sync moves values of at most 8 bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = gpudl_emu_shuffle(mask, bits, lane, width, mode);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
template <class type_> gpudl_inline type_ __shfl_sync(unsigned mask, type_ v, int lane, int width = 32) { return gpudl_shuffle(mask, v, lane, width, 0); }
template <class type_> gpudl_inline type_ __shfl_up_sync(unsigned mask, type_ v, unsigned d, int width = 32) { return gpudl_shuffle(mask, v, (int)d, width, 1); }
template <class type_> gpudl_inline type_ __shfl_down_sync(unsigned mask, type_ v, unsigned d, int width = 32) { return gpudl_shuffle(mask, v, (int)d, width, 2); }
template <class type_> gpudl_inline type_ __shfl_xor_sync(unsigned mask, type_ v, int bits, int width = 32) { return gpudl_shuffle(mask, v, bits, width, 3); }
template <class type_> gpudl_inline unsigned __match_any_sync(unsigned mask, type_ value) {
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    return gpudl_emu_match(mask, bits);
}
template <class type_> gpudl_inline unsigned __match_all_sync(unsigned mask, type_ value, int* all) {
    unsigned same = __match_any_sync(mask, value);
    *all = same == mask;
    return *all ? mask : 0;
}
gpudl_inline unsigned __reduce_add_sync(unsigned m, unsigned v) { return gpudl_emu_reduce(m, v, 0); }
gpudl_inline int __reduce_add_sync(unsigned m, int v) { return (int)gpudl_emu_reduce(m, (unsigned)v, 0); }
gpudl_inline unsigned __reduce_min_sync(unsigned m, unsigned v) { return gpudl_emu_reduce(m, v, 1); }
gpudl_inline int __reduce_min_sync(unsigned m, int v) { return (int)gpudl_emu_reduce(m, (unsigned)v, 2); }
gpudl_inline unsigned __reduce_max_sync(unsigned m, unsigned v) { return gpudl_emu_reduce(m, v, 3); }
gpudl_inline int __reduce_max_sync(unsigned m, int v) { return (int)gpudl_emu_reduce(m, (unsigned)v, 4); }
gpudl_inline unsigned __reduce_and_sync(unsigned m, unsigned v) { return gpudl_emu_reduce(m, v, 5); }
gpudl_inline unsigned __reduce_or_sync(unsigned m, unsigned v) { return gpudl_emu_reduce(m, v, 6); }
gpudl_inline unsigned __reduce_xor_sync(unsigned m, unsigned v) { return gpudl_emu_reduce(m, v, 7); }

gpudl_inline unsigned long long __cvta_generic_to_shared(const void* pointer) { return gpudl_emu_shared_address(pointer); }
gpudl_inline void* __cvta_shared_to_generic(unsigned long long address) { return gpudl_emu_shared_pointer((unsigned)address); }
gpudl_inline unsigned __isShared(const void* pointer) { return gpudl_emu_space(pointer) == 2; }
gpudl_inline unsigned __isGlobal(const void* pointer) { return gpudl_emu_space(pointer) == 3; }
gpudl_inline unsigned __isLocal(const void* pointer) { return gpudl_emu_space(pointer) == 1; }
gpudl_inline unsigned __isConstant(const void* pointer) { return gpudl_emu_space(pointer) == 4; }

// ---- Bits.
template <class to_, class from_> gpudl_inline to_ gpudl_bits(from_ value) {
    static_assert(sizeof(to_) == sizeof(from_), "a bit cast keeps the size");
    to_ result;
    __builtin_memcpy(&result, &value, sizeof value);
    return result;
}
gpudl_inline int __float_as_int(float v) { return gpudl_bits<int>(v); }
gpudl_inline unsigned __float_as_uint(float v) { return gpudl_bits<unsigned>(v); }
gpudl_inline float __int_as_float(int v) { return gpudl_bits<float>(v); }
gpudl_inline float __uint_as_float(unsigned v) { return gpudl_bits<float>(v); }
gpudl_inline long long __double_as_longlong(double v) { return gpudl_bits<long long>(v); }
gpudl_inline double __longlong_as_double(long long v) { return gpudl_bits<double>(v); }
gpudl_inline int __double2hiint(double v) { return (int)(gpudl_bits<long long>(v) >> 32); }
gpudl_inline int __double2loint(double v) { return (int)gpudl_bits<long long>(v); }
gpudl_inline double __hiloint2double(int high, int low) { return gpudl_bits<double>(((long long)high << 32) | (unsigned)low); }
gpudl_inline int __popc(unsigned v) { return __builtin_popcount(v); }
gpudl_inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
gpudl_inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
gpudl_inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
gpudl_inline int __ffs(int v) { return __builtin_ffs(v); }
gpudl_inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline unsigned long long __brevll(unsigned long long v) {
    unsigned long long reversed = 0;
    for (int bit = 0; bit < 64; bit++) reversed |= ((v >> bit) & 1) << (63 - bit);
    return reversed;
}
gpudl_inline unsigned __brev(unsigned v) { return (unsigned)(__brevll(v) >> 32); }
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    unsigned long long both = ((unsigned long long)high << 32) | low;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned choice = (selector >> (4 * i)) & 15, byte = (unsigned)(both >> (8 * (choice & 7))) & 255;
        if (choice & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}
gpudl_inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) { return (unsigned)(((((unsigned long long)high << 32) | low) << (n & 31)) >> 32); }
gpudl_inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) { return (unsigned)((((unsigned long long)high << 32) | low) >> (n & 31)); }
gpudl_inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
gpudl_inline int __mulhi(int a, int b) { return (int)(((long long)a * b) >> 32); }
gpudl_inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)(((unsigned __int128)a * b) >> 64); }
gpudl_inline long long __mul64hi(long long a, long long b) { return (long long)(((__int128)a * b) >> 64); }
gpudl_inline int __mul24(int a, int b) { return (int)((unsigned)((a << 8) >> 8) * (unsigned)((b << 8) >> 8)); }
gpudl_inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffffu) * (b & 0xffffffu); }

// ---- Arithmetic.
#define GPUDL_MINMAX(type)                                                                                              \
    gpudl_inline constexpr type min(type a, type b) { return b < a ? b : a; }                                           \
    gpudl_inline constexpr type max(type a, type b) { return a < b ? b : a; }
GPUDL_MINMAX(int) GPUDL_MINMAX(unsigned) GPUDL_MINMAX(long) GPUDL_MINMAX(unsigned long)
GPUDL_MINMAX(long long) GPUDL_MINMAX(unsigned long long)
#undef GPUDL_MINMAX
gpudl_inline unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
gpudl_inline unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
gpudl_inline unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
gpudl_inline unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
gpudl_inline long min(long a, int b) { return min(a, (long)b); }
gpudl_inline long min(int a, long b) { return min((long)a, b); }
gpudl_inline long max(long a, int b) { return max(a, (long)b); }
gpudl_inline long max(int a, long b) { return max((long)a, b); }
gpudl_inline long long min(long long a, int b) { return min(a, (long long)b); }
gpudl_inline long long min(int a, long long b) { return min((long long)a, b); }
gpudl_inline long long max(long long a, int b) { return max(a, (long long)b); }
gpudl_inline long long max(int a, long long b) { return max((long long)a, b); }
gpudl_inline float min(float a, float b) { return fminf(a, b); }
gpudl_inline float max(float a, float b) { return fmaxf(a, b); }
gpudl_inline double min(double a, double b) { return fmin(a, b); }
gpudl_inline double max(double a, double b) { return fmax(a, b); }
gpudl_inline double min(float a, double b) { return fmin(a, b); }
gpudl_inline double min(double a, float b) { return fmin(a, b); }
gpudl_inline double max(float a, double b) { return fmax(a, b); }
gpudl_inline double max(double a, float b) { return fmax(a, b); }

#include "gpudl_math.h"

// ---- Cache hints change nothing that can be seen here.
#define GPUDL_LOAD(name) template <class type_> gpudl_inline type_ name(const type_* address) { return *address; }
GPUDL_LOAD(__ldg) GPUDL_LOAD(__ldca) GPUDL_LOAD(__ldcg) GPUDL_LOAD(__ldcs) GPUDL_LOAD(__ldlu) GPUDL_LOAD(__ldcv)
#undef GPUDL_LOAD
#define GPUDL_STORE(name) template <class type_> gpudl_inline void name(type_* address, type_ value) { *address = value; }
GPUDL_STORE(__stwb) GPUDL_STORE(__stcg) GPUDL_STORE(__stcs) GPUDL_STORE(__stwt)
#undef GPUDL_STORE

// ---- Textures and surfaces are refused where they are used.
typedef unsigned long long cudaTextureObject_t, cudaSurfaceObject_t;
template <class type_> constexpr bool gpudl_never = false;
#define GPUDL_NO_TEXTURE(name)                                                                                                                           \
    template <class type_, class... rest_> gpudl_inline type_ name(cudaTextureObject_t, rest_...) { static_assert(gpudl_never<type_>, "the emulator has no texture units: read the array itself"); return type_(); } \
    template <class type_, class... rest_> gpudl_inline void name(type_*, cudaTextureObject_t, rest_...) { static_assert(gpudl_never<type_>, "the emulator has no texture units: read the array itself"); }
GPUDL_NO_TEXTURE(tex1Dfetch) GPUDL_NO_TEXTURE(tex1D) GPUDL_NO_TEXTURE(tex2D) GPUDL_NO_TEXTURE(tex3D) GPUDL_NO_TEXTURE(tex1DLod) GPUDL_NO_TEXTURE(tex2DLod)
GPUDL_NO_TEXTURE(tex1DLayered) GPUDL_NO_TEXTURE(tex2DLayered) GPUDL_NO_TEXTURE(surf1Dread) GPUDL_NO_TEXTURE(surf2Dread) GPUDL_NO_TEXTURE(surf3Dread)
#undef GPUDL_NO_TEXTURE

// ---- Atomics. Fast mode uses the processor's; under the sanitizer the runtime sees address, size and operation.
enum { gpudl_load, gpudl_exchange, gpudl_compare, gpudl_add, gpudl_subtract, gpudl_min, gpudl_max, gpudl_and, gpudl_or, gpudl_xor, gpudl_increment, gpudl_decrement,
       gpudl_signed = 16, gpudl_float = 32 };
template <class type_> struct gpudl_word { typedef unsigned long long bits; };
template <> struct gpudl_word<float> { typedef unsigned bits; };
template <> struct gpudl_word<int> { typedef unsigned bits; };
template <> struct gpudl_word<unsigned> { typedef unsigned bits; };
template <> struct gpudl_word<unsigned short> { typedef unsigned short bits; };
template <class type_> struct gpudl_same { typedef type_ type; };
template <class type_> constexpr int gpudl_kind() { return type_(0.5f) != type_(0) ? gpudl_float : type_(-1) < type_(0) ? gpudl_signed : 0; }
template <int operation_, class type_> gpudl_inline type_ gpudl_atomic(type_* address, type_ value, type_ compare = type_()) {
    typedef typename gpudl_word<type_>::bits bits;
#ifdef GPUDL_EMU_SANITIZE
    bits a, b;
    __builtin_memcpy(&a, &value, sizeof a);
    __builtin_memcpy(&b, &compare, sizeof b);
    a = (bits)gpudl_emu_atomic(address, sizeof a, operation_ | gpudl_kind<type_>(), a, b);
    __builtin_memcpy(&value, &a, sizeof a);
    return value;
#else
    bits* word = (bits*)address;
    if constexpr (gpudl_kind<type_>() != gpudl_float && operation_ == gpudl_add) return (type_)__atomic_fetch_add(word, (bits)value, __ATOMIC_SEQ_CST);
    if constexpr (gpudl_kind<type_>() != gpudl_float && operation_ == gpudl_subtract) return (type_)__atomic_fetch_sub(word, (bits)value, __ATOMIC_SEQ_CST);
    bits seen = __atomic_load_n(word, __ATOMIC_SEQ_CST), wanted;
    for (;;) {
        type_ old, now;
        __builtin_memcpy(&old, &seen, sizeof seen);
        if (operation_ == gpudl_exchange) now = value;
        else if (operation_ == gpudl_compare) {
            if (gpudl_bits<bits>(old) != gpudl_bits<bits>(compare)) { gpudl_emu_yield(); return old; }      // perhaps a spin lock
            now = value;
        } else if (operation_ == gpudl_add) now = old + value;
        else if (operation_ == gpudl_subtract) now = old - value;
        else if (operation_ == gpudl_min) now = value < old ? value : old;
        else if (operation_ == gpudl_max) now = old < value ? value : old;
        else if (operation_ == gpudl_increment) now = old >= value ? type_(0) : old + type_(1);
        else if (operation_ == gpudl_decrement) now = old == type_(0) || old > value ? value : old - type_(1);
        else {
            unsigned long long x = (unsigned long long)old, y = (unsigned long long)value;
            now = (type_)(operation_ == gpudl_and ? x & y : operation_ == gpudl_or ? x | y : x ^ y);
        }
        __builtin_memcpy(&wanted, &now, sizeof now);
        if (__atomic_compare_exchange_n(word, &seen, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            if (operation_ != gpudl_add && wanted == seen) gpudl_emu_yield();       // nothing changed: perhaps a thread that polls
            return old;
        }
    }
#endif
}
#define GPUDL_ATOMIC(name, operation, type)                                                                                     \
    gpudl_inline type name(type* address, type value) { return gpudl_atomic<operation, type>(address, value); }                \
    gpudl_inline type name##_block(type* address, type value) { return gpudl_atomic<operation, type>(address, value); }        \
    gpudl_inline type name##_system(type* address, type value) { return gpudl_atomic<operation, type>(address, value); }
#define GPUDL_ATOMIC_INTEGERS(name, operation)                                                                          \
    GPUDL_ATOMIC(name, operation, int) GPUDL_ATOMIC(name, operation, unsigned) GPUDL_ATOMIC(name, operation, long)      \
    GPUDL_ATOMIC(name, operation, unsigned long) GPUDL_ATOMIC(name, operation, long long) GPUDL_ATOMIC(name, operation, unsigned long long)
GPUDL_ATOMIC_INTEGERS(atomicAdd, gpudl_add)
GPUDL_ATOMIC(atomicAdd, gpudl_add, float)
GPUDL_ATOMIC(atomicAdd, gpudl_add, double)
GPUDL_ATOMIC_INTEGERS(atomicSub, gpudl_subtract)
GPUDL_ATOMIC_INTEGERS(atomicExch, gpudl_exchange)
GPUDL_ATOMIC(atomicExch, gpudl_exchange, float)
GPUDL_ATOMIC_INTEGERS(atomicMin, gpudl_min)
GPUDL_ATOMIC_INTEGERS(atomicMax, gpudl_max)
GPUDL_ATOMIC_INTEGERS(atomicAnd, gpudl_and)
GPUDL_ATOMIC_INTEGERS(atomicOr, gpudl_or)
GPUDL_ATOMIC_INTEGERS(atomicXor, gpudl_xor)
GPUDL_ATOMIC(atomicInc, gpudl_increment, unsigned)
GPUDL_ATOMIC(atomicDec, gpudl_decrement, unsigned)
#undef GPUDL_ATOMIC_INTEGERS
#undef GPUDL_ATOMIC
#define GPUDL_ATOMIC_CAS(type)                                                                                                                     \
    gpudl_inline type atomicCAS(type* address, type compare, type value) { return gpudl_atomic<gpudl_compare, type>(address, value, compare); }    \
    gpudl_inline type atomicCAS_block(type* address, type compare, type value) { return gpudl_atomic<gpudl_compare, type>(address, value, compare); }
GPUDL_ATOMIC_CAS(int) GPUDL_ATOMIC_CAS(unsigned) GPUDL_ATOMIC_CAS(long) GPUDL_ATOMIC_CAS(unsigned long)
GPUDL_ATOMIC_CAS(long long) GPUDL_ATOMIC_CAS(unsigned long long) GPUDL_ATOMIC_CAS(unsigned short)
#undef GPUDL_ATOMIC_CAS

// ---- What the builder appends for each kernel: a table from which Python checks and passes arguments.
struct gpudl_parameter {
    char kind;                  // p pointer, P pointer to const, i integer, u unsigned, f floating, b bool, s struct
    char pointee;               // the same letters for what a pointer points to; v void
    unsigned short pointee_bytes;
    unsigned bytes, alignment;
};
template <class type_> struct gpudl_letter { static constexpr char value = __is_enum(type_) ? 'i' : 's'; static constexpr unsigned bytes = sizeof(type_); };
template <> struct gpudl_letter<void> { static constexpr char value = 'v'; static constexpr unsigned bytes = 0; };
#define GPUDL_LETTER(type, letter) template <> struct gpudl_letter<type> { static constexpr char value = letter; static constexpr unsigned bytes = sizeof(type); };
GPUDL_LETTER(bool, 'b') GPUDL_LETTER(char, 'i') GPUDL_LETTER(signed char, 'i') GPUDL_LETTER(unsigned char, 'u') GPUDL_LETTER(short, 'i')
GPUDL_LETTER(unsigned short, 'u') GPUDL_LETTER(int, 'i') GPUDL_LETTER(unsigned, 'u') GPUDL_LETTER(long, 'i') GPUDL_LETTER(unsigned long, 'u')
GPUDL_LETTER(long long, 'i') GPUDL_LETTER(unsigned long long, 'u') GPUDL_LETTER(float, 'f') GPUDL_LETTER(double, 'f')
#undef GPUDL_LETTER
template <class type_> struct gpudl_describe {
    static constexpr gpudl_parameter value = {gpudl_letter<type_>::value, 0, 0, sizeof(type_), alignof(type_)};
};
template <class type_> struct gpudl_describe<type_*> {
    static constexpr gpudl_parameter value = {'p', gpudl_letter<type_>::value, (unsigned short)gpudl_letter<type_>::bytes, 8, 8};
};
template <class type_> struct gpudl_describe<const type_*> {
    static constexpr gpudl_parameter value = {'P', gpudl_letter<type_>::value, (unsigned short)gpudl_letter<type_>::bytes, 8, 8};
};
template <class type_> struct gpudl_describe<volatile type_*> : gpudl_describe<type_*> {};
template <auto kernel_> struct gpudl_export;
template <class... types_, void (*kernel_)(types_...)> struct gpudl_export<kernel_> {
    static constexpr int count = sizeof...(types_);
    static constexpr gpudl_parameter parameters[sizeof...(types_) + 1] = {gpudl_describe<types_>::value..., {}};
    template <int... positions_> struct sequence {};
    template <int left_, int... positions_> struct counted : counted<left_ - 1, left_ - 1, positions_...> {};
    template <int... positions_> struct counted<0, positions_...> { typedef sequence<positions_...> type; };
    template <int... positions_> static gpudl_inline void apply(void** arguments, sequence<positions_...>) {
        kernel_(*(types_*)arguments[positions_]...);
        (void)arguments;
    }
    GPUDL_EMU_INTERNAL static void call(void** arguments) { apply(arguments, typename counted<sizeof...(types_)>::type()); }
};
struct gpudl_kernel_record {
    void (*call)(void**);
    const gpudl_parameter* parameters;
    int count;
};
// The place of this module's thread-local block, from which the runtime derives where each shared array lies.
static thread_local __constinit char gpudl_anchor;
extern "C" __attribute__((visibility("default"), used)) inline void* gpudl_module_anchor() { return &gpudl_anchor; }
int gpudl_user_source_begins;
