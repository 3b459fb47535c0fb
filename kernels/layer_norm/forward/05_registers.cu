// 05_registers: each thread keeps its share of the row in registers, so that x is read once.
//
// Computes   y[m, j] = (x[m, j] - mean[m]) * rstd[m] * weight[j] + bias[j]; mean and biased variance of a row, rstd = 1/sqrt(var + eps);
//            x, y (M, N); 1 <= N <= BLOCK*KEEP
// Launch     grid M, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      8*M*N
// Traffic    2*sizeof(T)*M*N B; that is the floor; N values of weight and bias a row from cache
// Intensity  4/sizeof(T) FLOP/B
// Since 04   one read in place of two; with the row at hand a second pass over it is free, so no division an element; KEEP loads of a
//            thread are in flight at once
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean; repeatable bit for bit
// Source     Ba, Kiros & Hinton 2016, arXiv:1607.06450
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t M, int64_t N, double eps) {
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    x += blockIdx.x * N;
    y += blockIdx.x * N;
    acc_t v[KEEP];  // indexed by constants alone once the loops are unrolled; else it would be memory
    acc_t sum = 0, squares = 0;
#pragma unroll
    for (int k = 0; k < KEEP; ++k) v[k] = tid + k * BLOCK < N ? acc_t(x[tid + k * BLOCK]) : acc_t(0);
#pragma unroll
    for (int k = 0; k < KEEP; ++k) sum += v[k];
    const acc_t mu = block_sum(sum, smem) / acc_t(N);
#pragma unroll
    for (int k = 0; k < KEEP; ++k)
        if (tid + k * BLOCK < N) squares += (v[k] - mu) * (v[k] - mu);
    const acc_t rs = rstd_of(block_sum(squares, smem) / acc_t(N), eps);
    if (tid == 0) {
        mean[blockIdx.x] = mu;
        rstd[blockIdx.x] = rs;
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        const int j = tid + k * BLOCK;
        if (j < N) y[j] = scaled((v[k] - mu) * rs, weight, bias, j);
    }
}
