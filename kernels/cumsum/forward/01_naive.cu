// 01_naive: one thread a line, which adds from its start to its end.
//
// Computes   y[a, q, b] = sum over r <= q of x[a, r, b]; x of any strides (sa, sb, sq), y (A, Q, B)
// Launch     grid ceil(A*B/BLOCK), block BLOCK
// FLOPs      A*B*Q
// Traffic    (sizeof(T) + sizeof(S))*A*B*Q B, which is the floor; 32 B an access where B = 1
// Numerics   fp32 (fp64 for double, int64 for integers), in order
// Source     the definition
#include "common.cuh"

extern "C" __global__ void cumsum_fwd(const T* __restrict__ x, S* __restrict__ y, int64_t A, int64_t B, int64_t Q, int64_t sa, int64_t sb,
                                      int64_t sq) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o >= A * B) return;
    x += o / B * sa + o % B * sb;
    y += o / B * Q * B + o % B;
    acc_t sum = 0;
    for (int64_t q = 0; q < Q; ++q) {
        sum += acc_t(x[q * sq]);
        y[q * B] = static_cast<S>(sum);
    }
}
