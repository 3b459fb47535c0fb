// 01_naive: one thread an element.
//
// Computes   y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0), statistics given;
//            x, y (N, C, L)
// Launch     grid ceil(N*C*L/BLOCK), block BLOCK
// FLOPs      6*N*C*L
// Traffic    2*sizeof(T)*N*C*L B, RESIDUAL: 3; that is the floor; up to four values of the channel an element, from cache
// Intensity  3/sizeof(T) FLOP/B
// Numerics   fp32 (fp64 for double)
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_eval(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                           const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ var,
                                           T* __restrict__ y, int64_t N, int64_t C, int64_t L, double eps) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= N * C * L) return;
    const int64_t c = i / L % C;
    const Factors f = factors(acc_t(mean[c]), 1 / sqrt_(acc_t(var[c]) + acc_t(eps)), weight, bias, c);
    y[i] = f.output(x[i], residual, i);
}
