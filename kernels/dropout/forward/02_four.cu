// 02_four: one thread four neighbours, for which one Philox evaluation is enough; they move as one access.
//
// Computes   u = word i % 4 of philox(i / 4, state[1], state[0]) in [0, 1), mask[i] = u >= p, y[i] = mask[i] ? x[i] * scale : 0
// Launch     grid min(ceil(size/(4*BLOCK)), 16 blocks an SM), block BLOCK; then advance, one thread
// FLOPs      1 an element, and 10 rounds of two 32-bit multiplications for four
// Traffic    size * (2*sizeof(T) + 1) + 16*threads + 16 B: every thread asks once for the generator's 16 bytes, which L1 has
// Since 01   a quarter of the random bits are computed, none thrown away; 16 bytes a load and a store of float; a grid-stride loop
// Numerics   as 01
// Source     as 01
#include "random/philox.cuh"

extern "C" __global__ void dropout_fwd(
    const T* __restrict__ x, T* __restrict__ y, bool* __restrict__ mask, const uint64_t* __restrict__ state, int64_t size, float p, acc_t scale) {
    constexpr int N = sizeof(T) == 8 ? 2 : 4;  // no access is wider than 16 bytes: doubles take two
    const uint64_t seed = state[0], stream = state[1];
    const int64_t step = gridDim.x * int64_t(BLOCK);
    const bool whole = is_aligned<T, N>(x) && is_aligned<T, N>(y) && is_aligned<bool, N>(mask);
    for (int64_t g = blockIdx.x * int64_t(BLOCK) + threadIdx.x; g * 4 < size; g += step) {
        const Words words = philox(uint64_t(g), stream, seed);
        #pragma unroll
        for (int part = 0; part < 4; part += N) {
            const int64_t i = g * 4 + part;
            if (whole && i + N <= size) {
                const Vec<T, N> in = *reinterpret_cast<const Vec<T, N>*>(x + i);
                Vec<T, N> out;
                Vec<bool, N> kept;
                #pragma unroll
                for (int k = 0; k < N; ++k) {
                    kept.v[k] = unit_float(words.w[part + k]) >= p;
                    out.v[k] = kept.v[k] ? T(acc_t(in.v[k]) * scale) : T(0);
                }
                *reinterpret_cast<Vec<T, N>*>(y + i) = out;
                *reinterpret_cast<Vec<bool, N>*>(mask + i) = kept;
            } else {
                #pragma unroll
                for (int k = 0; k < N; ++k)
                    if (i + k < size) {
                        mask[i + k] = unit_float(words.w[part + k]) >= p;
                        y[i + k] = mask[i + k] ? T(acc_t(x[i + k]) * scale) : T(0);
                    }
            }
        }
    }
}

extern "C" __global__ void advance(uint64_t* __restrict__ state) { state[1] += 1; }
