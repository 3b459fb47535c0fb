// 01_naive: one thread a result, two passes over its elements: the mean, then the squares around it.
//
// Computes   y[a, b] = sum over p, q of (x[a, b, p, q] - mean[a, b])^2 / divisor; x of any strides (sa, sb, sp, sq), y and mean (A, B);
//            the square root of that where root = 1
// Launch     grid ceil(A*B/BLOCK), block BLOCK
// FLOPs      4*A*B*P*Q
// Traffic    2*sizeof(T)*A*B*P*Q + (sizeof(T) + sizeof(acc_t))*A*B B requested; floor sizeof(T)*A*B*P*Q + sizeof(T)*A*B B
// Numerics   fp32 (fp64 for double), summed in order; squares of differences, so a large mean does not cancel
// Source     the definition
#include "common.cuh"

extern "C" __global__ void var_fwd(const T* __restrict__ x, T* __restrict__ y, acc_t* __restrict__ mean, int64_t A, int64_t B, int64_t P,
                                   int64_t Q, int64_t sa, int64_t sb, int64_t sp, int64_t sq, acc_t divisor, int root) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o >= A * B) return;
    x += o / B * sa + o % B * sb;
    acc_t sum = 0, squares = 0;
    for (int64_t p = 0; p < P; ++p)
        for (int64_t q = 0; q < Q; ++q) sum += acc_t(x[p * sp + q * sq]);
    const acc_t middle = sum / acc_t(P * Q);
    for (int64_t p = 0; p < P; ++p)
        for (int64_t q = 0; q < Q; ++q) {
            const acc_t d = acc_t(x[p * sp + q * sq]) - middle;
            squares += d * d;
        }
    mean[o] = middle;
    y[o] = T(root ? sqrt_(squares / divisor) : squares / divisor);
}
