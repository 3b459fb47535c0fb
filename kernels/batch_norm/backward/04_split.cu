// 04_split: groups * pieces blocks a channel; their sums are added in a fixed order by a second kernel, and a third one computes dx.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; n = N*L; dy, x, dx (N, C, L)
// Launch     partial and apply: grid (C, groups, pieces), block (X, Y) of BLOCK threads, X along L and Y along N; merge: grid C, block 32
// FLOPs      12*N*C*L
// Traffic    5*sizeof(T)*N*C*L B requested (two reads of dy and x, one write), 4*sizeof(acc_t)*C*groups*pieces B of sums; the values
//            of the channel once a thread, from cache; floor 3*sizeof(T)*N*C*L B
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 03   a channel is shared by several blocks, as few channels of large images need; a block walks along planes, which takes
//            two loops and no division (02 takes an index apart by two 64-bit divisions an element)
// Numerics   fp32 (fp64 for double); a sum a block, added by one warp in the order of the blocks: repeatable bit for bit
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167; the mask is computed anew from x
#include "common.cuh"

// spread: rstd while training, the running variance otherwise. partial (2, C, groups*pieces): the sums of g and of g*xhat of each block
extern "C" __global__ void batch_norm_bwd_partial(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                                  const R* __restrict__ mean, const R* __restrict__ spread, acc_t* __restrict__ partial,
                                                  int64_t N, int64_t C, int64_t L, int64_t groups, int64_t pieces, double eps) {
    __shared__ acc_t smem[BLOCK / 32];
    const int64_t c = blockIdx.x, slices = groups * pieces;
    const acc_t mu = mean[c], rs = TRAIN ? acc_t(spread[c]) : 1 / sqrt_(acc_t(spread[c]) + acc_t(eps));
    const acc_t scale = WEIGHT ? rs * acc_t(weight[c]) : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
    acc_t sum = 0, dot = 0;
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y) {
        const int64_t plane = (i * C + c) * L;
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L; l += pieces * blockDim.x) {
            const acc_t d = acc_t(x[plane + l]) - mu;
            const acc_t g = RELU && d * scale + shift <= 0 ? acc_t(0) : acc_t(dy[plane + l]);
            sum += g;
            dot += g * (d * rs);
        }
    }
    sum = block_sum(sum, smem);
    dot = block_sum(dot, smem);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        partial += c * slices + blockIdx.y * pieces + blockIdx.z;
        partial[0] = sum;
        partial[C * slices] = dot;
    }
}

extern "C" __global__ void batch_norm_bwd_merge(const acc_t* __restrict__ partial, acc_t* dw, acc_t* db, int64_t C, int64_t groups,
                                                int64_t pieces) {
    const int64_t c = blockIdx.x, slices = groups * pieces;
    acc_t sum = 0, dot = 0;
    for (int64_t s = c * slices + threadIdx.x; s < (c + 1) * slices; s += 32) {
        sum += partial[s];
        dot += partial[C * slices + s];
    }
    sum = warp_sum(sum);
    dot = warp_sum(dot);
    if (threadIdx.x > 0) return;
    dw[c] = dot;
    db[c] = sum;
}

extern "C" __global__ void batch_norm_bwd_apply(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                                const R* __restrict__ mean, const R* __restrict__ spread, T* __restrict__ dx,
                                                const acc_t* __restrict__ dw, const acc_t* __restrict__ db, int64_t N, int64_t C, int64_t L,
                                                int64_t groups, int64_t pieces, double eps) {
    const int64_t c = blockIdx.x;
    const acc_t n = N * L, mean_g = TRAIN ? db[c] / n : acc_t(0), slope = TRAIN ? dw[c] / n : acc_t(0);
    const acc_t mu = mean[c], rs = TRAIN ? acc_t(spread[c]) : 1 / sqrt_(acc_t(spread[c]) + acc_t(eps));
    const acc_t scale = WEIGHT ? rs * acc_t(weight[c]) : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y) {
        const int64_t plane = (i * C + c) * L;
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L; l += pieces * blockDim.x) {
            const acc_t d = acc_t(x[plane + l]) - mu;
            const acc_t g = RELU && d * scale + shift <= 0 ? acc_t(0) : acc_t(dy[plane + l]);
            dx[plane + l] = T(scale * (TRAIN ? g - mean_g - d * rs * slope : g));
        }
    }
}
