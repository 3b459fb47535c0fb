// 04_registers: each thread keeps its share of the group in registers, so that x is read once.
//
// Computes   y = (x - mean) * rstd * weight[c] + bias[c]; mean and biased variance over a group of K = C/G channels of one image,
//            rstd = 1/sqrt(var + eps); x, y (N, C, L); mean, rstd (N, G); 1 <= K*L <= BLOCK*KEEP
// Launch     grid N*G, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      8*N*C*L
// Traffic    2*sizeof(T)*N*C*L B; that is the floor; a weight and a bias an element from cache
// Intensity  4/sizeof(T) FLOP/B
// Since 03   one read in place of two; with the group at hand a second pass over it is free, so no division an element; KEEP loads of a
//            thread are in flight at once
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean; repeatable bit for bit
// Source     Wu & He 2018, arXiv:1803.08494
#include "group_norm/group.cuh"

extern "C" __global__ void group_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t N, int64_t C, int64_t L, int64_t G, double eps) {
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x, D = int(C / G * L);
    const int64_t m = blockIdx.x, first = m % G * (C / G);
    x += m * D;
    y += m * D;
    acc_t v[KEEP];  // indexed by constants alone once the loops are unrolled; else it would be memory
    acc_t sum = 0, squares = 0;
#pragma unroll
    for (int k = 0; k < KEEP; ++k) v[k] = tid + k * BLOCK < D ? acc_t(x[tid + k * BLOCK]) : acc_t(0);
#pragma unroll
    for (int k = 0; k < KEEP; ++k) sum += v[k];
    const acc_t mu = block_sum(sum, smem) / acc_t(D);
#pragma unroll
    for (int k = 0; k < KEEP; ++k)
        if (tid + k * BLOCK < D) squares += (v[k] - mu) * (v[k] - mu);
    const acc_t rs = rstd_of(block_sum(squares, smem) / acc_t(D), eps);
    if (tid == 0) {
        mean[m] = mu;
        rstd[m] = rs;
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        const int j = tid + k * BLOCK;
        if (j < D) y[j] = scaled((v[k] - mu) * rs, weight, bias, first + j / int(L));
    }
}
