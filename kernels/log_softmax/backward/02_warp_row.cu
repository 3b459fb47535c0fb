// 02_warp_row: one warp a row, so that neighbouring lanes read neighbouring addresses.
//
// Computes   dx[m, j] = dy[m, j] - exp(y[m, j]) * sum_j dy[m, j]; dy, y, dx (M, N); any M, N >= 1
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      4*M*N
// Traffic    4*sizeof(T)*M*N B requested (two reads of dy, one of y, one write); floor 3*sizeof(T)*M*N B
// Intensity  1/sizeof(T) FLOP/B requested
// Since 01   the lanes of a warp share a row: coalesced loads, and a butterfly of shuffles in place of the serial sum
// Numerics   fp32 (fp64 for double); lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     the derivative of the definition; only the output y is needed
#include "common.cuh"

extern "C" __global__ void log_softmax_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t M, int64_t N) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    dy += m * N;
    y += m * N;
    dx += m * N;
    acc_t sum = 0;
    for (int64_t j = lane; j < N; j += 32) sum += acc_t(dy[j]);
    sum = warp_sum(sum);
    for (int64_t j = lane; j < N; j += 32) dx[j] = T(acc_t(dy[j]) - exp_(acc_t(y[j])) * sum);
}
