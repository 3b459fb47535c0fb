// 01_naive: one thread an element, which goes the whole way in a register.
//
// Computes   y[i] = residual[i] + drop(ACT(x[i] + bias[k])), drop(v) = u >= p ? v * scale : 0, u = word i % 4 of philox(i / 4, state[1], state[0]),
//            mask[i] = u >= p; x, y, residual and mask (O, K, I) contiguous, bias (K); each part as the macros of ../chain.cuh say
// Launch     grid ceil(size/BLOCK), block BLOCK; then with DROP advance, one thread
// FLOPs      4 an element and ACT's, and 10 rounds of two 32-bit multiplications
// Traffic    size * (2*sizeof(T) + ADD*sizeof(T) + BIAS*sizeof(T) + 17*DROP) + 16*DROP B: x, y, residual, bias (from cache), mask and the generator's
//            16 bytes (from cache)
// Intensity  far below the ridge: memory decides, and the ops one by one ask for 9 elements of memory where this asks for 3
// Numerics   in fp32 (fp64 for double), rounded to T after each part: the same bits as the ops one by one
// Source     the ops' own; the fusion of Megatron-LM's "bias dropout add" (Shoeybi et al. 2019, arXiv:1909.08053)
#include "bias_act_dropout_add/chain.cuh"

extern "C" __global__ void chain(const T* __restrict__ x, const T* __restrict__ bias, const T* __restrict__ residual, T* __restrict__ y,
                                 bool* __restrict__ mask, const uint64_t* __restrict__ state, int64_t size, int64_t K, int64_t I, float p, acc_t scale) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    bool kept = true;
    if (DROP) mask[i] = kept = unit_float(philox(uint64_t(i) / 4, state[1], state[0]).w[i % 4]) >= p;
    y[i] = chain_fwd(x[i], BIAS ? acc_t(bias[Channel(i, K, I).k]) : acc_t(0), kept, scale, ADD ? acc_t(residual[i]) : acc_t(0));
}

extern "C" __global__ void advance(uint64_t* __restrict__ state) { state[1] += 1; }
