// 07_resident: a row that is too long for registers stays in shared memory.
//
// Computes   y[m, j] = (x[m, j] - mean[m]) * rstd[m] * weight[j] + bias[j]; mean and biased variance of a row, rstd = 1/sqrt(var + eps);
//            x, y (M, N); sizeof(T)*N as much as a block can have
// Launch     grid M, block BLOCK, dynamic smem sizeof(T)*N B, static smem 32*sizeof(acc_t) B
// FLOPs      8*M*N
// Traffic    2*sizeof(T)*M*N B; that is the floor; N values of weight and bias a row from cache
// Intensity  4/sizeof(T) FLOP/B
// Since 06   rows of tens of thousands of values are read once
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean; repeatable bit for bit
// Source     Ba, Kiros & Hinton 2016, arXiv:1607.06450
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t M, int64_t N, double eps) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* row = reinterpret_cast<T*>(memory);  // each value is written and read by one thread alone: no barrier for it
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    x += blockIdx.x * N;
    y += blockIdx.x * N;
    acc_t sum = 0, squares = 0;
    for (int64_t j = tid; j < N; j += BLOCK) {
        const T v = x[j];
        row[j] = v;
        sum += acc_t(v);
    }
    const acc_t mu = block_sum(sum, smem) / acc_t(N);
    for (int64_t j = tid; j < N; j += BLOCK) squares += (acc_t(row[j]) - mu) * (acc_t(row[j]) - mu);
    const acc_t rs = rstd_of(block_sum(squares, smem) / acc_t(N), eps);
    if (tid == 0) {
        mean[blockIdx.x] = mu;
        rstd[blockIdx.x] = rs;
    }
    for (int64_t j = tid; j < N; j += BLOCK) y[j] = scaled((acc_t(row[j]) - mu) * rs, weight, bias, j);
}
