// 01_naive: one thread an element.
//
// Computes   dx[m, c] = -g * weight[c] where c == target[m] and the row is not ignored, else 0; g = dy[m] (NONE), dy (SUM), dy/total (MEAN);
//            dx is (N, C, D), row m = (n, d)
// Launch     grid ceil(M*C/BLOCK), block BLOCK
// FLOPs      M
// Traffic    (sizeof(T) + sizeof(L))*M*C B requested (every element asks for its row's label: from cache); floor sizeof(T)*M*C B
// Numerics   fp32 (fp64 for double)
// Source     the derivative of the definition
#include "common.cuh"
#include "loss.cuh"

extern "C" __global__ void nll_loss_bwd(const T* __restrict__ dy, const L* __restrict__ target, const S* weight, const acc_t* __restrict__ total,
                                        T* __restrict__ dx, int64_t M, int64_t C, int64_t D, int64_t ignore, int weighted,
                                        int reduction) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * C) return;
    const int64_t m = i / (C * D) * D + i % D, c = i / D % C, t = target[m];
    acc_t v = 0;
    if (c == t && t != ignore) {
        const acc_t g = reduction == NONE ? acc_t(dy[m]) : reduction == SUM ? acc_t(dy[0]) : acc_t(dy[0]) / *total;
        v = -g * (weighted ? acc_t(weight[c]) : acc_t(1));
    }
    dx[i] = T(v);
}
