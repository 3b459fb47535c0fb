// 06_two_pass: many blocks share one result; a second launch merges what they found. For few results of many elements each.
//
// Computes   y[a, b] = finish(merge over p, q of load(x[a, b, p, q])); x of any strides (sa, sb, sp, sq), y (A, B); OP says what is done
// Launch     reduce_parts: grid (A*B, pieces), block BLOCK, static smem 32*sizeof(acc_t) B; reduce_merge: grid ceil(A*B/BLOCK), block BLOCK
// FLOPs      A*B*P*Q
// Traffic    sizeof(T)*A*B*P*Q + 2*sizeof(acc_t)*A*B*pieces + sizeof(S)*A*B B; coalesced where sq = 1
// Since 05   (of 04) the whole GPU works on one row; the parts meet in memory and are merged in a fixed
//            order, where atomics (02) make the order vary
// Numerics   fp32 (fp64 for double, int64 for integers); errors grow with P*Q/(pieces*BLOCK) + pieces; repeatable bit for bit
// Source     Harris 2007, "Optimizing Parallel Reduction in CUDA" (NVIDIA)
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_parts(const T* __restrict__ x, acc_t* __restrict__ parts, int64_t B, int64_t P, int64_t Q, int64_t sa,
                                        int64_t sb, int64_t sp, int64_t sq) {
    __shared__ acc_t warps[BLOCK / 32];
    const int64_t o = blockIdx.x, R = P * Q;
    const int64_t length = (R + gridDim.y - 1) / gridDim.y, first = blockIdx.y * length, last = first + length < R ? first + length : R;
    x += o / B * sa + o % B * sb;
    const int64_t step_p = BLOCK / Q, step_q = BLOCK % Q;
    int64_t p = (first + threadIdx.x) / Q, q = (first + threadIdx.x) % Q;
    acc_t v = OP::start();
    for (int64_t r = first + threadIdx.x; r < last; r += BLOCK) {
        v = OP::merge(v, OP::load(x[p * sp + q * sq]));
        p += step_p;
        q += step_q;
        if (q >= Q) {
            q -= Q;
            ++p;
        }
    }
    v = warp_merge(v);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int k = 1; k < BLOCK / 32; ++k) v = OP::merge(v, warps[k]);
        parts[blockIdx.y * int64_t(gridDim.x) + o] = v;
    }
}

extern "C" __global__ void reduce_merge(const acc_t* __restrict__ parts, S* __restrict__ y, int64_t results, int64_t R, int64_t pieces) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o >= results) return;
    acc_t v = parts[o];
    for (int64_t k = 1; k < pieces; ++k) v = OP::merge(v, parts[k * results + o]);
    y[o] = static_cast<S>(OP::finish(v, R));
}
