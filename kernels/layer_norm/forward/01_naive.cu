// 01_naive: one thread a row: mean, then variance, then the output.
//
// Computes   y[m, j] = (x[m, j] - mean[m]) * rstd[m] * weight[j] + bias[j]; mean and biased variance of a row, rstd = 1/sqrt(var + eps);
//            x, y (M, N); any M, N >= 1
// Launch     grid ceil(M/BLOCK), block BLOCK
// FLOPs      8*M*N
// Traffic    4*sizeof(T)*M*N B requested (three reads, one write), N values of weight and bias a row from cache; floor
//            2*sizeof(T)*M*N B
// Intensity  2/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean, so nothing cancels
// Source     Ba, Kiros & Hinton 2016, arXiv:1607.06450
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t M, int64_t N, double eps) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (m >= M) return;
    x += m * N;  // neighbouring threads read addresses N apart
    y += m * N;
    acc_t sum = 0, squares = 0;
    for (int64_t j = 0; j < N; ++j) sum += acc_t(x[j]);
    const acc_t mu = sum / acc_t(N);
    for (int64_t j = 0; j < N; ++j) squares += (acc_t(x[j]) - mu) * (acc_t(x[j]) - mu);
    const acc_t rs = rstd_of(squares / acc_t(N), eps);
    mean[m] = mu;
    rstd[m] = rs;
    for (int64_t j = 0; j < N; ++j) y[j] = scaled((acc_t(x[j]) - mu) * rs, weight, bias, j);
}
