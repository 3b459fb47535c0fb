// philox.cuh: Philox 4x32-10, random numbers from a counter: four 32-bit words for any (counter, stream, key), with no state in between.
//
// Element i of a draw comes from counter i / PER alone, so any thread, block or device computes the same number for it.
// Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", doi:10.1145/2063384.2063405, section 4.3
#pragma once
#include "common.cuh"

struct Words { uint32_t w[4]; };

__device__ __forceinline__ Words philox(uint64_t counter, uint64_t stream, uint64_t key) {
    uint32_t c0 = uint32_t(counter), c1 = uint32_t(counter >> 32), c2 = uint32_t(stream), c3 = uint32_t(stream >> 32);
    uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t(c0) * 0xD2511F53u, b = uint64_t(c2) * 0xCD9E8D57u;
        c0 = uint32_t(b >> 32) ^ c1 ^ k0;
        c1 = uint32_t(b);
        c2 = uint32_t(a >> 32) ^ c3 ^ k1;
        c3 = uint32_t(a);
        k0 += 0x9E3779B9u;  // the golden ratio
        k1 += 0xBB67AE85u;  // sqrt(3) - 1
    }
    Words out;
    out.w[0] = c0;
    out.w[1] = c1;
    out.w[2] = c2;
    out.w[3] = c3;
    return out;
}

// Uniform in [0, 1): as many bits as the type holds without rounding, so 1 never comes out.
__device__ __forceinline__ float unit_float(uint32_t w) { return float(w >> 8) * 5.9604644775390625e-8f; }                     // 24 bits
__device__ __forceinline__ double unit_double(uint32_t hi, uint32_t lo) {                                                      // 53 bits
    return (double(hi >> 5) * 67108864.0 + double(lo >> 6)) * 1.1102230246251565404e-16;
}
