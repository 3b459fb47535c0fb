// 04_block_row: one block a row, for rows that are long and few.
//
// Computes   y[m, j] = (x[m, j] - mean[m]) * rstd[m] * weight[j] + bias[j]; mean and biased variance of a row, rstd = 1/sqrt(var + eps);
//            x, y (M, N); any M, N >= 1
// Launch     grid M, block BLOCK, static smem 3*sizeof(acc_t)*32 B
// FLOPs      10*M*N, of which M*N divisions
// Traffic    3*sizeof(T)*M*N B requested (two reads, one write), N values of weight and bias a row from cache; floor
//            2*sizeof(T)*M*N B: the second read comes from cache where the row fits
// Intensity  10/(3*sizeof(T)) FLOP/B requested
// Since 03   BLOCK threads a row in place of 32; the warps exchange their moments through shared memory
// Numerics   fp32 (fp64 for double); nothing cancels; moments merged in a fixed order: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t M, int64_t N, double eps) {
    __shared__ acc_t smem[3][32];
    const int tid = threadIdx.x;
    x += blockIdx.x * N;
    y += blockIdx.x * N;
    Moments a = {0, 0, 0};
    for (int64_t j = tid; j < N; j += BLOCK) take(a, acc_t(x[j]));
    a = block_moments(a, smem);
    const acc_t mu = a.mean, rs = rstd_of(a.m2 / acc_t(N), eps);
    if (tid == 0) {
        mean[blockIdx.x] = mu;
        rstd[blockIdx.x] = rs;
    }
    for (int64_t j = tid; j < N; j += BLOCK) y[j] = scaled((acc_t(x[j]) - mu) * rs, weight, bias, j);
}
