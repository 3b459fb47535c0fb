// 02_warp_row: one warp a row, so that neighbouring lanes read neighbouring addresses.
//
// Computes   dx[m, j] = rstd[m] * (g - mean_j(g) - xhat * mean_j(g * xhat)), g = dy * weight[j], xhat = (x - mean[m]) * rstd[m]; (M, N)
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      12*M*N
// Traffic    5*sizeof(T)*M*N B requested (two reads of dy and x, one write), N values of weight a row and a loop from
//            cache; floor 3*sizeof(T)*M*N B
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 01   the lanes of a warp share a row: coalesced, and two butterflies of shuffles in place of the serial sums
// Numerics   fp32 (fp64 for double); lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     the derivative of the definition
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const acc_t* __restrict__ mean,
                                          const acc_t* __restrict__ rstd, T* __restrict__ dx, int64_t M, int64_t N) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    dy += m * N;
    x += m * N;
    dx += m * N;
    const acc_t mu = mean[m], rs = rstd[m];
    acc_t sum = 0, dot = 0;
    for (int64_t j = lane; j < N; j += 32) {
        const acc_t g = weighted(dy[j], weight, j);
        sum += g;
        dot += g * ((acc_t(x[j]) - mu) * rs);
    }
    sum = warp_sum(sum) / acc_t(N);
    dot = warp_sum(dot) / acc_t(N);
    for (int64_t j = lane; j < N; j += 32) {
        const acc_t g = weighted(dy[j], weight, j);
        dx[j] = T(rs * (g - sum - (acc_t(x[j]) - mu) * rs * dot));
    }
}
