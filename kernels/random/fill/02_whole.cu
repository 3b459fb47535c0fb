// 02_whole: one thread a Philox evaluation, of which it keeps every number.
//
// Computes   x[i] = F(philox(i / PER, state[1], state[0]), i % PER); state is (seed, draws so far) in device memory and advances by one draw
// Launch     grid min(ceil(size/(PER*BLOCK)), 16 blocks an SM), block BLOCK; then advance, one thread
// FLOPs      10 rounds of two 32-bit multiplications for PER elements, and F
// Traffic    size * sizeof(T) + 16*threads + 16 B: every thread asks once for the generator's 16 bytes, which L1 has
// Since 01   PER times fewer evaluations (and of normals, whose two share a logarithm, half the logarithms); a grid-stride loop
// Numerics   integer arithmetic; uniforms exact
// Source     Salmon et al. 2011, doi:10.1145/2063384.2063405
#include "random/functions.cuh"

extern "C" __global__ void draw(
    T* __restrict__ x, const uint64_t* __restrict__ state, int64_t size, double a, double b, int64_t low, uint64_t range) {
    const uint64_t seed = state[0], stream = state[1];
    const int64_t step = gridDim.x * int64_t(BLOCK);
    for (int64_t g = blockIdx.x * int64_t(BLOCK) + threadIdx.x; g * PER < size; g += step) {
        const Words words = philox(uint64_t(g), stream, seed);
        #pragma unroll
        for (int k = 0; k < PER; ++k)
            if (g * PER + k < size) x[g * PER + k] = F<T>(words, k, a, b, low, range);
    }
}

// A kernel of its own, after every thread has read the state: a captured graph draws new numbers each time it is replayed.
extern "C" __global__ void advance(uint64_t* __restrict__ state) { state[1] += 1; }
