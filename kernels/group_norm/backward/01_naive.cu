// 01_naive: one thread a group: two sums, then dx; then one thread a channel for dw and db.
//
// Computes   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), g = dy * weight[c], xhat = (x - mean) * rstd, means over a group of
//            K = C/G channels of one image; dw[c] = sum dy * xhat, db[c] = sum dy over images and positions; dy, x, dx (N, C, L)
// Launch     bwd: grid ceil(N*G/BLOCK), block BLOCK; dw: grid ceil(C/BLOCK), block BLOCK
// FLOPs      17*N*C*L
// Traffic    7*sizeof(T)*N*C*L B requested (three reads of dy and x, one write), a weight an element and a loop from cache; floor
//            3*sizeof(T)*N*C*L B
// Intensity  17/(7*sizeof(T)) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order
// Source     the derivative of the definition
#include "group_norm/group.cuh"

extern "C" __global__ void group_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const acc_t* __restrict__ mean,
                                          const acc_t* __restrict__ rstd, T* __restrict__ dx, int64_t N, int64_t C, int64_t L, int64_t G) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x, K = C / G, D = K * L, first = m % G * K;
    if (m >= N * G) return;
    dy += m * D;
    x += m * D;
    dx += m * D;
    const acc_t mu = mean[m], rs = rstd[m];
    acc_t sum = 0, dot = 0;
    for (int64_t k = 0; k < K; ++k)
        for (int64_t l = 0; l < L; ++l) {
            const acc_t g = weighted(acc_t(dy[k * L + l]), weight, first + k);
            sum += g;
            dot += g * ((acc_t(x[k * L + l]) - mu) * rs);
        }
    sum /= acc_t(D);
    dot /= acc_t(D);
    for (int64_t k = 0; k < K; ++k)
        for (int64_t l = 0; l < L; ++l) {
            const acc_t g = weighted(acc_t(dy[k * L + l]), weight, first + k);
            dx[k * L + l] = T(rs * (g - sum - (acc_t(x[k * L + l]) - mu) * rs * dot));
        }
}

extern "C" __global__ void group_norm_bwd_dw(const T* __restrict__ dy, const T* __restrict__ x, const acc_t* __restrict__ mean,
                                             const acc_t* __restrict__ rstd, acc_t* dw, acc_t* db, int64_t N, int64_t C, int64_t L, int64_t G) {
    const int64_t c = blockIdx.x * int64_t(BLOCK) + threadIdx.x, K = C / G;
    if (c >= C) return;
    acc_t sum = 0, dot = 0;
    for (int64_t i = 0; i < N; ++i) {
        const acc_t mu = mean[i * G + c / K], rs = rstd[i * G + c / K];
        for (int64_t l = 0; l < L; ++l) {
            const int64_t at = (i * C + c) * L + l;
            sum += acc_t(dy[at]);
            dot += acc_t(dy[at]) * ((acc_t(x[at]) - mu) * rs);
        }
    }
    dw[c] = dot;
    db[c] = sum;
}
