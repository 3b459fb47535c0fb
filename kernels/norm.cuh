// norm.cuh: mean and variance of values that many threads see, for batch, layer and group norm.
//
// With k values seen, their mean and the sum m2 of their squared differences from it, one more value v is taken in by (Welford 1962)
//     d = v - mean;   mean += d / k;   m2 += d * (v - mean)
// and two such triples merge exactly (Chan, Golub & LeVeque 1979), so threads, warps and blocks can work apart. Nothing cancels: the squares
// are of differences.
#pragma once
#include "common.cuh"

struct Moments {
    acc_t k, mean, m2;
};

__device__ __forceinline__ void take(Moments& a, acc_t v) {
    const acc_t d = v - a.mean;
    a.k += 1;
    a.mean += d / a.k;
    a.m2 += d * (v - a.mean);
}

__device__ __forceinline__ Moments merge(Moments a, Moments b) {
    if (b.k == 0) return a;  // no values; also keeps 0/0 out
    const acc_t total = a.k + b.k, d = b.mean - a.mean, share = b.k / total;
    return {total, a.mean + d * share, a.m2 + b.m2 + d * d * a.k * share};
}

// W values that a thread has at hand: their own moments first, so that there is one division for all of them.
template <int W> __device__ __forceinline__ void take(Moments& a, const acc_t (&v)[W]) {
    acc_t sum = 0, squares = 0;
#pragma unroll
    for (int w = 0; w < W; ++w) sum += v[w];
    const acc_t mean = sum * (acc_t(1) / W);
#pragma unroll
    for (int w = 0; w < W; ++w) squares += (v[w] - mean) * (v[w] - mean);
    a = merge(a, {acc_t(W), mean, squares});
}

// Of a warp's lanes, in every lane. The order is fixed: repeatable bit for bit.
__device__ __forceinline__ Moments warp_moments(Moments a) {
    for (int offset = 16; offset > 0; offset >>= 1) {
        const acc_t k = __shfl_down_sync(FULL, a.k, offset), mean = __shfl_down_sync(FULL, a.mean, offset);
        a = merge(a, {k, mean, __shfl_down_sync(FULL, a.m2, offset)});
    }
    return {__shfl_sync(FULL, a.k, 0), __shfl_sync(FULL, a.mean, 0), __shfl_sync(FULL, a.m2, 0)};
}

// Of a block's threads, in every thread: every warp merges the same triples in the same order. One barrier; smem must not be in use.
__device__ __forceinline__ Moments block_moments(Moments a, acc_t (*smem)[32]) {
    const int tid = threadIdx.x + blockDim.x * threadIdx.y, lane = tid & 31, warp = tid >> 5;
    const int warps = (blockDim.x * blockDim.y + 31) / 32;
    a = warp_moments(a);
    if (lane == 0) {
        smem[0][warp] = a.k;
        smem[1][warp] = a.mean;
        smem[2][warp] = a.m2;
    }
    __syncthreads();
    a = {0, 0, 0};
    if (lane < warps) a = {smem[0][lane], smem[1][lane], smem[2][lane]};
    return warp_moments(a);
}
