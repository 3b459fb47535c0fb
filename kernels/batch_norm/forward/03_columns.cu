// 03_columns: for (N, C) inputs a lane is a channel, so that a warp reads 32 neighbouring values of a row.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RELU: at least 0); mean and biased variance over the N rows,
//            rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C); L = 1; N >= 2
// Launch     grid ceil(C/32), block (32, ROWS), static smem 96*ROWS*sizeof(acc_t) B
// FLOPs      12*N*C
// Traffic    3*sizeof(T)*N*C B requested (two reads, one write); floor 2*sizeof(T)*N*C B
// Intensity  4/sizeof(T) FLOP/B requested
// Since 02   there neighbouring threads of (N, C) read addresses C apart; here they are neighbours, and ROWS warps share the rows
// Numerics   fp32 (fp64 for double); Welford, merged in the order of the warps: repeatable bit for bit
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging)
#include "common.cuh"

extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias, R* running_mean,
                                          R* running_var, T* __restrict__ y, acc_t* mean, acc_t* rstd, int64_t N, int64_t C, int64_t L,
                                          double momentum, double eps) {
    __shared__ acc_t ks[ROWS][32], means[ROWS][32], m2s[ROWS][32];
    const int lane = threadIdx.x, row = threadIdx.y;
    const int64_t c = blockIdx.x * int64_t(32) + lane;
    acc_t k = 0, mu = 0, m2 = 0;
    if (c < C)
        for (int64_t i = row; i < N; i += ROWS) {
            const acc_t v = acc_t(x[i * C + c]), d = v - mu;
            k += 1;
            mu += d / k;
            m2 += d * (v - mu);
        }
    ks[row][lane] = k;
    means[row][lane] = mu;
    m2s[row][lane] = m2;
    __syncthreads();
    if (c >= C) return;  // no barrier follows
    k = ks[0][lane], mu = means[0][lane], m2 = m2s[0][lane];  // every warp merges the same values in the same order
    for (int r = 1; r < ROWS; ++r) {
        const acc_t kr = ks[r][lane], total = k + kr;
        if (kr == 0) continue;
        const acc_t d = means[r][lane] - mu, share = kr / total;
        mu += d * share;
        m2 += m2s[r][lane] + d * d * k * share;
        k = total;
    }
    const acc_t rs = 1 / sqrt_(m2 / k + acc_t(eps));
    if (row == 0) {
        mean[c] = mu;
        rstd[c] = rs;
        if (RUNNING) {
            const acc_t m = momentum, keep = 1 - momentum;
            running_mean[c] = R(keep * acc_t(running_mean[c]) + m * mu);
            running_var[c] = R(keep * acc_t(running_var[c]) + m * (m2 / (k - 1)));
        }
    }
    const acc_t scale = WEIGHT ? rs * acc_t(weight[c]) : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
    for (int64_t i = row; i < N; i += ROWS) {
        const acc_t v = (acc_t(x[i * C + c]) - mu) * scale + shift;
        y[i * C + c] = T(RELU ? nan_max(v, acc_t(0)) : v);
    }
}
