// 01_naive: one thread an element.
//
// Computes   dx[i] = g * f_dx(x[i], t[i], p, w[i]) where need_x, dt[i] = g * f_dt(...) where need_t; f of formulas.cuh by `kind`;
//            g = dy[i] (NONE), dy (SUM), dy/size (MEAN); x, t, w of one shape by broadcasting
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      3*size (mse_loss) to about 20*size (with exp)
// Traffic    4*sizeof(T)*size B requested (every thread asks for dy), sizeof(T)*size B more for both gradients and for w; floor, with a dy that
//            all share (not NONE), 3*sizeof(T)*size B
// Numerics   fp32 (fp64 for double)
// Source     the derivatives of the definitions
#include "common.cuh"
#include "loss.cuh"
#include "../formulas.cuh"

extern "C" __global__ void pointwise_loss_bwd(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ t, const T* __restrict__ w,
                                              T* dx, T* dt, Dims dims, int64_t size, int kind, double p, int third, int reduction, int need_x,
                                              int need_t) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[3];
    offsets(dims, i, at, 3);
    const acc_t g = reduction == NONE ? acc_t(dy[i]) : reduction == SUM ? acc_t(dy[0]) : acc_t(dy[0]) / acc_t(size);
    const acc_t a = acc_t(x[at[0]]), b = acc_t(t[at[1]]), c = third ? acc_t(w[at[2]]) : acc_t(1);
    if (need_x) dx[i] = T(g * loss_dx(kind, a, b, acc_t(p), c));
    if (need_t) dt[i] = T(g * loss_dt(kind, a, b, acc_t(p), c));
}
