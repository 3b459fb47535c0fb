// 02_warp_group: one warp a group, so that neighbouring lanes read neighbouring addresses.
//
// Computes   y = (x - mean) * rstd * weight[c] + bias[c]; mean and biased variance over a group of K = C/G channels of one image,
//            rstd = 1/sqrt(var + eps); x, y (N, C, L); mean, rstd (N, G)
// Launch     grid ceil(N*G/ROWS), block (32, ROWS): a warp a group
// FLOPs      8*N*C*L
// Traffic    4*sizeof(T)*N*C*L B requested (three reads, one write), a weight and a bias an element from cache; floor 2*sizeof(T)*N*C*L B
// Intensity  2/sizeof(T) FLOP/B requested
// Since 01   the lanes of a warp share a group: coalesced, and two butterflies of shuffles in place of the serial sums
// Numerics   fp32 (fp64 for double), two passes; lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     Wu & He 2018, arXiv:1803.08494
#include "group_norm/group.cuh"

extern "C" __global__ void group_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t N, int64_t C, int64_t L, int64_t G, double eps) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y, K = C / G, D = K * L;
    if (m >= N * G) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    x += m * D;
    y += m * D;
    acc_t sum = 0, squares = 0;
    for (int64_t j = lane; j < D; j += 32) sum += acc_t(x[j]);
    const acc_t mu = warp_sum(sum) / acc_t(D);
    for (int64_t j = lane; j < D; j += 32) squares += (acc_t(x[j]) - mu) * (acc_t(x[j]) - mu);
    const acc_t rs = rstd_of(warp_sum(squares) / acc_t(D), eps);
    if (lane == 0) {
        mean[m] = mu;
        rstd[m] = rs;
    }
    Walk at(lane, 32, L);
    for (int64_t j = lane; j < D; j += 32, at.next()) y[j] = scaled((acc_t(x[j]) - mu) * rs, weight, bias, m % G * K + at.c);
}
