// 03_welford: mean and variance in one pass over the row.
//
// Computes   y[m, j] = (x[m, j] - mean[m]) * rstd[m] * weight[j] + bias[j]; mean and biased variance of a row, rstd = 1/sqrt(var + eps);
//            x, y (M, N); any M, N >= 1
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      10*M*N, of which M*N divisions
// Traffic    3*sizeof(T)*M*N B requested (two reads, one write), N values of weight and bias a row from cache; floor
//            2*sizeof(T)*M*N B: a row of some KB stays in L1
// Intensity  10/(3*sizeof(T)) FLOP/B requested
// Since 02   two reads of the row in place of three, for a division an element
// Numerics   fp32 (fp64 for double); nothing cancels; lanes' moments merged in a fixed order: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t M, int64_t N, double eps) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    x += m * N;
    y += m * N;
    Moments a = {0, 0, 0};
    for (int64_t j = lane; j < N; j += 32) take(a, acc_t(x[j]));
    a = warp_moments(a);
    const acc_t mu = a.mean, rs = rstd_of(a.m2 / acc_t(N), eps);
    if (lane == 0) {
        mean[m] = mu;
        rstd[m] = rs;
    }
    for (int64_t j = lane; j < N; j += 32) y[j] = scaled((acc_t(x[j]) - mu) * rs, weight, bias, j);
}
