// 02_warp_row: one warp a row, so that neighbouring lanes read neighbouring addresses.
//
// Computes   y[m, j] = (x[m, j] - mean[m]) * rstd[m] * weight[j] + bias[j]; mean and biased variance of a row, rstd = 1/sqrt(var + eps);
//            x, y (M, N); any M, N >= 1
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      8*M*N
// Traffic    4*sizeof(T)*M*N B requested (three reads, one write), N values of weight and bias a row from cache; floor
//            2*sizeof(T)*M*N B: a row of some KB stays in L1
// Intensity  2/sizeof(T) FLOP/B requested
// Since 01   the lanes of a warp share a row: coalesced, and two butterflies of shuffles in place of the serial sums
// Numerics   fp32 (fp64 for double), two passes; lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     Ba, Kiros & Hinton 2016, arXiv:1607.06450
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t M, int64_t N, double eps) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    x += m * N;
    y += m * N;
    acc_t sum = 0, squares = 0;
    for (int64_t j = lane; j < N; j += 32) sum += acc_t(x[j]);
    const acc_t mu = warp_sum(sum) / acc_t(N);
    for (int64_t j = lane; j < N; j += 32) squares += (acc_t(x[j]) - mu) * (acc_t(x[j]) - mu);
    const acc_t rs = rstd_of(warp_sum(squares) / acc_t(N), eps);
    if (lane == 0) {
        mean[m] = mu;
        rstd[m] = rs;
    }
    for (int64_t j = lane; j < N; j += 32) y[j] = scaled((acc_t(x[j]) - mu) * rs, weight, bias, j);
}
