// 02_warp_row: one warp a result, two passes over its elements.
//
// Computes   y[a, b] = sum over p, q of (x[a, b, p, q] - mean[a, b])^2 / divisor; x of any strides (sa, sb, sp, sq), y and mean (A, B);
//            the square root of that where root = 1
// Launch     grid ceil(A*B/ROWS), block (32, ROWS): a warp a result
// FLOPs      4*A*B*P*Q
// Traffic    2*sizeof(T)*A*B*P*Q + (sizeof(T) + sizeof(acc_t))*A*B B requested; floor sizeof(T)*A*B*P*Q + sizeof(T)*A*B B
// Since 01   the lanes share a result: coalesced loads where sq = 1, butterflies of shuffles for both sums
// Numerics   fp32 (fp64 for double); 32 partial sums, then a butterfly; repeatable bit for bit
// Source     Luitjens 2014, "Faster Parallel Reductions on Kepler" (NVIDIA)
#include "common.cuh"

extern "C" __global__ void var_fwd(const T* __restrict__ x, T* __restrict__ y, acc_t* __restrict__ mean, int64_t A, int64_t B, int64_t P,
                                   int64_t Q, int64_t sa, int64_t sb, int64_t sp, int64_t sq, acc_t divisor, int root) {
    const int64_t o = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (o >= A * B) return;  // the whole warp leaves together
    x += o / B * sa + o % B * sb;
    acc_t sum = 0, squares = 0;
    for (int64_t p = 0; p < P; ++p)
        for (int64_t q = threadIdx.x; q < Q; q += 32) sum += acc_t(x[p * sp + q * sq]);
    const acc_t middle = warp_sum(sum) / acc_t(P * Q);
    for (int64_t p = 0; p < P; ++p)
        for (int64_t q = threadIdx.x; q < Q; q += 32) {
            const acc_t d = acc_t(x[p * sp + q * sq]) - middle;
            squares += d * d;
        }
    squares = warp_sum(squares);
    if (threadIdx.x == 0) {
        mean[o] = middle;
        y[o] = T(root ? sqrt_(squares / divisor) : squares / divisor);
    }
}
