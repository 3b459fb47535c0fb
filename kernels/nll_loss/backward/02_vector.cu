// 02_vector: 16 bytes a store, and one look at the label for all of them.
//
// Computes   dx[m, c] = -g * weight[c] where c == target[m] and the row is not ignored, else 0; g = dy[m] (NONE), dy (SUM), dy/total (MEAN);
//            dx is (M, C), D = 1, rows of a multiple of 16 bytes
// Launch     grid ceil(M*C/(BLOCK*N)), block BLOCK; N = 16/sizeof(T)
// FLOPs      M
// Traffic    sizeof(T)*M*C + sizeof(L)*M*C/N B requested (the labels from cache); floor sizeof(T)*M*C B
// Since 01   N neighbours lie in one row: one division, one label and one store for them
// Numerics   fp32 (fp64 for double); bit for bit that of 01
// Source     Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"
#include "loss.cuh"

#define N (16 / int(sizeof(T)))
typedef Vec<T, N> Wide;

extern "C" __global__ void nll_loss_bwd(const T* __restrict__ dy, const L* __restrict__ target, const S* weight, const acc_t* __restrict__ total,
                                        T* __restrict__ dx, int64_t M, int64_t C, int64_t ignore, int weighted, int reduction) {
    const int64_t i = (blockIdx.x * int64_t(BLOCK) + threadIdx.x) * N;
    if (i >= M * C) return;
    const int64_t m = i / C, c = i % C, t = target[m];
    acc_t v = 0;
    if (c <= t && t < c + N && t != ignore) {
        const acc_t g = reduction == NONE ? acc_t(dy[m]) : reduction == SUM ? acc_t(dy[0]) : acc_t(dy[0]) / *total;
        v = -g * (weighted ? acc_t(weight[t]) : acc_t(1));
    }
    Wide out;
    for (int k = 0; k < N; ++k) out.v[k] = c + k == t ? T(v) : T(0.0f);
    *reinterpret_cast<Wide*>(dx + i) = out;
}
