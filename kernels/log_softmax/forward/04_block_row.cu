// 04_block_row: one block a row, for rows that are long and few.
//
// Computes   y[m, j] = x[m, j] - hi[m] - log(sum_j exp(x[m, j] - hi[m])), hi[m] = max_j x[m, j]; x, y (M, N);
//            any M, N >= 1
// Launch     grid M, block BLOCK, static smem 2*BLOCK/32*sizeof(acc_t) B
// FLOPs      8*M*N (as 03)
// Traffic    3*sizeof(T)*M*N B requested (two reads, one write); floor 2*sizeof(T)*M*N B: the second read comes from cache where the row fits
// Intensity  8/(3*sizeof(T)) FLOP/B requested
// Since 03   BLOCK threads a row in place of 32; the warps exchange their (maximum, sum) through shared memory
// Numerics   fp32 (fp64 for double); each rescaling adds a rounding; repeatable bit for bit
// Source     Milakov & Gimelshein 2018, arXiv:1805.02867 (pairs of maximum and sum merge in any order)
#include "common.cuh"

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    __shared__ acc_t tops[BLOCK / 32], sums[BLOCK / 32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    x += blockIdx.x * N;
    y += blockIdx.x * N;
    acc_t hi = -INF, sum = 0;
    for (int64_t j = tid; j < N; j += BLOCK) {
        const acc_t v = acc_t(x[j]), higher = nan_max(hi, v);
        // -inf - -inf is NaN: while nothing but -inf has been seen the sum stays 0
        sum = (higher == -INF ? acc_t(0) : sum * exp_(hi - higher) + exp_(v - higher));
        hi = higher;
    }
    acc_t top = warp_max(hi);
    sum = warp_sum(hi == -INF ? acc_t(0) : sum * exp_(hi - top));
    if (lane == 0) {
        tops[warp] = top;
        sums[warp] = sum;
    }
    __syncthreads();
    hi = lane < BLOCK / 32 ? tops[lane] : -INF;  // every warp merges the same pairs in the same order: no second barrier
    top = warp_max(hi);
    const acc_t log_sum = log_(warp_sum(hi == -INF ? acc_t(0) : sums[lane] * exp_(hi - top)));
    for (int64_t j = tid; j < N; j += BLOCK) y[j] = T(acc_t(x[j]) - top - log_sum);
}
