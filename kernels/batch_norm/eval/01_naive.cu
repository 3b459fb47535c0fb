// 01_naive: one thread an element.
//
// Computes   y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c] (RELU: at least 0), statistics given; x, y (N, C, L)
// Launch     grid ceil(N*C*L/BLOCK), block BLOCK
// FLOPs      6*N*C*L
// Traffic    2*sizeof(T)*N*C*L B; that is the floor (the four values a channel come from cache)
// Intensity  3/sizeof(T) FLOP/B
// Numerics   fp32 (fp64 for double)
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167
#include "common.cuh"

extern "C" __global__ void batch_norm_eval(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                           const R* __restrict__ mean, const R* __restrict__ var, T* __restrict__ y, int64_t N, int64_t C,
                                           int64_t L, double eps) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= N * C * L) return;
    const int64_t c = i / L % C;
    const acc_t rs = 1 / sqrt_(acc_t(var[c]) + acc_t(eps));
    const acc_t scale = WEIGHT ? rs * acc_t(weight[c]) : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
    const acc_t v = (acc_t(x[i]) - acc_t(mean[c])) * scale + shift;
    y[i] = T(RELU ? nan_max(v, acc_t(0)) : v);
}
