// 02_warp_row: one warp a row, maximum and sum of exponentials in one pass.
//
// Computes   loss[m] = -sum_c a[m, c] * (x[m, c] - lse[m]) with a = weight[c] * ((1 - smoothing)*[c == target[m]] + smoothing/C), or for
//            PROBS with target[m, c] in place of [c == target[m]]; mean divides by the sum of weight[target[m]] (PROBS: by M); x is
//            (M, C), D = 1; also hi[m] = max_c x and sum[m] = sum_c exp(x - hi), which backward needs
// Launch     cross_entropy_fwd: grid ceil(M/ROWS), block (32, ROWS); cross_entropy_finish: grid 1, block 256 (not for NONE)
// FLOPs      6*M*C
// Traffic    sizeof(T)*M*C B requested (one read; smoothing and PROBS one or two more); floor sizeof(T)*M*C B
// Intensity  6/sizeof(T) FLOP/B requested
// Since 01   the lanes of a warp share a row (coalesced), and the running sum is rescaled when the maximum grows: one read of x
// Numerics   fp32 (fp64 for double); lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     Milakov & Gimelshein 2018, arXiv:1805.02867; smoothing: Szegedy et al. 2016, arXiv:1512.00567
#include "common.cuh"
#include "loss.cuh"

// A label outside [0, C) that is not `ignore` is reported in `flag` (code 1) and counts as ignored.
extern "C" __global__ void cross_entropy_fwd(const T* __restrict__ x, const L* __restrict__ target, const S* weight, T* loss, acc_t* hi,
                                             acc_t* sum, acc_t* partial, int32_t* flag, int64_t M, int64_t C, int64_t D, int64_t ignore,
                                             double smoothing) {
    __shared__ acc_t smem[32];
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    const int lane = threadIdx.x;
    acc_t value = 0, share = 0;
    if (m < M) {  // a whole warp
        const T* row = x + m * C;
        acc_t top = -INF, total = 0;
        for (int64_t c = lane; c < C; c += 32) {
            const acc_t v = acc_t(row[c]), higher = nan_max(top, v);
            total = (higher == -INF ? acc_t(0) : total * exp_(top - higher) + exp_(v - higher));
            top = higher;
        }
        const acc_t mine = top;
        top = warp_max(top);
        total = warp_sum(mine == -INF ? acc_t(0) : total * exp_(mine - top));
        if (lane == 0) {
            hi[m] = top;
            sum[m] = total;
        }
        const acc_t log_sum = log_(total), keep = 1 - smoothing, spread = smoothing / C;
#if PROBS
        for (int64_t c = lane; c < C; c += 32) {
            const acc_t a = (WEIGHT ? acc_t(weight[c]) : acc_t(1)) * (acc_t(target[m * C + c]) * keep + spread);
            value += a * (log_sum - (acc_t(row[c]) - top));
        }
        share = lane == 0;
#else
        const int64_t t = target[m];
        if (t != ignore && (t < 0 || t >= C)) {
            if (lane == 0) atomicMax(flag, 1);
        } else if (t != ignore) {
            if (lane == 0) {
                share = WEIGHT ? acc_t(weight[t]) : acc_t(1);
                value = keep * share * (log_sum - (acc_t(row[t]) - top));
            }
            if (smoothing > 0)
                for (int64_t c = lane; c < C; c += 32)
                    value += spread * (WEIGHT ? acc_t(weight[c]) : acc_t(1)) * (log_sum - (acc_t(row[c]) - top));
        }
#endif
        if (REDUCTION == NONE) {
            value = warp_sum(value);
            if (lane == 0) loss[m] = T(value);
        }
    }
    if (REDUCTION != NONE) {
        value = block_sum(value, smem);
        share = block_sum(share, smem);
        if (lane == 0 && threadIdx.y == 0) {
            partial[blockIdx.x] = value;
            partial[gridDim.x + blockIdx.x] = share;
        }
    }
}

extern "C" __global__ void cross_entropy_finish(const acc_t* partial, T* loss, acc_t* total, int64_t M) {
    __shared__ acc_t smem[32];
    const int64_t blocks = (M + ROWS - 1) / ROWS;
    const acc_t value = ordered_sum(partial, blocks, smem), share = ordered_sum(partial + blocks, blocks, smem);
    if (threadIdx.x == 0) {
        *total = share;
        *loss = T(REDUCTION == MEAN ? value / share : value);
    }
}
