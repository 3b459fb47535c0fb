// 04_warp_row: one warp a result, so that neighbouring lanes read neighbouring elements of a row.
//
// Computes   y[a, b] = finish(merge over p, q of load(x[a, b, p, q])); x of any strides (sa, sb, sp, sq), y (A, B); OP says what is done
// Launch     grid ceil(A*B/ROWS), block (32, ROWS): a warp a result
// FLOPs      A*B*P*Q
// Traffic    sizeof(T)*A*B*P*Q + sizeof(S)*A*B B, which is the floor, where sq = 1
// Since 03   a warp a result in place of a block: five shuffles, which exchange registers, in place of eight rounds of shared memory and
//            barriers
// Numerics   fp32 (fp64 for double, int64 for integers); 32 partial results, then a butterfly: errors grow with P*Q/32; repeatable bit for bit
// Source     Luitjens 2014, "Faster Parallel Reductions on Kepler" (NVIDIA)
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_fwd(const T* __restrict__ x, S* __restrict__ y, int64_t A, int64_t B, int64_t P, int64_t Q, int64_t sa,
                                      int64_t sb, int64_t sp, int64_t sq) {
    const int64_t o = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (o >= A * B) return;  // the whole warp leaves together
    x += o / B * sa + o % B * sb;
    // (p, q) runs through the flattened (P, Q) in steps of 32 without a division in the loop
    const int64_t step_p = 32 / Q, step_q = 32 % Q;
    int64_t p = threadIdx.x / Q, q = threadIdx.x % Q;
    acc_t v = OP::start();
    while (p < P) {
        v = OP::merge(v, OP::load(x[p * sp + q * sq]));
        p += step_p;
        q += step_q;
        if (q >= Q) {
            q -= Q;
            ++p;
        }
    }
    v = warp_merge(v);
    if (threadIdx.x == 0) y[o] = static_cast<S>(OP::finish(v, P * Q));
}
