// 02_warp_row: one warp a row, so that neighbouring lanes read neighbouring addresses.
//
// Computes   y[m, j] = x[m, j] - hi[m] - log(sum_j exp(x[m, j] - hi[m])), hi[m] = max_j x[m, j]; x, y (M, N); any M, N >= 1
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      6*M*N (compare, subtract, exp, add, subtract twice)
// Traffic    4*sizeof(T)*M*N B requested (three reads, one write); floor 2*sizeof(T)*M*N B: a row of some KB stays in L1
// Intensity  6/(4*sizeof(T)) FLOP/B requested
// Since 01   the lanes of a warp share a row: coalesced loads, and a butterfly of shuffles in place of the serial maximum and sum
// Numerics   fp32 (fp64 for double); lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     warp reductions: Luitjens 2014, "Faster Parallel Reductions on Kepler" (NVIDIA)
#include "common.cuh"

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    x += m * N;
    y += m * N;
    acc_t hi = -INF, sum = 0;
    for (int64_t j = lane; j < N; j += 32) hi = nan_max(hi, acc_t(x[j]));
    hi = warp_max(hi);
    for (int64_t j = lane; j < N; j += 32) sum += exp_(acc_t(x[j]) - hi);
    const acc_t log_sum = log_(warp_sum(sum));
    for (int64_t j = lane; j < N; j += 32) y[j] = T(acc_t(x[j]) - hi - log_sum);
}
