// 03_block_channel: one block a channel; its threads' moments merge by shuffles in each warp, then over the warps.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the n = N*L values of a channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L);
//            n >= 2
// Launch     grid C, block BLOCK, static smem 3*sizeof(acc_t)*32 B
// FLOPs      10*N*C*L, of which N*C*L divisions
// Traffic    3*sizeof(T)*N*C*L B requested (two reads, one write), RESIDUAL: 4; floor 2*sizeof(T)*N*C*L B, RESIDUAL: 3: a channel that
//            fits stays in L2; weight and bias once a thread, from cache
// Intensity  10/(3*sizeof(T)) FLOP/B requested
// Since 02   BLOCK threads a channel, and neighbouring threads read neighbouring positions
// Numerics   fp32 (fp64 for double); no cancellation; the order of merging is fixed: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                          const T* __restrict__ residual, R* running_mean, R* running_var, T* __restrict__ y, acc_t* mean,
                                          acc_t* rstd, int64_t N, int64_t C, int64_t L, double momentum, double eps) {
    __shared__ acc_t smem[3][32];
    const int64_t c = blockIdx.x, n = N * L;
    Moments a = {0, 0, 0};
    for (int64_t e = threadIdx.x; e < n; e += BLOCK) take(a, acc_t(x[(e / L * C + c) * L + e % L]));
    a = block_moments(a, smem);
    acc_t rs = 1 / sqrt_(a.m2 / a.k + acc_t(eps));
    if (threadIdx.x == 0) publish(a, c, running_mean, running_var, mean, rstd, momentum, eps);
    const Factors f = factors(a.mean, rs, weight, bias, c);
    for (int64_t e = threadIdx.x; e < n; e += BLOCK) {
        const int64_t at = (e / L * C + c) * L + e % L;
        y[at] = f.output(x[at], residual, at);
    }
}
