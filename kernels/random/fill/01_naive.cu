// 01_naive: one thread an element, which keeps one of the numbers that its Philox evaluation gives.
//
// Computes   x[i] = F(philox(i / PER, state[1], state[0]), i % PER); state is (seed, draws so far) in device memory and advances by one draw
// Launch     grid ceil(size/BLOCK), block BLOCK; then advance, one thread
// FLOPs      10 rounds of two 32-bit multiplications an element, and F
// Traffic    size * (sizeof(T) + 16) + 16 B: every thread asks for the generator's 16 bytes, which L1 has
// Numerics   integer arithmetic; uniforms exact
// Source     Salmon et al. 2011, doi:10.1145/2063384.2063405
#include "random/functions.cuh"

extern "C" __global__ void draw(
    T* __restrict__ x, const uint64_t* __restrict__ state, int64_t size, double a, double b, int64_t low, uint64_t range) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    const Words words = philox(uint64_t(i) / PER, state[1], state[0]);
    x[i] = F<T>(words, int(i % PER), a, b, low, range);
}

// A kernel of its own, after every thread has read the state: a captured graph draws new numbers each time it is replayed.
extern "C" __global__ void advance(uint64_t* __restrict__ state) { state[1] += 1; }
