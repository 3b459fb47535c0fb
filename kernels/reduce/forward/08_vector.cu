// 08_vector: 16 bytes a load, for rows that are one run of memory.
//
// Computes   y[a, b] = finish(merge over q of load(x[a, b, q])); x of strides (sa, sb, 1), rows that start anywhere; y (A, B); OP says what
//            is done
// Launch     reduce_parts: grid (A*B, pieces), block BLOCK, static smem BLOCK/32*sizeof(acc_t) B; reduce_merge: grid ceil(A*B/BLOCK), block
//            BLOCK
// FLOPs      A*B*Q
// Traffic    sizeof(T)*A*B*Q + 2*sizeof(acc_t)*A*B*pieces + sizeof(S)*A*B B
// Since 07   (of 06) 16/sizeof(T) neighbouring values move as one access: as many bytes by fewer instructions, and more of them in flight
// Numerics   fp32 (fp64 for double, int64 for integers); errors grow with Q/(pieces*BLOCK) + pieces; repeatable bit for bit
// Source     CUDA C++ Programming Guide, "Device Memory Accesses" (vector types)
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_parts(const T* __restrict__ x, acc_t* __restrict__ parts, int64_t B, int64_t Q, int64_t sa, int64_t sb) {
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
