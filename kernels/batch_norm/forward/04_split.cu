// 04_split: groups * pieces blocks a channel; their moments are merged in a fixed order by a second kernel, and a third one normalises.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RELU: at least 0); mean and biased variance over n = N*L values of a
//            channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L); n >= 2
// Launch     partial and apply: grid (C, groups, pieces), block (X, Y) of BLOCK threads, X along L and Y along N; merge: grid C, block 32
// FLOPs      12*N*C*L
// Traffic    3*sizeof(T)*N*C*L B requested (two reads, one write), 6*sizeof(acc_t)*C*groups*pieces B of moments; the values
//            of the channel once a thread, from cache; floor 2*sizeof(T)*N*C*L B
// Intensity  4/sizeof(T) FLOP/B requested
// Since 03   a channel is shared by several blocks, as few channels of large images need; a block walks along planes, which takes
//            two loops and no division (02 takes an index apart by two 64-bit divisions an element)
// Numerics   fp32 (fp64 for double); Welford, merged by shuffles and then in the order of the blocks: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "common.cuh"

// Mean and sum of squared differences of k values.
struct Moments {
    acc_t k, mean, m2;
};

__device__ __forceinline__ Moments merge(Moments a, acc_t k, acc_t mean, acc_t m2) {
    const acc_t total = a.k + k;
    if (k == 0) return a;  // a lane without values; also keeps 0/0 out
    const acc_t d = mean - a.mean, share = k / total;
    return {total, a.mean + d * share, a.m2 + m2 + d * d * a.k * share};
}

__device__ __forceinline__ Moments warp_merge(Moments a) {
    for (int offset = 16; offset > 0; offset >>= 1) {
        const acc_t k = __shfl_down_sync(FULL, a.k, offset), mean = __shfl_down_sync(FULL, a.mean, offset);
        a = merge(a, k, mean, __shfl_down_sync(FULL, a.m2, offset));
    }
    return a;  // of all lanes in lane 0
}

// partial (3, C, groups*pieces): k, mean and m2 of each block's share of its channel
extern "C" __global__ void batch_norm_fwd_partial(const T* __restrict__ x, acc_t* __restrict__ partial, int64_t N, int64_t C, int64_t L,
                                                  int64_t groups, int64_t pieces) {
    __shared__ acc_t ks[BLOCK / 32], means[BLOCK / 32], m2s[BLOCK / 32];
    const int64_t c = blockIdx.x, slices = groups * pieces;
    const int tid = threadIdx.x + blockDim.x * threadIdx.y, lane = tid & 31, warp = tid >> 5;
    Moments a = {0, 0, 0};
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y) {
        const T* plane = x + (i * C + c) * L;
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L; l += pieces * blockDim.x) {
            const acc_t v = acc_t(plane[l]), d = v - a.mean;
            a.k += 1;
            a.mean += d / a.k;
            a.m2 += d * (v - a.mean);
        }
    }
    a = warp_merge(a);
    if (lane == 0) {
        ks[warp] = a.k;
        means[warp] = a.mean;
        m2s[warp] = a.m2;
    }
    __syncthreads();
    if (warp > 0) return;  // no barrier follows
    a = {0, 0, 0};
    if (lane < BLOCK / 32) a = {ks[lane], means[lane], m2s[lane]};
    a = warp_merge(a);
    if (lane == 0) {
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
        a = merge(a, partial[s], partial[C * slices + s], partial[2 * C * slices + s]);
    a = warp_merge(a);
    if (threadIdx.x > 0) return;
    mean[c] = a.mean;
    rstd[c] = 1 / sqrt_(a.m2 / a.k + acc_t(eps));
    if (RUNNING) {
        const acc_t m = momentum, keep = 1 - momentum;
        running_mean[c] = R(keep * acc_t(running_mean[c]) + m * a.mean);
        running_var[c] = R(keep * acc_t(running_var[c]) + m * (a.m2 / (a.k - 1)));
    }
}

extern "C" __global__ void batch_norm_fwd_apply(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                                const acc_t* __restrict__ mean, const acc_t* __restrict__ rstd, T* __restrict__ y, int64_t N,
                                                int64_t C, int64_t L, int64_t groups, int64_t pieces) {
    const int64_t c = blockIdx.x;
    const acc_t mu = mean[c], rs = rstd[c];
    const acc_t scale = WEIGHT ? rs * acc_t(weight[c]) : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y) {
        const int64_t plane = (i * C + c) * L;
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L; l += pieces * blockDim.x) {
            const acc_t v = (acc_t(x[plane + l]) - mu) * scale + shift;
            y[plane + l] = T(RELU ? nan_max(v, acc_t(0)) : v);
        }
    }
}
