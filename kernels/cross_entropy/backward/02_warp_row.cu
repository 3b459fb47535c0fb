// 02_warp_row: one warp a row, so that neighbouring lanes read and write neighbouring addresses.
//
// Computes   dx[m, c] = g * (A[m] * exp(x[m, c] - hi[m]) / sum[m] - a[m, c]), A = sum_c a, a = weight[c] * ((1 - smoothing)*[c == target[m]]
//            + smoothing/C) (0 for an ignored row), or for PROBS with target[m, c] in place of [c == target[m]]; g = dy[m] (NONE), dy (SUM),
//            dy/total (MEAN); TARGET: also dtarget[m, c] = -g * weight[c] * (1 - smoothing) * (x - hi - log(sum)); x, dx (M, C), D = 1
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a row
// FLOPs      5*M*C
// Traffic    2*sizeof(T)*M*C B requested (x read, dx written; PROBS: target read twice); that is the floor
// Intensity  5/(2*sizeof(T)) FLOP/B requested
// Since 01   the lanes of a warp share a row: coalesced; sums of weights by a butterfly of shuffles
// Numerics   fp32 (fp64 for double); lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     the derivative of the definition; the probabilities are computed anew from x and two values a row
#include "common.cuh"
#include "loss.cuh"

extern "C" __global__ void cross_entropy_bwd(const T* __restrict__ dy, const T* __restrict__ x, const L* __restrict__ target, const S* weight,
                                             const acc_t* __restrict__ hi, const acc_t* __restrict__ sum, const acc_t* __restrict__ total,
                                             T* dx, T* dtarget, int64_t M, int64_t C, int64_t D, int64_t ignore, double smoothing) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const int lane = threadIdx.x;
    const int64_t start = m * C;
    const acc_t g = REDUCTION == NONE ? acc_t(dy[m]) : REDUCTION == SUM ? acc_t(dy[0]) : acc_t(dy[0]) / *total;
    const acc_t top = hi[m], scale = 1 / sum[m], keep = 1 - smoothing, spread = smoothing / C;
    acc_t A = 0;
#if PROBS
    for (int64_t c = lane; c < C; c += 32) A += (WEIGHT ? acc_t(weight[c]) : acc_t(1)) * (acc_t(target[start + c]) * keep + spread);
    A = warp_sum(A);
#else
    const int64_t t = target[m];
    const bool valid = t != ignore && t >= 0 && t < C;
    if (valid) {  // the same for the whole warp
        if (smoothing > 0) {
            for (int64_t c = lane; c < C; c += 32) A += spread * (WEIGHT ? acc_t(weight[c]) : acc_t(1));
            A = warp_sum(A);
        }
        A += keep * (WEIGHT ? acc_t(weight[t]) : acc_t(1));
    }
#endif
    for (int64_t c = lane; c < C; c += 32) {
        const int64_t at = start + c;
        const acc_t w = WEIGHT ? acc_t(weight[c]) : acc_t(1), z = acc_t(x[at]) - top;
#if PROBS
        dx[at] = T(g * (A * (exp_(z) * scale) - w * (acc_t(target[at]) * keep + spread)));
        if (TARGET) dtarget[at] = T(g * w * keep * (log_(sum[m]) - z));
#else
        dx[at] = valid ? T(g * (A * (exp_(z) * scale) - w * ((c == t ? keep : acc_t(0)) + spread))) : T(0.0f);
#endif
    }
}
