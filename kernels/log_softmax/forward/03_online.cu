// 03_online: maximum and sum in one pass; the sum is rescaled whenever the maximum grows.
//
// Computes   y[m, j] = x[m, j] - hi[m] - log(sum_j exp(x[m, j] - hi[m])), hi[m] = max_j x[m, j]; x, y (M, N); any M, N >= 1
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      8*M*N (as 02, and the rescaling)
// Traffic    3*sizeof(T)*M*N B requested (two reads, one write); floor 2*sizeof(T)*M*N B: a row of some KB stays in L1
// Intensity  8/(3*sizeof(T)) FLOP/B requested
// Since 02   two passes over the row in place of three
// Numerics   fp32 (fp64 for double); each rescaling adds a rounding; repeatable bit for bit
// Source     Milakov & Gimelshein 2018, arXiv:1805.02867
#include "common.cuh"

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    x += m * N;
    y += m * N;
    acc_t hi = -INF, sum = 0;
    for (int64_t j = lane; j < N; j += 32) {
        const acc_t v = acc_t(x[j]), higher = nan_max(hi, v);
        // -inf - -inf is NaN: while nothing but -inf has been seen the sum stays 0
        sum = (higher == -INF ? acc_t(0) : sum * exp_(hi - higher) + exp_(v - higher));
        hi = higher;
    }
    const acc_t top = warp_max(hi);
    const acc_t log_sum = log_(warp_sum(hi == -INF ? acc_t(0) : sum * exp_(hi - top)));
    for (int64_t j = lane; j < N; j += 32) y[j] = T(acc_t(x[j]) - top - log_sum);
}
