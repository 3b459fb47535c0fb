// 02_tile: for pieces that are neighbours (I = 1): the block loads its rows as one run into shared memory first.
//
// Computes   y[m] = max_k x[m, k], which[m] = the first k that has it; x (M, K), y and which (M); a NaN is the maximum
// Launch     grid ceil(M/BLOCK), block BLOCK, dynamic smem BLOCK*K*sizeof(T) B
// FLOPs      M*(K - 1)
// Traffic    M*(K*sizeof(T) + sizeof(T) + 4) B, each sector requested once
// Since 01   neighbouring threads load neighbouring addresses; the stride of K is walked in shared memory (K-way bank conflicts for K = 2, 4, 8, ...)
// Numerics   exact
// Source     as 01
#include "common.cuh"

extern "C" __global__ void maxout_fwd(
    const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ which, int64_t M, int64_t K, int64_t I) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* tile = reinterpret_cast<T*>(memory);
    const int64_t first = blockIdx.x * int64_t(BLOCK), rows = M - first < BLOCK ? M - first : BLOCK;
    for (int64_t j = threadIdx.x; j < rows * K; j += BLOCK) tile[j] = x[first * K + j];
    __syncthreads();
    if (threadIdx.x >= rows) return;
    const T* row = tile + threadIdx.x * K;
    acc_t best = acc_t(row[0]);
    int32_t at = 0;
    for (int64_t k = 1; k < K; ++k) {
        const acc_t v = acc_t(row[k]);
        if (v > best || (v != v && best == best)) best = v, at = int32_t(k);
    }
    y[first + threadIdx.x] = T(best);
    which[first + threadIdx.x] = at;
}
