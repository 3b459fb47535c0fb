// 01_naive: one thread a channel: the two sums, then dx.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; n = N*L; dy, x, dx (N, C, L)
// Launch     grid ceil(C/BLOCK), block BLOCK
// FLOPs      12*N*C*L
// Traffic    5*sizeof(T)*N*C*L B requested (two reads of dy and x, one write); floor 3*sizeof(T)*N*C*L B
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167; the mask is computed anew from x
#include "common.cuh"

// spread: rstd while training, the running variance otherwise
extern "C" __global__ void batch_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                          const R* __restrict__ mean, const R* __restrict__ spread, T* __restrict__ dx, acc_t* dw, acc_t* db,
                                          int64_t N, int64_t C, int64_t L, double eps) {
    const int64_t c = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (c >= C) return;
    const acc_t mu = mean[c], rs = TRAIN ? acc_t(spread[c]) : 1 / sqrt_(acc_t(spread[c]) + acc_t(eps));
    const acc_t scale = WEIGHT ? rs * acc_t(weight[c]) : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
    acc_t sum = 0, dot = 0;
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) {
            const int64_t at = (i * C + c) * L + l;
            const acc_t d = acc_t(x[at]) - mu;
            const acc_t g = RELU && d * scale + shift <= 0 ? acc_t(0) : acc_t(dy[at]);
            sum += g;
            dot += g * (d * rs);
        }
    dw[c] = dot;
    db[c] = sum;
    const acc_t n = N * L, mean_g = TRAIN ? sum / n : acc_t(0), slope = TRAIN ? dot / n : acc_t(0);
    for (int64_t i = 0; i < N; ++i)
        for (int64_t l = 0; l < L; ++l) {
            const int64_t at = (i * C + c) * L + l;
            const acc_t d = acc_t(x[at]) - mu;
            const acc_t g = RELU && d * scale + shift <= 0 ? acc_t(0) : acc_t(dy[at]);
            dx[at] = T(scale * (TRAIN ? g - mean_g - d * rs * slope : g));
        }
}
