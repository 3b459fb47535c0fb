// 02_warp_row: one warp a row, so that neighbouring lanes read neighbouring addresses.
//
// Computes   loss[m] = -sum_c a[m, c] * (x[m, c] - lse[m]) with a = weight[c] * ((1 - smoothing)*[c == target[m]] + smoothing/C), or for
//            PROBS with target[m, c] in place of [c == target[m]]; mean divides by the sum of weight[target[m]] (PROBS: by M); x is
//            (M, C), D = 1; also hi[m] = max_c x and sum[m] = sum_c exp(x - hi), which backward needs
// Launch     cross_entropy_fwd: grid ceil(M/ROWS), block (32, ROWS); cross_entropy_finish: grid 1, block 256 (not for NONE)
// FLOPs      4*M*C
// Traffic    2*sizeof(T)*M*C B requested (two reads; smoothing one, PROBS two more); floor sizeof(T)*M*C B
// Intensity  2/sizeof(T) FLOP/B requested
// Since 01   the lanes of a warp share a row (coalesced): each takes every 32nd class, butterflies of shuffles join the maxima and the sums
// Numerics   fp32 (fp64 for double); lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     Luitjens 2014, "Faster Parallel Reductions on Kepler" (NVIDIA); smoothing: Szegedy et al. 2016, arXiv:1512.00567
#include "../row.cuh"

extern "C" __global__ void cross_entropy_fwd(const T* __restrict__ x, const L* __restrict__ target, const S* weight, T* loss, acc_t* hi,
                                             acc_t* sum, acc_t* partial, int32_t* flag, int64_t M, int64_t C, int64_t ignore, double smoothing,
                                             int weighted, int reduction) {
    __shared__ acc_t smem[32];
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    const int lane = threadIdx.x;
    acc_t value = 0, share = 0;
    if (m < M) {  // a whole warp
        const Row row(x, target, weight, m, C, 1, smoothing, weighted);
        acc_t top = -INF, total = 0;
        for (int64_t c = lane; c < C; c += 32) top = nan_max(top, row.logit(c));
        top = warp_max(top);
        for (int64_t c = lane; c < C; c += 32) total += exp_(row.logit(c) - top);
        total = warp_sum(total);
        if (lane == 0) {
            hi[m] = top;
            sum[m] = total;
        }
        add_loss(row, top, log_(total), lane, 32, ignore, flag, value, share);
        if (reduction == NONE) {
            value = warp_sum(value);
            if (lane == 0) loss[m] = T(value);
        }
    }
    if (reduction != NONE) {
        value = block_sum(value, smem);
        share = block_sum(share, smem);
        if (lane == 0 && threadIdx.y == 0) {
            partial[blockIdx.x] = value;
            partial[gridDim.x + blockIdx.x] = share;
        }
    }
}

extern "C" __global__ void cross_entropy_finish(const acc_t* partial, T* loss, acc_t* total, int64_t M, int reduction) {
    finish(partial, loss, total, (M + ROWS - 1) / ROWS, reduction);
}
