// 02_vector: 16 bytes a load and a store, one division for what they hold.
//
// Computes   dx[i] = dy[o(i)] * scale * (x[i] - mean[o(i)]); scale = 2/(n - correction); x contiguous, seen as rows of Q, a multiple of 16 bytes,
//            along which dy and mean repeat
// Launch     grid ceil(size/(BLOCK*N)), block BLOCK; N = 16/sizeof(T)
// FLOPs      3*size
// Traffic    2*sizeof(T)*size B, and (sizeof(T) + sizeof(acc_t))*size/N B of dy and mean (from cache); floor 2*sizeof(T)*size B
// Since 01   N neighbours lie in one row: one division for them in place of two an element and axis, one dy and one mean, one load, one store
// Numerics   fp32 (fp64 for double), rounded once; bit for bit that of 01
// Source     Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"

#define N (16 / int(sizeof(T)))
typedef Vec<T, N> Wide;

extern "C" __global__ void var_bwd(const T* __restrict__ x, const T* __restrict__ dy, const acc_t* __restrict__ mean, T* __restrict__ dx,
                                   Dims dims, int64_t size, acc_t scale) {
    const int64_t i = (blockIdx.x * int64_t(BLOCK) + threadIdx.x) * N;
    if (i >= size) return;
    const int64_t row = dims.ndim == 2 ? i / dims.shape[1] : 0;
    const acc_t g = acc_t(dy[row * dims.stride[1][0]]) * scale, centre = mean[row * dims.stride[2][0]];
    if (is_aligned<T, N>(x)) {
        const Wide v = *reinterpret_cast<const Wide*>(x + i);
        Wide out;
        for (int k = 0; k < N; ++k) out.v[k] = T(g * (acc_t(v.v[k]) - centre));
        *reinterpret_cast<Wide*>(dx + i) = out;
    } else {  // a view that starts between multiples of 16 bytes
        for (int k = 0; k < N; ++k) dx[i + k] = T(g * (acc_t(x[i + k]) - centre));
    }
}
