// 01_naive: one thread an element writes its loss; a second launch of one block adds them all.
//
// Computes   loss[i] = f(x[i], t[i], p, w[i]), f of formulas.cuh by `kind`, its sum, or its sum / size; x, t, w of one shape by broadcasting
// Launch     pointwise_loss_fwd: grid ceil(size/BLOCK), block BLOCK; pointwise_loss_finish: grid 1, block BLOCK (not for NONE)
// FLOPs      3*size (mse_loss) to about 20*size (with exp and log1p)
// Traffic    2*sizeof(T)*size + 2*sizeof(acc_t)*size B requested (values written and read again), NONE: 3*sizeof(T)*size B; with w sizeof(T)*size B
//            more; floor 2*sizeof(T)*size B
// Numerics   fp32 (fp64 for double); the order of the sum is fixed: repeatable bit for bit
// Source     the definitions
#include "common.cuh"
#include "loss.cuh"
#include "../formulas.cuh"

// An input outside [0, 1] is reported in `flag` (code 5) where `checked`.
extern "C" __global__ void pointwise_loss_fwd(const T* __restrict__ x, const T* __restrict__ t, const T* __restrict__ w, T* loss, acc_t* values,
                                              int32_t* flag, Dims dims, int64_t size, int kind, double p, int third, int reduction, int checked) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[3];
    offsets(dims, i, at, 3);
    const acc_t v = acc_t(x[at[0]]);
    if (checked && (v < 0 || v > 1)) atomicMax(flag, 5);
    const acc_t value = loss_of(kind, v, acc_t(t[at[1]]), acc_t(p), third ? acc_t(w[at[2]]) : acc_t(1));
    if (reduction == NONE) loss[i] = T(value);
    else values[i] = value;
}

extern "C" __global__ void pointwise_loss_finish(const acc_t* values, T* loss, int64_t size, int reduction) {
    __shared__ acc_t smem[32];
    const acc_t sum = ordered_sum(values, size, smem);
    if (threadIdx.x == 0) *loss = T(reduction == MEAN ? sum / acc_t(size) : sum);
}
