// 03_block_group: one block a group; mean and variance in one pass.
//
// Computes   y = (x - mean) * rstd * weight[c] + bias[c]; mean and biased variance over a group of K = C/G channels of one image,
//            rstd = 1/sqrt(var + eps); x, y (N, C, L); mean, rstd (N, G)
// Launch     grid N*G, block BLOCK, static smem 3*sizeof(acc_t)*32 B
// FLOPs      10*N*C*L, of which N*C*L divisions
// Traffic    3*sizeof(T)*N*C*L B requested (two reads, one write), a weight and a bias an element from cache; floor 2*sizeof(T)*N*C*L B:
//            the second read comes from cache where the group fits
// Intensity  10/(3*sizeof(T)) FLOP/B requested
// Since 02   BLOCK threads a group in place of 32: a group of an image is long (4 channels of 64 x 64 are 16,384 values); Welford's
//            update saves a read, and the warps merge their moments through shared memory
// Numerics   fp32 (fp64 for double); nothing cancels; moments merged in a fixed order: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "group_norm/group.cuh"

extern "C" __global__ void group_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t N, int64_t C, int64_t L, int64_t G, double eps) {
    __shared__ acc_t smem[3][32];
    const int tid = threadIdx.x;
    const int64_t m = blockIdx.x, K = C / G, D = K * L;
    x += m * D;
    y += m * D;
    Moments a = {0, 0, 0};
    for (int64_t j = tid; j < D; j += BLOCK) take(a, acc_t(x[j]));
    a = block_moments(a, smem);
    const acc_t mu = a.mean, rs = rstd_of(a.m2 / acc_t(D), eps);
    if (tid == 0) {
        mean[m] = mu;
        rstd[m] = rs;
    }
    Walk at(tid, BLOCK, L);
    for (int64_t j = tid; j < D; j += BLOCK, at.next()) y[j] = scaled((acc_t(x[j]) - mu) * rs, weight, bias, m % G * K + at.c);
}
