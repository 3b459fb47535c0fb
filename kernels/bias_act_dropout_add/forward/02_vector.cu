// 02_vector: one thread GROUP neighbours: 16 bytes an access, a Philox evaluation for four, one division for all.
//
// Computes   y[i] = residual[i] + drop(ACT(x[i] + bias[k])), drop(v) = u >= p ? v * scale : 0, u = word i % 4 of philox(i / 4, state[1], state[0]),
//            mask[i] = u >= p; x, y, residual and mask (O, K, I) contiguous, bias (K); each part as the macros of ../chain.cuh say
// Launch     grid min(ceil(size/(GROUP*BLOCK)), 16 blocks an SM), block BLOCK; then with DROP advance, one thread; GROUP = 4, or 8 halves
// FLOPs      4 an element and ACT's, and 10 rounds of two 32-bit multiplications for four
// Traffic    size * (2*sizeof(T) + ADD*sizeof(T) + BIAS*sizeof(T) + DROP) + DROP*(16*threads + 16) B: x, y, residual, bias (from cache), mask and the
//            generator's 16 bytes (from cache)
// Since 01   GROUP neighbours move as one access and share a Philox evaluation and the division that finds their channel; a grid-stride loop
// Numerics   as 01
// Source     as 01
#include "bias_act_dropout_add/chain.cuh"

constexpr int GROUP = sizeof(T) == 2 ? 8 : 4, N = 16 / sizeof(T) < GROUP ? 16 / sizeof(T) : GROUP;  // doubles take two accesses

extern "C" __global__ void chain(const T* __restrict__ x, const T* __restrict__ bias, const T* __restrict__ residual, T* __restrict__ y,
                                 bool* __restrict__ mask, const uint64_t* __restrict__ state, int64_t size, int64_t K, int64_t I, float p, acc_t scale) {
    uint64_t seed = 0, stream = 0;
    if (DROP) seed = state[0], stream = state[1];
    const int64_t step = gridDim.x * int64_t(BLOCK);
    for (int64_t g = blockIdx.x * int64_t(BLOCK) + threadIdx.x; g * GROUP < size; g += step) {
        const int64_t first = g * GROUP;
        bool kept[GROUP];
        #pragma unroll
        for (int k = 0; k < GROUP; k += 4) {
            if (DROP) {
                const Words words = philox(uint64_t(first + k) / 4, stream, seed);
                for (int w = 0; w < 4; ++w) kept[k + w] = unit_float(words.w[w]) >= p;
            } else {
                for (int w = 0; w < 4; ++w) kept[k + w] = true;
            }
        }
        Channel channel(first, K, I);
        if (first + GROUP <= size) {
            #pragma unroll
            for (int part = 0; part < GROUP; part += N) {
                const Vec<T, N> in = *reinterpret_cast<const Vec<T, N>*>(x + first + part);
                Vec<T, N> other, b, out;
                if (BIAS) b = biases<N>(bias, channel);
                if (ADD) other = *reinterpret_cast<const Vec<T, N>*>(residual + first + part);
                #pragma unroll
                for (int k = 0; k < N; ++k)
                    out.v[k] = chain_fwd(in.v[k], BIAS ? acc_t(b.v[k]) : acc_t(0), kept[part + k], scale, ADD ? acc_t(other.v[k]) : acc_t(0));
                *reinterpret_cast<Vec<T, N>*>(y + first + part) = out;
            }
            if (DROP) {
                Vec<bool, GROUP> all;
                #pragma unroll
                for (int k = 0; k < GROUP; ++k) all.v[k] = kept[k];
                *reinterpret_cast<Vec<bool, GROUP>*>(mask + first) = all;
            }
        } else {
            #pragma unroll
            for (int k = 0; k < GROUP; ++k)
                if (first + k < size) {
                    const acc_t b = BIAS ? acc_t(bias[channel.k]) : acc_t(0);
                    y[first + k] = chain_fwd(x[first + k], b, kept[k], scale, ADD ? acc_t(residual[first + k]) : acc_t(0));
                    if (DROP) mask[first + k] = kept[k];
                    if (BIAS) channel.next();
                }
        }
    }
}

extern "C" __global__ void advance(uint64_t* __restrict__ state) { state[1] += 1; }
