// 01_naive: one thread an element, with a Philox evaluation of its own.
//
// Computes   u = word i % 4 of philox(i / 4, state[1], state[0]) in [0, 1), mask[i] = u >= p, y[i] = mask[i] ? x[i] * scale : 0
// Launch     grid ceil(size/BLOCK), block BLOCK; then advance, one thread
// FLOPs      1 an element, and 10 rounds of two 32-bit multiplications
// Traffic    size * ((2 - p)*sizeof(T) + 1 + 16) + 16 B: what is dropped is not read; every thread asks for the generator's 16 bytes, which L1 has
// Numerics   the product in fp32 (fp64 for double), rounded once; the mask is the same on every device
// Source     Srivastava et al. 2014, JMLR 15 (dropout); Salmon et al. 2011, doi:10.1145/2063384.2063405 (Philox)
#include "random/philox.cuh"

extern "C" __global__ void dropout_fwd(
    const T* __restrict__ x, T* __restrict__ y, bool* __restrict__ mask, const uint64_t* __restrict__ state, int64_t size, float p, acc_t scale) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    const bool kept = unit_float(philox(uint64_t(i) / 4, state[1], state[0]).w[i % 4]) >= p;
    mask[i] = kept;
    y[i] = kept ? T(acc_t(x[i]) * scale) : T(0);
}

extern "C" __global__ void advance(uint64_t* __restrict__ state) { state[1] += 1; }
