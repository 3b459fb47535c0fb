// 05_split: groups * pieces blocks a channel; their moments are merged in a fixed order by a second kernel, and a third one normalises.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the n = N*L values of a channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L);
//            n >= 2
// Launch     partial and apply: grid (C, groups, pieces), block (X, Y) of BLOCK threads, X along L and Y along N; merge: grid C, block 32
// FLOPs      10*N*C*L, of which N*C*L divisions
// Traffic    3*sizeof(T)*N*C*L B requested (two reads, one write), RESIDUAL: 4, 6*sizeof(acc_t)*C*groups*pieces B of moments; the
//            values of the channel once a thread, from cache; floor 2*sizeof(T)*N*C*L B, RESIDUAL: 3
// Intensity  10/(3*sizeof(T)) FLOP/B requested
// Since 04   a channel is shared by several blocks, as few channels of large images need; a block walks along planes, which takes
//            two loops and no division for the address (03 takes an index apart by two 64-bit divisions an element)
// Numerics   fp32 (fp64 for double); Welford, merged by shuffles and then in the order of the blocks: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "batch_norm/channel.cuh"

// partial (3, C, groups*pieces): k, mean and m2 of each block's share of its channel
extern "C" __global__ void batch_norm_fwd_partial(const T* __restrict__ x, acc_t* __restrict__ partial, int64_t N, int64_t C, int64_t L,
                                                  int64_t groups, int64_t pieces) {
    __shared__ acc_t smem[3][32];
    const int64_t c = blockIdx.x, slices = groups * pieces;
    Moments a = {0, 0, 0};
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y) {
        const T* plane = x + (i * C + c) * L;
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L; l += pieces * blockDim.x) take(a, acc_t(plane[l]));
    }
    a = block_moments(a, smem);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        partial += c * slices + blockIdx.y * pieces + blockIdx.z;
        partial[0] = a.k;
        partial[C * slices] = a.mean;
        partial[2 * C * slices] = a.m2;
    }
}

extern "C" __global__ void batch_norm_fwd_merge(const acc_t* __restrict__ partial, R* running_mean, R* running_var, acc_t* mean, acc_t* rstd,
                                                int64_t C, int64_t groups, int64_t pieces, double momentum, double eps) {
    const int64_t c = blockIdx.x, slices = groups * pieces;
    Moments a = {0, 0, 0};
    for (int64_t s = c * slices + threadIdx.x; s < (c + 1) * slices; s += 32)
        a = merge(a, {partial[s], partial[C * slices + s], partial[2 * C * slices + s]});
    a = warp_moments(a);
    if (threadIdx.x == 0) publish(a, c, running_mean, running_var, mean, rstd, momentum, eps);
}

extern "C" __global__ void batch_norm_fwd_apply(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                                const T* __restrict__ residual, const acc_t* __restrict__ mean,
                                                const acc_t* __restrict__ rstd, T* __restrict__ y, int64_t N, int64_t C, int64_t L,
                                                int64_t groups, int64_t pieces) {
    const int64_t c = blockIdx.x;
    const Factors f = factors(mean[c], rstd[c], weight, bias, c);
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y) {
        const int64_t plane = (i * C + c) * L;
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L; l += pieces * blockDim.x)
            y[plane + l] = f.output(x[plane + l], residual, plane + l);
    }
}
