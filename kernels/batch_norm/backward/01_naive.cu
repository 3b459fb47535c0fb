// 01_naive: one thread a channel: the two sums, then dx.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; RESIDUAL: dresidual = g; n = N*L;
//            dy, x, dx (N, C, L)
// Launch     grid ceil(C/BLOCK), block BLOCK
// FLOPs      12*N*C*L
// Traffic    5*sizeof(T)*N*C*L B requested (two reads of dy and x, one write), RESIDUAL: 8; floor 3*sizeof(T)*N*C*L B, RESIDUAL: 5
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167; the mask is computed anew from x
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                          const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ spread,
                                          T* __restrict__ dx, T* __restrict__ dresidual, acc_t* dw, acc_t* db, int64_t N, int64_t C, int64_t L,
                                          double eps) {
    const int64_t c = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (c >= C) return;
    const Factors f = known_factors(mean, spread, weight, bias, c, eps);
    acc_t sum = 0, dot = 0;
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) {
            const int64_t at = (i * C + c) * L + l;
            const acc_t g = f.masked(dy[at], x[at], residual, at);
            sum += g;
            dot += g * ((acc_t(x[at]) - f.mean) * f.rstd);
        }
    dw[c] = dot;
    db[c] = sum;
    const Slope k = slope_of(sum, dot, N * L);
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) {
            const int64_t at = (i * C + c) * L + l;
            const acc_t g = f.masked(dy[at], x[at], residual, at);
            dx[at] = k.dx(f, g, x[at]);
            if (RESIDUAL) dresidual[at] = T(g);
        }
}
