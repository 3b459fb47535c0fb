// 01_naive: one thread a channel: mean, then variance, then the output.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the n = N*L values of a channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L);
//            n >= 2
// Launch     grid ceil(C/BLOCK), block BLOCK
// FLOPs      8*N*C*L
// Traffic    4*sizeof(T)*N*C*L B requested (three reads, one write), RESIDUAL: 5; floor 2*sizeof(T)*N*C*L B, RESIDUAL: 3
// Intensity  2/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean, so nothing cancels
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                          const T* __restrict__ residual, R* running_mean, R* running_var, T* __restrict__ y, acc_t* mean,
                                          acc_t* rstd, int64_t N, int64_t C, int64_t L, double momentum, double eps) {
    const int64_t c = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (c >= C) return;
    const acc_t n = N * L;
    acc_t sum = 0, squares = 0;
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) sum += acc_t(x[(i * C + c) * L + l]);
    const acc_t mu = sum / n;
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) {
            const acc_t d = acc_t(x[(i * C + c) * L + l]) - mu;
            squares += d * d;
        }
    const Factors f = factors(mu, publish({n, mu, squares}, c, running_mean, running_var, mean, rstd, momentum, eps), weight, bias, c);
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) {
            const int64_t at = (i * C + c) * L + l;
            y[at] = f.output(x[at], residual, at);
        }
}
