// 02_flat: one thread an element of dx, so that neighbouring threads write neighbouring addresses.
//
// Computes   dx[a, q, b] = dy[a, b] where q = index[a, b], else 0; dx (A, Q, B), dy and index (A, B)
// Launch     grid ceil(A*Q*B/BLOCK), block BLOCK
// FLOPs      0
// Traffic    (sizeof(T) + 8)*A*B*Q + sizeof(T)*A*B B requested; floor sizeof(T)*A*B*Q + (sizeof(T) + 8)*A*B B: the reads of index
//            repeat in L1
// Since 01   coalesced stores; the price is two divisions an element
// Numerics   exact
// Source     the definition
#include "common.cuh"

extern "C" __global__ void argmax_bwd(const T* __restrict__ dy, const int64_t* __restrict__ index, T* __restrict__ dx, int64_t A, int64_t B,
                                      int64_t Q) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= A * Q * B) return;
    const int64_t a = i / (Q * B), q = i / B % Q, o = a * B + i % B;
    dx[i] = q == index[o] ? dy[o] : T(0.0f);
}
