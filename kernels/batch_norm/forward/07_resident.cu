// 07_resident: a channel stays in its block's shared memory, so that x is read once.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the n = N*L values of a channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L);
//            n >= 2;
//            sizeof(T)*n <= ROOM
// Launch     grid C, block BLOCK, dynamic smem sizeof(T)*N*L B, static smem 3*sizeof(acc_t)*32 B
// FLOPs      10*N*C*L, of which N*C*L divisions
// Traffic    2*sizeof(T)*N*C*L B, RESIDUAL: 3; that is the floor; weight and bias once a thread, from cache
// Intensity  5/sizeof(T) FLOP/B
// Since 06   one block a channel again, which remembers what it read: one read in place of two
// Numerics   fp32 (fp64 for double); Welford, merged in a fixed order: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                          const T* __restrict__ residual, R* running_mean, R* running_var, T* __restrict__ y, acc_t* mean,
                                          acc_t* rstd, int64_t N, int64_t C, int64_t L, double momentum, double eps) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* tile = reinterpret_cast<T*>(memory);  // (N, L): the channel, each value read and written by one thread alone
    __shared__ acc_t smem[3][32];
    const int64_t c = blockIdx.x;
    Moments a = {0, 0, 0};
    for (int64_t i = threadIdx.y; i < N; i += blockDim.y)
        for (int64_t l = threadIdx.x; l < L; l += blockDim.x) {
            const T v = x[(i * C + c) * L + l];
            tile[i * L + l] = v;
            take(a, acc_t(v));
        }
    a = block_moments(a, smem);
    const acc_t rs = 1 / sqrt_(a.m2 / a.k + acc_t(eps));
    if (threadIdx.x == 0 && threadIdx.y == 0) publish(a, c, running_mean, running_var, mean, rstd, momentum, eps);
    const Factors f = factors(a.mean, rs, weight, bias, c);
    for (int64_t i = threadIdx.y; i < N; i += blockDim.y)
        for (int64_t l = threadIdx.x; l < L; l += blockDim.x) {
            const int64_t at = (i * C + c) * L + l;
            y[at] = f.output(tile[i * L + l], residual, at);
        }
}
