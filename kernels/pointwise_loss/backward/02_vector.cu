// 02_vector: 16 bytes a load and a store, and no index arithmetic.
//
// Computes   dx[i] = g * f_dx(x[i], t[i], p, w[i]) where need_x, dt[i] = g * f_dt(...) where need_t; f of formulas.cuh by `kind`;
//            g = dy[i] (NONE), dy (SUM), dy/size (MEAN); x, t, w contiguous, of one shape
// Launch     grid ceil(size/(BLOCK*N)), block BLOCK; N = 16/sizeof(T)
// FLOPs      3*size (mse_loss) to about 20*size (with exp)
// Traffic    3*sizeof(T)*size B, sizeof(T)*size B more for each of: both gradients, w, NONE; that is the floor (else sizeof(T) B a thread for dy)
// Since 01   contiguous operands need no division an axis, and N neighbours move as one access
// Numerics   fp32 (fp64 for double); bit for bit that of 01
// Source     Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"
#include "loss.cuh"
#include "../formulas.cuh"

#define N (16 / int(sizeof(T)))
typedef Vec<T, N> Wide;

extern "C" __global__ void pointwise_loss_bwd(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ t, const T* __restrict__ w,
                                              T* dx, T* dt, int64_t size, int kind, double p, int third, int reduction, int need_x, int need_t) {
    const int64_t first = (blockIdx.x * int64_t(BLOCK) + threadIdx.x) * N;
    const acc_t g = reduction == NONE ? acc_t(0) : reduction == SUM ? acc_t(dy[0]) : acc_t(dy[0]) / acc_t(size);
    const bool aligned = is_aligned<T, N>(x) && is_aligned<T, N>(t) && (!third || is_aligned<T, N>(w)) && (reduction != NONE || is_aligned<T, N>(dy)) &&
                         is_aligned<T, N>(dx) && is_aligned<T, N>(dt);
    if (aligned && first + N <= size) {
        Wide d, c, out;
        const Wide a = *reinterpret_cast<const Wide*>(x + first), b = *reinterpret_cast<const Wide*>(t + first);
        if (third) c = *reinterpret_cast<const Wide*>(w + first);
        if (reduction == NONE) d = *reinterpret_cast<const Wide*>(dy + first);
        if (need_x) {
            for (int j = 0; j < N; ++j)
                out.v[j] = T((reduction == NONE ? acc_t(d.v[j]) : g) * loss_dx(kind, acc_t(a.v[j]), acc_t(b.v[j]), acc_t(p), third ? acc_t(c.v[j]) : acc_t(1)));
            *reinterpret_cast<Wide*>(dx + first) = out;
        }
        if (need_t) {
            for (int j = 0; j < N; ++j)
                out.v[j] = T((reduction == NONE ? acc_t(d.v[j]) : g) * loss_dt(kind, acc_t(a.v[j]), acc_t(b.v[j]), acc_t(p), third ? acc_t(c.v[j]) : acc_t(1)));
            *reinterpret_cast<Wide*>(dt + first) = out;
        }
        return;
    }
    for (int64_t i = first; i < first + N && i < size; ++i) {  // the end, or a view that starts between multiples of 16 bytes
        const acc_t a = acc_t(x[i]), b = acc_t(t[i]), c = third ? acc_t(w[i]) : acc_t(1), h = reduction == NONE ? acc_t(dy[i]) : g;
        if (need_x) dx[i] = T(h * loss_dx(kind, a, b, acc_t(p), c));
        if (need_t) dt[i] = T(h * loss_dt(kind, a, b, acc_t(p), c));
    }
}
