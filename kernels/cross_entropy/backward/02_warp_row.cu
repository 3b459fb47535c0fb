// 02_warp_row: one warp a row, so that neighbouring lanes read and write neighbouring addresses.
//
// Computes   dx[m, c] = g * (A[m] * exp(x[m, c] - hi[m]) / sum[m] - a[m, c]), A = sum_c a, a = weight[c] * ((1 - smoothing)*[c == target[m]]
//            + smoothing/C) (0 for an ignored row), or for PROBS with target[m, c] in place of [c == target[m]]; g = dy[m] (NONE), dy (SUM),
//            dy/total (MEAN); with need_t also dtarget[m, c] = -g * weight[c] * (1 - smoothing) * (x - hi - log(sum)); x, dx (M, C), D = 1
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      5*M*C
// Traffic    2*sizeof(T)*M*C B requested (x read, dx written; smoothing with weights: those too; PROBS: target read twice, dtarget written); that is
//            the floor. Besides, each of a row's 32 threads asks for its label, dy, maximum, sum and the total (24 B in float32): from cache
// Intensity  5/(2*sizeof(T)) FLOP/B requested
// Since 01   the lanes of a warp share a row: coalesced; sums of weights by a butterfly of shuffles
// Numerics   fp32 (fp64 for double); lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     the derivative of the definition; the probabilities are computed anew from x and two values a row
#include "../row.cuh"

extern "C" __global__ void cross_entropy_bwd(const T* __restrict__ dy, const T* __restrict__ x, const L* __restrict__ target, const S* weight,
                                             const acc_t* __restrict__ hi, const acc_t* __restrict__ sum, const acc_t* __restrict__ total,
                                             T* dx, T* dtarget, int64_t M, int64_t C, int64_t ignore, double smoothing, int weighted, int reduction,
                                             int need_t) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const Row row(x, target, weight, m, C, 1, smoothing, weighted);
    const acc_t g = factor(dy, total, m, reduction), top = hi[m], inverse = 1 / sum[m], log_sum = log_(sum[m]);
    int64_t t;
    bool counts;
    const acc_t A = warp_sum(add_wanted(row, threadIdx.x, 32, ignore, t, counts));
    dx += m * C;
    dtarget += m * C;
    for (int64_t c = threadIdx.x; c < C; c += 32) {
        const acc_t z = row.logit(c) - top;
        dx[c] = counts ? T(g * gradient(row, c, t, z, A, inverse)) : T(0.0f);
        if (PROBS && need_t) dtarget[c] = T(g * row.scale(c) * row.keep * (log_sum - z));
    }
}
