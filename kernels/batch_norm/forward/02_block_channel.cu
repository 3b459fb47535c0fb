// 02_block_channel: one block a channel; each thread keeps a running mean and variance, and the block merges them.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RELU: at least 0); mean and biased variance over n = N*L values of a
//            channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L); n >= 2
// Launch     grid C, block BLOCK, static smem 3*sizeof(acc_t)*32 B
// FLOPs      12*N*C*L
// Traffic    3*sizeof(T)*N*C*L B requested (two reads, one write); floor 2*sizeof(T)*N*C*L B: a channel that fits stays in L2
// Intensity  4/sizeof(T) FLOP/B requested
// Since 01   neighbouring threads read neighbouring positions; mean and variance in one pass (Welford), merged pairwise (Chan)
// Numerics   fp32 (fp64 for double); no cancellation; the order of merging is fixed: repeatable bit for bit
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

extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias, R* running_mean,
                                          R* running_var, T* __restrict__ y, acc_t* mean, acc_t* rstd, int64_t N, int64_t C, int64_t L,
                                          double momentum, double eps) {
    __shared__ acc_t ks[32], means[32], m2s[32];
    const int64_t c = blockIdx.x, n = N * L;
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    Moments a = {0, 0, 0};
    for (int64_t e = tid; e < n; e += BLOCK) {
        const acc_t v = acc_t(x[(e / L * C + c) * L + e % L]), d = v - a.mean;
        a.k += 1;
        a.mean += d / a.k;
        a.m2 += d * (v - a.mean);
    }
    a = warp_merge(a);
    if (lane == 0) {
        ks[warp] = a.k;
        means[warp] = a.mean;
        m2s[warp] = a.m2;
    }
    __syncthreads();
    if (warp == 0) {
        a = {0, 0, 0};
        if (lane < BLOCK / 32) a = {ks[lane], means[lane], m2s[lane]};
        a = warp_merge(a);
        if (lane == 0) {
            const acc_t rs = 1 / sqrt_(a.m2 / a.k + acc_t(eps));
            mean[c] = means[0] = a.mean;
            rstd[c] = m2s[0] = rs;
            if (RUNNING) {
                const acc_t m = momentum, keep = 1 - momentum;
                running_mean[c] = R(keep * acc_t(running_mean[c]) + m * a.mean);
                running_var[c] = R(keep * acc_t(running_var[c]) + m * (a.m2 / (a.k - 1)));
            }
        }
    }
    __syncthreads();
    const acc_t mu = means[0], rs = m2s[0];
    const acc_t scale = WEIGHT ? rs * acc_t(weight[c]) : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
    for (int64_t e = tid; e < n; e += BLOCK) {
        const int64_t at = (e / L * C + c) * L + e % L;
        const acc_t v = (acc_t(x[at]) - mu) * scale + shift;
        y[at] = T(RELU ? nan_max(v, acc_t(0)) : v);
    }
}
