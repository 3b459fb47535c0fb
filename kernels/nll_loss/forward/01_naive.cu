// 01_naive: one thread a row; a block adds its rows' losses, and a second launch of one block adds the blocks'.
//
// Computes   loss[m] = -weight[target[m]] * x[m, target[m]], 0 for an ignored row; mean divides by the sum of weight[target[m]];
//            x is (N, C, D), row m = (n, d), M = N*D
// Launch     nll_loss_fwd: grid ceil(M/BLOCK), block BLOCK; nll_loss_finish: grid 1, block BLOCK (not for NONE)
// FLOPs      2*M
// Traffic    (sizeof(T) + sizeof(L))*M B, with a weight sizeof(S)*M B more, NONE sizeof(T)*M B more; that is the floor (in sectors: 32 B a row of x,
//            where C is large)
// Numerics   fp32 (fp64 for double); repeatable bit for bit
// Source     the definition
#include "common.cuh"
#include "loss.cuh"

// A label outside [0, C) that is not `ignore` is reported in `flag` (code 1) and counts as ignored.
extern "C" __global__ void nll_loss_fwd(const T* __restrict__ x, const L* __restrict__ target, const S* weight, T* loss, acc_t* partial,
                                        int32_t* flag, int64_t M, int64_t C, int64_t D, int64_t ignore, int weighted,
                                        int reduction) {
    __shared__ acc_t smem[32];
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    acc_t value = 0, share = 0;
    if (m < M) {
        const int64_t t = target[m];
        if (t != ignore && (t < 0 || t >= C)) atomicMax(flag, 1);  // kept: an error of the caller, made by no sample but in tests/test_losses.py
        else if (t != ignore) {
            share = weighted ? acc_t(weight[t]) : acc_t(1);
            value = -share * acc_t(x[(m / D * C + t) * D + m % D]);
        }
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

extern "C" __global__ void nll_loss_finish(const acc_t* partial, T* loss, acc_t* total, int64_t M, int reduction) {
    __shared__ acc_t smem[32];
    const int64_t blocks = (M + BLOCK - 1) / BLOCK;
    const acc_t value = ordered_sum(partial, blocks, smem), share = ordered_sum(partial + blocks, blocks, smem);
    if (threadIdx.x == 0) {
        *total = share;
        *loss = T(reduction == MEAN ? value / share : value);
    }
}
