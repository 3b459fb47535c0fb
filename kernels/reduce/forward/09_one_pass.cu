// 09_one_pass: the block that finishes last merges the parts, so that there is no second launch.
//
// Computes   y[a, b] = finish(merge over q of load(x[a, b, q])); x of strides (sa, sb, 1), rows that start anywhere; y (A, B); OP says what
//            is done
// Launch     grid (A*B, pieces), block BLOCK, static smem BLOCK/32*sizeof(acc_t) + 4 B; tickets: 0 for each result before and after
// FLOPs      A*B*Q
// Traffic    sizeof(T)*A*B*Q + 2*sizeof(acc_t)*A*B*pieces + sizeof(S)*A*B B
// Since 08   each block draws a ticket when its part is in memory; who draws the last one knows that all parts are there. The merge
//            costs no launch
// Numerics   fp32 (fp64 for double, int64 for integers); which block merges varies, the order of the parts does not: repeatable bit for bit
// Source     NVIDIA CUDA samples, threadFenceReduction; CUDA C++ Programming Guide, "Memory Fence Functions"
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_fwd(const T* __restrict__ x, acc_t* parts, unsigned* tickets, S* __restrict__ y, int64_t B, int64_t Q,
                                      int64_t sa, int64_t sb) {
    __shared__ unsigned ticket;
    __shared__ acc_t warps[BLOCK / 32];
    constexpr int W = 16 / sizeof(T);
    const int64_t o = blockIdx.x;
    x += o / B * sa + o % B * sb;
    const int64_t past = reinterpret_cast<uint64_t>(x) / sizeof(T) % W, lead = past ? W - past : 0;  // a row may start anywhere
    const int64_t head = lead < Q ? lead : Q, packs = (Q - head) / W, tail = Q - head - packs * W;
    const Vec<T, W>* body = reinterpret_cast<const Vec<T, W>*>(x + head);
    const int64_t first = blockIdx.y * int64_t(BLOCK) + threadIdx.x;
    acc_t v = OP::start();
    for (int64_t i = first; i < packs; i += gridDim.y * int64_t(BLOCK)) {
        const Vec<T, W> in = body[i];
#pragma unroll
        for (int w = 0; w < W; ++w) v = OP::merge(v, OP::load(in.v[w]));
    }
    if (first < head) v = OP::merge(v, OP::load(x[first]));
    if (first < tail) v = OP::merge(v, OP::load(x[Q - tail + first]));
    v = warp_merge(v);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int k = 1; k < BLOCK / 32; ++k) v = OP::merge(v, warps[k]);
        parts[o * gridDim.y + blockIdx.y] = v;
        __threadfence();                                 // the part, before the ticket can be seen
        ticket = atomicInc(tickets + o, gridDim.y - 1);  // the last ticket sets the counter back to 0
    }
    __syncthreads();
    if (ticket < gridDim.y - 1) return;  // the whole block
    __threadfence();
    const volatile acc_t* all = parts + o * gridDim.y;  // volatile: not from this multiprocessor's L1
    v = OP::start();
    for (int64_t k = threadIdx.x; k < gridDim.y; k += BLOCK) v = OP::merge(v, all[k]);
    v = warp_merge(v);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int k = 1; k < BLOCK / 32; ++k) v = OP::merge(v, warps[k]);
        y[o] = static_cast<S>(OP::finish(v, Q));
    }
}
