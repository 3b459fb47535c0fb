// 01_naive: one thread an element.
//
// Computes   dx[i] = g * LOSS_dx(x[i], t[i], p, w[i]), dt[i] = g * LOSS_dt(...) of formulas.cuh; g = dy[i] (NONE), dy (SUM), dy/size (MEAN)
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      3*size (mse_loss) to about 20*size (with exp)
// Traffic    3*sizeof(T)*size B, 4*sizeof(T)*size B with both gradients; that is the floor
// Numerics   fp32 (fp64 for double)
// Source     the derivatives of the definitions
#include "common.cuh"
#include "loss.cuh"
#include "../formulas.cuh"

extern "C" __global__ void pointwise_loss_bwd(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ t, const T* __restrict__ w,
                                              T* dx, T* dt, Dims dims, int64_t size, double p) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[3];
    offsets(dims, i, at, 3);
    const acc_t g = REDUCTION == NONE ? acc_t(dy[i]) : REDUCTION == SUM ? acc_t(dy[0]) : acc_t(dy[0]) / acc_t(size);
    const acc_t a = acc_t(x[at[0]]), b = acc_t(t[at[1]]), c = THIRD ? acc_t(w[at[2]]) : acc_t(1);
    if (DX) dx[i] = T(g * JOIN(LOSS, _dx)(a, b, acc_t(p), c));
    if (DT) dt[i] = T(g * JOIN(LOSS, _dt)(a, b, acc_t(p), c));
}
