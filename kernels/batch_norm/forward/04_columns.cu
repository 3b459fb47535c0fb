// 04_columns: for (N, C) inputs a lane is a channel, so that a warp reads 32 neighbouring values of a row.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the N rows, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C); L = 1; N >= 2
// Launch     grid ceil(C/32), block (32, ROWS), static smem 96*ROWS*sizeof(acc_t) B
// FLOPs      10*N*C, of which N*C divisions
// Traffic    3*sizeof(T)*N*C B requested (two reads, one write), RESIDUAL: 4; floor 2*sizeof(T)*N*C B, RESIDUAL: 3;
//            weight and bias once a thread, from cache
// Intensity  10/(3*sizeof(T)) FLOP/B requested
// Since 03   there neighbouring threads of (N, C) read addresses C apart; here they are neighbours, and ROWS warps share the rows
// Numerics   fp32 (fp64 for double); Welford, merged in the order of the warps: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                          const T* __restrict__ residual, R* running_mean, R* running_var, T* __restrict__ y, acc_t* mean,
                                          acc_t* rstd, int64_t N, int64_t C, int64_t L, double momentum, double eps) {
    __shared__ acc_t ks[ROWS][32], means[ROWS][32], m2s[ROWS][32];
    const int lane = threadIdx.x, row = threadIdx.y;
    const int64_t c = blockIdx.x * int64_t(32) + lane;
    Moments a = {0, 0, 0};
    if (c < C)
        for (int64_t i = row; i < N; i += ROWS) take(a, acc_t(x[i * C + c]));
    ks[row][lane] = a.k;
    means[row][lane] = a.mean;
    m2s[row][lane] = a.m2;
    __syncthreads();
    if (c >= C) return;  // no barrier follows
    a = {0, 0, 0};       // every warp merges the same values in the same order
    for (int r = 0; r < ROWS; ++r) a = merge(a, {ks[r][lane], means[r][lane], m2s[r][lane]});
    const acc_t rs = 1 / sqrt_(a.m2 / a.k + acc_t(eps));
    if (row == 0) publish(a, c, running_mean, running_var, mean, rstd, momentum, eps);
    const Factors f = factors(a.mean, rs, weight, bias, c);
    for (int64_t i = row; i < N; i += ROWS) y[i * C + c] = f.output(x[i * C + c], residual, i * C + c);
}
