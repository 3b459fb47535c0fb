// 02_atomics: one thread an element, which adds it to its result in memory by an atomic operation.
//
// Computes   y[a, b] = finish(merge over p, q of load(x[a, b, p, q])); x of any strides (sa, sb, sp, sq), y (A, B); OP says what is done
// Launch     start and finish: grid ceil(A*B/BLOCK), block BLOCK; add: grid ceil(A*B*P*Q/BLOCK), block BLOCK
// FLOPs      A*B*P*Q
// Traffic    (sizeof(T) + sizeof(acc_t))*A*B*P*Q + (sizeof(S) + 2*sizeof(acc_t))*A*B B requested for additions: x, and an atomic an element;
//            a compare-and-swap asks twice and more; floor sizeof(T)*A*B*P*Q + sizeof(S)*A*B B
// Since 01   as many threads as elements; but those of a result stand in line for one word of memory
// Numerics   fp32 (fp64 for double, int64 for integers), in the order of arrival: the last bits of a sum differ from run to run
// Source     CUDA C++ Programming Guide, "Atomic Functions" (any operation by compare-and-swap)
#include "reduce/reduce.cuh"

template <int BYTES> struct Word { typedef unsigned type; };
template <> struct Word<8> { typedef unsigned long long type; };

__device__ __forceinline__ void atomic_add(float* p, float v) { atomicAdd(p, v); }
__device__ __forceinline__ void atomic_add(double* p, double v) { atomicAdd(p, v); }
__device__ __forceinline__ void atomic_add(int64_t* p, int64_t v) {  // two's complement adds as unsigned words do
    atomicAdd(reinterpret_cast<unsigned long long*>(p), (unsigned long long)v);
}

// *p = OP::merge(*p, v), whoever else does so at the same time. There are instructions for additions; anything else computes from what was
// there, writes if it is there still, and tries again if not.
__device__ __forceinline__ void atomic_merge(acc_t* p, acc_t v) {
    typedef Word<sizeof(acc_t)>::type word;
    if constexpr (OP::adds) {
        atomic_add(p, v);
    } else {
        union Bits {
            acc_t value;
            word bits;
        } seen, next;
        word* at = reinterpret_cast<word*>(p);
        word old = *at;  // it may be out of date: that costs a turn
        do {
            seen.bits = old;
            next.value = OP::merge(seen.value, v);
            old = atomicCAS(at, seen.bits, next.bits);
        } while (old != seen.bits);
    }
}

extern "C" __global__ void reduce_start(acc_t* total, int64_t results) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o < results) total[o] = OP::start();
}

extern "C" __global__ void reduce_add(const T* __restrict__ x, acc_t* total, int64_t A, int64_t B, int64_t P, int64_t Q, int64_t sa,
                                      int64_t sb, int64_t sp, int64_t sq) {
    const int64_t e = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (e >= A * B * P * Q) return;
    const int64_t o = e / (P * Q), r = e % (P * Q);
    atomic_merge(total + o, OP::load(x[o / B * sa + o % B * sb + r / Q * sp + r % Q * sq]));
}

extern "C" __global__ void reduce_finish(const acc_t* total, S* __restrict__ y, int64_t results, int64_t R) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o < results) y[o] = static_cast<S>(OP::finish(total[o], R));
}
