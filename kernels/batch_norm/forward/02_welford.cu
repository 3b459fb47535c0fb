// 02_welford: mean and variance in one pass over the channel.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the n = N*L values of a channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L);
//            n >= 2
// Launch     grid ceil(C/BLOCK), block BLOCK
// FLOPs      10*N*C*L, of which N*C*L divisions
// Traffic    3*sizeof(T)*N*C*L B requested (two reads, one write), RESIDUAL: 4; floor 2*sizeof(T)*N*C*L B, RESIDUAL: 3
// Intensity  10/(3*sizeof(T)) FLOP/B requested
// Since 01   two reads of x in place of three, for a division an element
// Numerics   fp32 (fp64 for double); Welford's update: nothing cancels
// Source     Welford 1962, doi:10.2307/1266577
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                          const T* __restrict__ residual, R* running_mean, R* running_var, T* __restrict__ y, acc_t* mean,
                                          acc_t* rstd, int64_t N, int64_t C, int64_t L, double momentum, double eps) {
    const int64_t c = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (c >= C) return;
    Moments a = {0, 0, 0};
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) take(a, acc_t(x[(i * C + c) * L + l]));
    const Factors f = factors(a.mean, publish(a, c, running_mean, running_var, mean, rstd, momentum, eps), weight, bias, c);
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) {
            const int64_t at = (i * C + c) * L + l;
            y[at] = f.output(x[at], residual, at);
        }
}
