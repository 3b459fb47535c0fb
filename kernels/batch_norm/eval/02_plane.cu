// 02_plane: one block a plane of L positions, so that a thread computes its channel's factors once.
//
// Computes   y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0), statistics given;
//            x, y (N, C, L)
// Launch     grid N*C, block BLOCK
// FLOPs      3*N*C*L
// Traffic    2*sizeof(T)*N*C*L B, RESIDUAL: 3; that is the floor; up to four values of the channel a thread, from cache
// Intensity  3/(2*sizeof(T)) FLOP/B
// Since 01   no division for the channel and no square root an element: both once a thread
// Numerics   fp32 (fp64 for double)
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_eval(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                           const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ var,
                                           T* __restrict__ y, int64_t N, int64_t C, int64_t L, double eps) {
    const int64_t c = blockIdx.x % C;
    const Factors f = factors(acc_t(mean[c]), 1 / sqrt_(acc_t(var[c]) + acc_t(eps)), weight, bias, c);
    const int64_t plane = blockIdx.x * L;
    for (int64_t l = threadIdx.x; l < L; l += BLOCK) y[plane + l] = f.output(x[plane + l], residual, plane + l);
}
