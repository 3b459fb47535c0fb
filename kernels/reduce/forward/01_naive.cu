// 01_naive: one thread a result, which walks through its elements in order.
//
// Computes   y[a, b] = finish(merge over p, q of load(x[a, b, p, q])); x of any strides (sa, sb, sp, sq), y (A, B); OP says what is done
// Launch     grid ceil(A*B/BLOCK), block BLOCK
// FLOPs      A*B*P*Q
// Traffic    sizeof(T)*A*B*P*Q + sizeof(S)*A*B B, which is the floor; 32 B a load where neighbouring results are far apart (sb > 1)
// Numerics   fp32 (fp64 for double, int64 for integers), merged in order: the error of a sum grows with P*Q
// Source     the definition
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_fwd(const T* __restrict__ x, S* __restrict__ y, int64_t A, int64_t B, int64_t P, int64_t Q, int64_t sa,
                                      int64_t sb, int64_t sp, int64_t sq) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o >= A * B) return;
    x += o / B * sa + o % B * sb;
    acc_t v = OP::start();
    for (int64_t p = 0; p < P; ++p)
        for (int64_t q = 0; q < Q; ++q) v = OP::merge(v, OP::load(x[p * sp + q * sq]));
    y[o] = static_cast<S>(OP::finish(v, P * Q));
}
