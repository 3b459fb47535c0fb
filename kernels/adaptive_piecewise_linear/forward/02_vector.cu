// 02_vector: N neighbours of one unit a thread, which share the loads of its slopes and hinges.
//
// Computes   y[o, u, i] = max(0, x[o, u, i]) + sum_s a[s, u] * max(0, b[s, u] - x[o, u, i]); x, y (O, U, I), a, b (S, U); I a multiple of N
// Launch     grid ceil(O*U*I/(N*BLOCK)), block BLOCK; N = 16 / sizeof(T)
// FLOPs      O*U*I*(3*S + 1)
// Traffic    sizeof(T)*O*U*I*(2 + 2*S/N) B
// Since 01   16 bytes a load and a store of x and y; a and b are read once for N elements
// Numerics   as 01
// Source     as 01
#include "common.cuh"

extern "C" __global__ void apl_fwd(
    const T* __restrict__ x, const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int64_t O, int64_t U, int64_t I, int64_t S) {
    constexpr int N = 16 / sizeof(T);
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j * N >= O * U * I) return;
    const int64_t u = j * N / I % U;
    const Vec<T, N> in = reinterpret_cast<const Vec<T, N>*>(x)[j];
    acc_t sum[N];
    #pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = acc_t(in.v[k]) <= 0 ? acc_t(0) : acc_t(in.v[k]);
    for (int64_t s = 0; s < S; ++s) {
        const acc_t slope = acc_t(a[s * U + u]), hinge = acc_t(b[s * U + u]);
        #pragma unroll
        for (int k = 0; k < N; ++k) {
            const acc_t below = hinge - acc_t(in.v[k]);
            if (!(below <= 0)) sum[k] += slope * below;
        }
    }
    Vec<T, N> out;
    #pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = T(sum[k]);
    reinterpret_cast<Vec<T, N>*>(y)[j] = out;
}
