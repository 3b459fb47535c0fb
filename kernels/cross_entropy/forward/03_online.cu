// 03_online: maximum and sum of exponentials in one pass; the sum is rescaled whenever the maximum grows.
//
// Computes   loss[m] = -sum_c a[m, c] * (x[m, c] - lse[m]) with a = weight[c] * ((1 - smoothing)*[c == target[m]] + smoothing/C), or for
//            PROBS with target[m, c] in place of [c == target[m]]; mean divides by the sum of weight[target[m]] (PROBS: by M); x is
//            (M, C), D = 1; also hi[m] = max_c x and sum[m] = sum_c exp(x - hi), which backward needs
// Launch     cross_entropy_fwd: grid ceil(M/ROWS), block (32, ROWS); cross_entropy_finish: grid 1, block 256 (not for NONE)
// FLOPs      6*M*C
// Traffic    sizeof(T)*M*C B requested (one read; smoothing one, PROBS two more); floor sizeof(T)*M*C B
// Intensity  6/sizeof(T) FLOP/B requested
// Since 02   one read of x in place of two, for a second exponential an element
// Numerics   fp32 (fp64 for double); each rescaling adds a rounding; lane-strided partial sums, then a butterfly; repeatable bit for bit
// Source     Milakov & Gimelshein 2018, arXiv:1805.02867; smoothing: Szegedy et al. 2016, arXiv:1512.00567
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
        for (int64_t c = lane; c < C; c += 32) {
            const acc_t v = row.logit(c), higher = nan_max(top, v);
            total = (higher == -INF ? acc_t(0) : total * exp_(top - higher) + exp_(v - higher));  // -inf - -inf would be NaN
            top = higher;
        }
        const acc_t mine = top;
        top = warp_max(top);
        total = warp_sum(mine == -INF ? acc_t(0) : total * exp_(mine - top));
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
