// 01_naive: one thread a result, which writes all of its elements.
//
// Computes   dx[a, q, b] = dy[a, b] where q = index[a, b], else 0; dx (A, Q, B), dy and index (A, B)
// Launch     grid ceil(A*B/BLOCK), block BLOCK
// FLOPs      0
// Traffic    sizeof(T)*A*B*Q + (sizeof(T) + 8)*A*B B, which is the floor; 32 B a store where B = 1
// Numerics   exact
// Source     the definition
#include "common.cuh"

extern "C" __global__ void argmax_bwd(const T* __restrict__ dy, const int64_t* __restrict__ index, T* __restrict__ dx, int64_t A, int64_t B,
                                      int64_t Q) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o >= A * B) return;
    dx += o / B * Q * B + o % B;
    const int64_t place = index[o];
    const T value = dy[o];
    for (int64_t q = 0; q < Q; ++q) dx[q * B] = q == place ? value : T(0.0f);
}
