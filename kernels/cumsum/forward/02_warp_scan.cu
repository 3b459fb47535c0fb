// 02_warp_scan: one warp a line, 32 elements at a time; the lanes add up what lies before them in five steps of shuffles.
//
// Computes   y[a, q, b] = sum over r <= q of x[a, r, b]; x of any strides (sa, sb, sq), y (A, Q, B)
// Launch     grid ceil(A*B/ROWS), block (32, ROWS): a warp a line
// FLOPs      6*A*B*Q
// Traffic    (sizeof(T) + sizeof(S))*A*B*Q B, which is the floor, where B = 1 and sq = 1
// Since 01   the lanes share a line: coalesced along it, and log2(32) additions deep where 01 is 32
// Numerics   fp32 (fp64 for double, int64 for integers); trees of 32, then in order; repeatable bit for bit
// Source     Hillis & Steele 1986, doi:10.1145/7902.7903
#include "common.cuh"

extern "C" __global__ void cumsum_fwd(const T* __restrict__ x, S* __restrict__ y, int64_t A, int64_t B, int64_t Q, int64_t sa, int64_t sb,
                                      int64_t sq) {
    const int64_t o = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (o >= A * B) return;  // the whole warp leaves together
    const int lane = threadIdx.x;
    x += o / B * sa + o % B * sb;
    y += o / B * Q * B + o % B;
    acc_t before = 0;  // the sum of all earlier groups of 32
    for (int64_t first = 0; first < Q; first += 32) {
        const int64_t q = first + lane;
        acc_t v = q < Q ? acc_t(x[q * sq]) : acc_t(0);
        for (int offset = 1; offset < 32; offset <<= 1) {
            const acc_t other = __shfl_up_sync(FULL, v, offset);
            if (lane >= offset) v += other;
        }
        if (q < Q) y[q * B] = static_cast<S>(before + v);
        before += __shfl_sync(FULL, v, 31);
    }
}
