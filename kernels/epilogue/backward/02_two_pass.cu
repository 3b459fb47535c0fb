// 02_two_pass: blocks sum CHUNK elements of a channel each, a second launch adds their sums in order.
//
// Computes   g[o, k, i] = dy[o, k, i] * ACT'(y[o, k, i]) (with an activation), db[k] = sum_oi g[o, k, i] (with a bias); all (O, K, I), db (K)
// Launch     grid (K, ceil(O*I/CHUNK)), block BLOCK; then grid ceil(K/BLOCK), block BLOCK
// FLOPs      2*O*K*I
// Traffic    3*sizeof(T)*O*K*I + sizeof(T)*K B with an activation, sizeof(T)*O*K*I without; and 2*sizeof(acc_t)*K*ceil(O*I/CHUNK) B of sums
// Since 01   as many blocks as there are chunks in place of one thread a channel; neighbouring threads read neighbouring i
// Numerics   fp32 (fp64 for double); strided partial sums, a butterfly, then the chunks in order: repeatable bit for bit
// Source     Harris 2007, "Optimizing Parallel Reduction in CUDA"
#include "epilogue/epilogue.cuh"

extern "C" __global__ void epilogue_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ g, acc_t* __restrict__ partial,
                                        int64_t O, int64_t K, int64_t I, int act, double number) {
    __shared__ acc_t sums[BLOCK / 32];
    const int64_t k = blockIdx.x, first = blockIdx.y * int64_t(CHUNK);
    const int64_t last = first + CHUNK < O * I ? first + CHUNK : O * I;
    acc_t sum = 0;
    for (int64_t e = first + threadIdx.x; e < last; e += BLOCK) {
        const int64_t at = (e / I * K + k) * I + e % I;
        acc_t v = acc_t(dy[at]);
        if (act) {
            v = before(act, acc_t(number), v, acc_t(y[at]));
            g[at] = T(v);
        }
        sum += v;
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) partial[k * gridDim.y + blockIdx.y] = sum;
}

extern "C" __global__ void epilogue_bwd_db(const acc_t* __restrict__ partial, T* __restrict__ db, int64_t O, int64_t K,
                                           int64_t I, int bias) {
    const int64_t chunks = (O * I + CHUNK - 1) / CHUNK, k = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (k >= K || !bias) return;
    acc_t sum = 0;
    for (int64_t c = 0; c < chunks; ++c) sum += partial[k * chunks + c];
    db[k] = T(sum);
}
