// 02_several: EACH rows a thread, so that their loads are in flight together.
//
// Computes   loss[m] = -weight[target[m]] * x[m, target[m]], 0 for an ignored row; mean divides by the sum of weight[target[m]];
//            x is (N, C, D), row m = (n, d), M = N*D
// Launch     nll_loss_fwd: grid ceil(M/(BLOCK*EACH)), block BLOCK; nll_loss_finish: grid 1, block BLOCK (not for NONE)
// FLOPs      2*M
// Traffic    (sizeof(T) + sizeof(L))*M B, with a weight sizeof(S)*M B more, NONE sizeof(T)*M B more; that is the floor (in sectors: 32 B a row of x,
//            where C is large)
// Since 01   a thread's only work is two loads of which the second waits for the first: with EACH rows, all labels are asked for, then all logits. And
//            an EACH-th of the partial sums
// Numerics   fp32 (fp64 for double); repeatable bit for bit
// Source     the definition
#include "common.cuh"
#include "loss.cuh"

// A label outside [0, C) that is not `ignore` is reported in `flag` (code 1) and counts as ignored.
extern "C" __global__ void nll_loss_fwd(const T* __restrict__ x, const L* __restrict__ target, const S* weight, T* loss, acc_t* partial,
                                        int32_t* flag, int64_t M, int64_t C, int64_t D, int64_t ignore, int weighted,
                                        int reduction) {
    __shared__ acc_t smem[32];
    const int64_t first = blockIdx.x * int64_t(BLOCK * EACH) + threadIdx.x;
    int64_t t[EACH];
    acc_t v[EACH], w[EACH];
#pragma unroll
    for (int k = 0; k < EACH; ++k) t[k] = first + k * BLOCK < M ? int64_t(target[first + k * BLOCK]) : ignore;
#pragma unroll
    for (int k = 0; k < EACH; ++k) {  // nothing here waits for a load: a row that does not count has weight 0
        const int64_t m = first + k * BLOCK;
        const bool wrong = t[k] != ignore && (t[k] < 0 || t[k] >= C), counts = t[k] != ignore && !wrong;  // kept: as in 01
        if (wrong) atomicMax(flag, 1);
        v[k] = counts ? acc_t(x[(m / D * C + t[k]) * D + m % D]) : acc_t(0);
        w[k] = !counts ? acc_t(0) : weighted ? acc_t(weight[t[k]]) : acc_t(1);
    }
    acc_t value = 0, share = 0;
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        if (reduction == NONE && first + k * BLOCK < M) loss[first + k * BLOCK] = T(-w[k] * v[k]);
        value -= w[k] * v[k];
        share += w[k];
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

extern "C" __global__ void nll_loss_finish(const acc_t* partial, T* loss, acc_t* total, int64_t M, int reduction) {
    __shared__ acc_t smem[32];
    const int64_t blocks = (M + BLOCK * EACH - 1) / (BLOCK * EACH);
    const acc_t value = ordered_sum(partial, blocks, smem), share = ordered_sum(partial + blocks, blocks, smem);
    if (threadIdx.x == 0) {
        *total = share;
        *loss = T(reduction == MEAN ? value / share : value);
    }
}
