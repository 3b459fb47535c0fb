// 01_naive: one thread a row.
//
// Computes   dx[m, c] = g * (A[m] * exp(x[m, c] - hi[m]) / sum[m] - a[m, c]), A = sum_c a, a = weight[c] * ((1 - smoothing)*[c == target[m]]
//            + smoothing/C) (0 for an ignored row), or for PROBS with target[m, c] in place of [c == target[m]]; g = dy[m] (NONE), dy (SUM),
//            dy/total (MEAN); with need_t also dtarget[m, c] = -g * weight[c] * (1 - smoothing) * (x - hi - log(sum)); x, dx (N, C, D)
// Launch     grid ceil(M/BLOCK), block BLOCK; M = N*D rows
// FLOPs      5*M*C
// Traffic    2*sizeof(T)*M*C B requested (x read, dx written; smoothing with weights: those too; PROBS: target read twice, dtarget written); that is
//            the floor
// Intensity  5/(2*sizeof(T)) FLOP/B requested
// Numerics   fp32 (fp64 for double)
// Source     the derivative of the definition; the probabilities are computed anew from x and two values a row
#include "../row.cuh"

extern "C" __global__ void cross_entropy_bwd(const T* __restrict__ dy, const T* __restrict__ x, const L* __restrict__ target, const S* weight,
                                             const acc_t* __restrict__ hi, const acc_t* __restrict__ sum, const acc_t* __restrict__ total,
                                             T* dx, T* dtarget, int64_t M, int64_t C, int64_t D, int64_t ignore, double smoothing, int weighted,
                                             int reduction, int need_t) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (m >= M) return;
    const Row row(x, target, weight, m, C, D, smoothing, weighted);
    const acc_t g = factor(dy, total, m, reduction), top = hi[m], inverse = 1 / sum[m], log_sum = log_(sum[m]);
    int64_t t;
    bool counts;
    const acc_t A = add_wanted(row, 0, 1, ignore, t, counts);
    dx += row.x - x;
    dtarget += row.x - x;
    for (int64_t c = 0; c < C; ++c) {
        const acc_t z = row.logit(c) - top;
        dx[c * D] = counts ? T(g * gradient(row, c, t, z, A, inverse)) : T(0.0f);
        if (PROBS && need_t) dtarget[c * D] = T(g * row.scale(c) * row.keep * (log_sum - z));
    }
}
