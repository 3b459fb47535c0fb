// 02_block_channel: one block a channel; the block adds its threads' sums.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; RESIDUAL: dresidual = g; n = N*L;
//            dy, x, dx (N, C, L)
// Launch     grid C, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      12*N*C*L
// Traffic    5*sizeof(T)*N*C*L B requested (two reads of dy and x, one write), RESIDUAL: 8; floor 3*sizeof(T)*N*C*L B, RESIDUAL: 5:
//            the second read of a channel that fits comes from L2; the values of the channel once a thread, from cache
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 01   neighbouring threads read neighbouring positions, and a channel has BLOCK threads
// Numerics   fp32 (fp64 for double); strided partial sums, then a butterfly: repeatable bit for bit
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167; the mask is computed anew from x
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                          const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ spread,
                                          T* __restrict__ dx, T* __restrict__ dresidual, acc_t* dw, acc_t* db, int64_t N, int64_t C, int64_t L,
                                          double eps) {
    __shared__ acc_t smem[32];
    const int64_t c = blockIdx.x, n = N * L;
    const Factors f = known_factors(mean, spread, weight, bias, c, eps);
    acc_t sum = 0, dot = 0;
    for (int64_t e = threadIdx.x; e < n; e += BLOCK) {
        const int64_t at = (e / L * C + c) * L + e % L;
        const acc_t g = f.masked(dy[at], x[at], residual, at);
        sum += g;
        dot += g * ((acc_t(x[at]) - f.mean) * f.rstd);
    }
    sum = block_sum(sum, smem);
    dot = block_sum(dot, smem);
    if (threadIdx.x == 0) {
        dw[c] = dot;
        db[c] = sum;
    }
    const Slope k = slope_of(sum, dot, n);
    for (int64_t e = threadIdx.x; e < n; e += BLOCK) {
        const int64_t at = (e / L * C + c) * L + e % L;
        const acc_t g = f.masked(dy[at], x[at], residual, at);
        dx[at] = k.dx(f, g, x[at]);
        if (RESIDUAL) dresidual[at] = T(g);
    }
}
