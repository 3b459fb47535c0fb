// 04_registers: each thread keeps its share of g and xhat in registers, so that dy and x are read once.
//
// Computes   dx[m, j] = rstd[m] * (g - mean_j(g) - xhat * mean_j(g * xhat)), g = dy * weight[j], xhat = (x - mean[m]) * rstd[m]; (M, N);
//            1 <= N <= BLOCK*KEEP
// Launch     grid M, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      9*M*N
// Traffic    3*sizeof(T)*M*N B; that is the floor; N values of weight a row from cache
// Intensity  3/sizeof(T) FLOP/B
// Since 03   one read of dy, x and weight in place of two; 2*KEEP loads of a thread are in flight at once
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     the derivative of the definition
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const acc_t* __restrict__ mean,
                                          const acc_t* __restrict__ rstd, T* __restrict__ dx, int64_t M, int64_t N) {
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    const acc_t mu = mean[blockIdx.x], rs = rstd[blockIdx.x];
    dy += blockIdx.x * N;
    x += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t g[KEEP], xhat[KEEP];  // indexed by constants alone once the loops are unrolled; else they would be memory
    acc_t sum = 0, dot = 0;
#pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        const int j = tid + k * BLOCK;
        g[k] = j < N ? weighted(dy[j], weight, j) : acc_t(0);
        xhat[k] = j < N ? (acc_t(x[j]) - mu) * rs : acc_t(0);
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        sum += g[k];
        dot += g[k] * xhat[k];
    }
    sum = block_sum(sum, smem) / acc_t(N);
    dot = block_sum(dot, smem) / acc_t(N);
#pragma unroll
    for (int k = 0; k < KEEP; ++k)
        if (tid + k * BLOCK < N) dx[tid + k * BLOCK] = T(rs * (g[k] - sum - xhat[k] * dot));
}
