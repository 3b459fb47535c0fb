// 01_naive: one thread writes the state.
//
// Computes   state[0] = seed, state[1] = draws
// Launch     grid 1, block 1
// FLOPs      0
// Traffic    16 B
// Numerics   exact
#include "common.cuh"

extern "C" __global__ void set(uint64_t* __restrict__ state, uint64_t seed, uint64_t draws) {
    state[0] = seed;
    state[1] = draws;
}
