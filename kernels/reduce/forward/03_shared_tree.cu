// 03_shared_tree: one block a result; its threads' partial results meet in shared memory, half as many in each round.
//
// Computes   y[a, b] = finish(merge over p, q of load(x[a, b, p, q])); x of any strides (sa, sb, sp, sq), y (A, B); OP says what is done
// Launch     grid A*B, block BLOCK (a power of two), static smem BLOCK*sizeof(acc_t) B
// FLOPs      A*B*P*Q
// Traffic    sizeof(T)*A*B*P*Q + sizeof(S)*A*B B, which is the floor, where sq = 1
// Since 02   no thread waits for another's turn, and the order is fixed
// Numerics   fp32 (fp64 for double, int64 for integers); BLOCK partial results, then a tree; repeatable bit for bit
// Source     Harris 2007, "Optimizing Parallel Reduction in CUDA" (NVIDIA), sequential addressing
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_fwd(const T* __restrict__ x, S* __restrict__ y, int64_t A, int64_t B, int64_t P, int64_t Q, int64_t sa,
                                      int64_t sb, int64_t sp, int64_t sq) {
    __shared__ acc_t part[BLOCK];
    const int tid = threadIdx.x;
    const int64_t o = blockIdx.x;
    x += o / B * sa + o % B * sb;
    // (p, q) runs through the flattened (P, Q) in steps of BLOCK without a division in the loop
    const int64_t step_p = BLOCK / Q, step_q = BLOCK % Q;
    int64_t p = tid / Q, q = tid % Q;
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
    part[tid] = v;
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();  // the round before has written
        if (tid < half) part[tid] = OP::merge(part[tid], part[tid + half]);  // neighbours stay neighbours: no bank conflict
    }
    if (tid == 0) y[o] = static_cast<S>(OP::finish(part[0], P * Q));
}
