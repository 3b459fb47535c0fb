// 04_block_row: one block a row, for rows that are long and few.
//
// Computes   loss[m] = -sum_c a[m, c] * (x[m, c] - lse[m]) with a = weight[c] * ((1 - smoothing)*[c == target[m]] + smoothing/C), or for
//            PROBS with target[m, c] in place of [c == target[m]]; mean divides by the sum of weight[target[m]] (PROBS: by M); x is
//            (M, C), D = 1; also hi[m] = max_c x and sum[m] = sum_c exp(x - hi), which backward needs
// Launch     cross_entropy_fwd: grid M, block BLOCK, static smem (2*BLOCK/32 + 32)*sizeof(acc_t) B; cross_entropy_finish: grid 1, block BLOCK (not
//            for NONE)
// FLOPs      6*M*C
// Traffic    sizeof(T)*M*C B requested (one read; smoothing one, PROBS two more); floor sizeof(T)*M*C B
// Intensity  6/sizeof(T) FLOP/B requested
// Since 03   BLOCK threads a row in place of 32: the rows of a language model have 50,000 classes; the warps join their pairs through shared memory
// Numerics   fp32 (fp64 for double); each rescaling adds a rounding; thread-strided partial sums, then butterflies; repeatable bit for bit
// Source     Milakov & Gimelshein 2018, arXiv:1805.02867 (pairs of maximum and sum merge in any order)
#include "../row.cuh"

// The block's (maximum, sum of exponentials) from its threads': pairs merge in any order. Returns the maximum and leaves the sum in `total`.
__device__ __forceinline__ acc_t block_join(acc_t mine, acc_t& total, acc_t (*pairs)[BLOCK / 32]) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    acc_t top = warp_max(mine);
    total = warp_sum(mine == -INF ? acc_t(0) : total * exp_(mine - top));
    if (lane == 0) {
        pairs[0][warp] = top;
        pairs[1][warp] = total;
    }
    __syncthreads();
    mine = lane < BLOCK / 32 ? pairs[0][lane] : -INF;  // every warp merges the same pairs in the same order
    top = warp_max(mine);
    total = warp_sum(mine == -INF ? acc_t(0) : pairs[1][lane] * exp_(mine - top));
    return top;
}

extern "C" __global__ void cross_entropy_fwd(const T* __restrict__ x, const L* __restrict__ target, const S* weight, T* loss, acc_t* hi,
                                             acc_t* sum, acc_t* partial, int32_t* flag, int64_t M, int64_t C, int64_t ignore, double smoothing,
                                             int weighted, int reduction) {
    __shared__ acc_t pairs[2][BLOCK / 32], smem[32];
    const int64_t m = blockIdx.x;
    const Row row(x, target, weight, m, C, 1, smoothing, weighted);
    acc_t value = 0, share = 0, top = -INF, total = 0;
    for (int64_t c = threadIdx.x; c < C; c += BLOCK) {
        const acc_t v = row.logit(c), higher = nan_max(top, v);
        total = (higher == -INF ? acc_t(0) : total * exp_(top - higher) + exp_(v - higher));  // -inf - -inf would be NaN
        top = higher;
    }
    top = block_join(top, total, pairs);
    if (threadIdx.x == 0) {
        hi[m] = top;
        sum[m] = total;
    }
    add_loss(row, top, log_(total), threadIdx.x, BLOCK, ignore, flag, value, share);
    value = block_sum(value, smem);
    if (threadIdx.x != 0) return;
    if (reduction == NONE) loss[m] = T(value);
    else {
        partial[m] = value;
        partial[M + m] = share;
    }
}

extern "C" __global__ void cross_entropy_finish(const acc_t* partial, T* loss, acc_t* total, int64_t M, int reduction) {
    finish(partial, loss, total, M, reduction);
}
