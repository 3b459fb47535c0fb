// 06_vector: 16 bytes a load and a store; a thread's W values are merged as one, so W of them cost one division.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the n = N*L values of a channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L);
//            n >= 2;
//            L*sizeof(T) a multiple of 16, and so L of W = 16/sizeof(T)
// Launch     partial and apply: grid (C, groups, pieces), block (X, Y) of BLOCK threads, X along L and Y along N; merge: grid C, block 32
// FLOPs      8*N*C*L
// Traffic    3*sizeof(T)*N*C*L B requested (two reads, one write), RESIDUAL: 4, 6*sizeof(acc_t)*C*groups*pieces B of moments; the
//            values of the channel once a thread, from cache; floor 2*sizeof(T)*N*C*L B, RESIDUAL: 3
// Intensity  8/(3*sizeof(T)) FLOP/B requested
// Since 05   W neighbouring values move as one access: as many bytes by fewer instructions, and more of them in flight
// Numerics   fp32 (fp64 for double); two passes over W values, merged as in 05: repeatable bit for bit
// Source     Chan, Golub, LeVeque 1979 (merging); CUDA C++ Programming Guide, "Device Memory Accesses" (vector types)
#include "batch_norm/channel.cuh"

constexpr int W = 16 / sizeof(T);
typedef Vec<T, W> Pack;

// partial (3, C, groups*pieces): k, mean and m2 of each block's share of its channel
extern "C" __global__ void batch_norm_fwd_partial(const T* __restrict__ x, acc_t* __restrict__ partial, int64_t N, int64_t C, int64_t L,
                                                  int64_t groups, int64_t pieces) {
    __shared__ acc_t smem[3][32];
    const int64_t c = blockIdx.x, slices = groups * pieces;
    Moments a = {0, 0, 0};
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y) {
        const Pack* plane = reinterpret_cast<const Pack*>(x + (i * C + c) * L);
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L / W; l += pieces * blockDim.x) {
            const Pack in = plane[l];
            acc_t v[W];
#pragma unroll
            for (int w = 0; w < W; ++w) v[w] = acc_t(in.v[w]);
            take(a, v);
        }
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
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L / W; l += pieces * blockDim.x) {
            const int64_t at = plane + l * W;
            const Pack in = *reinterpret_cast<const Pack*>(x + at);
            Pack other = {}, out;
            if (RESIDUAL) other = *reinterpret_cast<const Pack*>(residual + at);
#pragma unroll
            for (int w = 0; w < W; ++w) out.v[w] = f.output(in.v[w], other.v, w);
            *reinterpret_cast<Pack*>(y + at) = out;
        }
    }
}
