// 01_naive: one thread a group: mean, then variance, then the output.
//
// Computes   y = (x - mean) * rstd * weight[c] + bias[c]; mean and biased variance over a group of K = C/G channels of one image,
//            rstd = 1/sqrt(var + eps); x, y (N, C, L); mean, rstd (N, G)
// Launch     grid ceil(N*G/BLOCK), block BLOCK
// FLOPs      8*N*C*L
// Traffic    4*sizeof(T)*N*C*L B requested (three reads, one write), a weight and a bias a channel; floor 2*sizeof(T)*N*C*L B
// Intensity  2/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean, so nothing cancels
// Source     Wu & He 2018, arXiv:1803.08494
#include "group_norm/group.cuh"

extern "C" __global__ void group_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t N, int64_t C, int64_t L, int64_t G, double eps) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x, K = C / G, D = K * L;
    if (m >= N * G) return;
    x += m * D;  // neighbouring threads read addresses D apart
    y += m * D;
    acc_t sum = 0, squares = 0;
    for (int64_t j = 0; j < D; ++j) sum += acc_t(x[j]);
    const acc_t mu = sum / acc_t(D);
    for (int64_t j = 0; j < D; ++j) squares += (acc_t(x[j]) - mu) * (acc_t(x[j]) - mu);
    const acc_t rs = rstd_of(squares / acc_t(D), eps);
    mean[m] = mu;
    rstd[m] = rs;
    for (int64_t k = 0; k < K; ++k)
        for (int64_t l = 0; l < L; ++l) y[k * L + l] = scaled((acc_t(x[k * L + l]) - mu) * rs, weight, bias, m % G * K + k);
}
