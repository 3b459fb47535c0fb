// 03_welford: one warp a result, one pass: mean and squares grow together, and two lanes' pairs merge exactly.
//
// Computes   y[a, b] = sum over p, q of (x[a, b, p, q] - mean[a, b])^2 / divisor; x of any strides (sa, sb, sp, sq), y and mean (A, B);
//            the square root of that where root = 1
// Launch     grid ceil(A*B/ROWS), block (32, ROWS): a warp a result
// FLOPs      6*A*B*P*Q, one of them a division
// Traffic    sizeof(T)*A*B*P*Q + (sizeof(T) + sizeof(acc_t))*A*B B; floor sizeof(T)*A*B*P*Q + sizeof(T)*A*B B
// Since 02   x is read once; the price is a division an element
// Numerics   fp32 (fp64 for double); 32 partial pairs, then a butterfly; repeatable bit for bit
// Source     Welford 1962, doi:10.1080/00401706.1962.10490022; merging: Chan, Golub & LeVeque 1979, Stanford STAN-CS-79-773
#include "common.cuh"

extern "C" __global__ void var_fwd(const T* __restrict__ x, T* __restrict__ y, acc_t* __restrict__ mean, int64_t A, int64_t B, int64_t P,
                                   int64_t Q, int64_t sa, int64_t sb, int64_t sp, int64_t sq, acc_t divisor, int root) {
    const int64_t o = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (o >= A * B) return;  // the whole warp leaves together
    x += o / B * sa + o % B * sb;
    acc_t middle = 0, squares = 0, count = 0;
    for (int64_t p = 0; p < P; ++p)
        for (int64_t q = threadIdx.x; q < Q; q += 32) {
            const acc_t v = acc_t(x[p * sp + q * sq]), d = v - middle;
            count += 1;
            middle += d / count;
            squares += d * (v - middle);
        }
    for (int offset = 16; offset > 0; offset >>= 1) {
        const acc_t n = __shfl_xor_sync(FULL, count, offset), m = __shfl_xor_sync(FULL, middle, offset);
        const acc_t s = __shfl_xor_sync(FULL, squares, offset), total = count + n;
        if (total > 0) {  // both sides of a pair compute the same value: the weighted mean is symmetric
            const acc_t d = m - middle;
            squares += s + d * d * (count * n / total);
            middle = (count * middle + n * m) / total;
        }
        count = total;
    }
    if (threadIdx.x == 0) {
        mean[o] = middle;
        y[o] = T(root ? sqrt_(squares / divisor) : squares / divisor);
    }
}
