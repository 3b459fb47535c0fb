// 01_naive: one thread a row; a block adds its rows' losses, and a second launch of one block adds the blocks'.
//
// Computes   loss[m] = -sum_c a[m, c] * (x[m, c] - lse[m]) with a = weight[c] * ((1 - smoothing)*[c == target[m]] + smoothing/C), or for
//            PROBS with target[m, c] in place of [c == target[m]]; mean divides by the sum of weight[target[m]] (PROBS: by M); x is
//            (N, C, D), row m = (n, d), M = N*D; also hi[m] = max_c x and sum[m] = sum_c exp(x - hi), which backward needs
// Launch     cross_entropy_fwd: grid ceil(M/BLOCK), block BLOCK; cross_entropy_finish: grid 1, block BLOCK (not for NONE)
// FLOPs      4*M*C
// Traffic    2*sizeof(T)*M*C B requested (two reads; smoothing one, PROBS two more); floor sizeof(T)*M*C B
// Intensity  2/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), in order of c; log(sum) - (x - hi), so that large logits keep their digits; repeatable bit for bit
// Source     the definition; smoothing: Szegedy et al. 2016, arXiv:1512.00567
#include "../row.cuh"

extern "C" __global__ void cross_entropy_fwd(const T* __restrict__ x, const L* __restrict__ target, const S* weight, T* loss, acc_t* hi,
                                             acc_t* sum, acc_t* partial, int32_t* flag, int64_t M, int64_t C, int64_t D, int64_t ignore,
                                             double smoothing, int weighted, int reduction) {
    __shared__ acc_t smem[32];
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    acc_t value = 0, share = 0;
    if (m < M) {
        const Row row(x, target, weight, m, C, D, smoothing, weighted);
        acc_t top = -INF, total = 0;
        for (int64_t c = 0; c < C; ++c) top = nan_max(top, row.logit(c));
        for (int64_t c = 0; c < C; ++c) total += exp_(row.logit(c) - top);
        hi[m] = top;
        sum[m] = total;
        add_loss(row, top, log_(total), 0, 1, ignore, flag, value, share);
        if (reduction == NONE) loss[m] = T(value);
    }
    if (reduction != NONE) {
        value = block_sum(value, smem);
        share = block_sum(share, smem);
        if (threadIdx.x == 0) {
            partial[blockIdx.x] = value;
            partial[gridDim.x + blockIdx.x] = share;
        }
    }
}

extern "C" __global__ void cross_entropy_finish(const acc_t* partial, T* loss, acc_t* total, int64_t M, int reduction) {
    finish(partial, loss, total, (M + BLOCK - 1) / BLOCK, reduction);
}
