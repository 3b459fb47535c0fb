// 05_vector: 16 bytes a load and a store; all values of an access are of one channel.
//
// Computes   y = (x - mean) * rstd * weight[c] + bias[c]; mean and biased variance over a group of K = C/G channels of one image,
//            rstd = 1/sqrt(var + eps); x, y (N, C, L); mean, rstd (N, G); 1 <= K*L <= BLOCK*KEEP,
//            L*sizeof(T) a multiple of 16
// Launch     grid N*G, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      8*N*C*L
// Traffic    2*sizeof(T)*N*C*L B; that is the floor; a weight and a bias every 16 B from cache
// Intensity  4/sizeof(T) FLOP/B
// Since 04   16/sizeof(T) neighbouring values move as one access, and share the division that finds their channel
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean; repeatable bit for bit
// Source     CUDA C++ Programming Guide, "Device Memory Accesses" (vector types)
#include "group_norm/group.cuh"

extern "C" __global__ void group_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t N, int64_t C, int64_t L, int64_t G, double eps) {
    constexpr int W = 16 / sizeof(T);
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x, D = int(C / G * L);
    const int64_t m = blockIdx.x, first = m % G * (C / G);
    x += m * D;  // every group starts at a multiple of 16 bytes, because the first one does and L*sizeof(T) is one
    y += m * D;
    acc_t v[KEEP];  // indexed by constants alone once the loops are unrolled; else it would be memory
    acc_t sum = 0, squares = 0;
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> in = {};  // zeros past the end of the group add nothing
        if (j < D) in = *reinterpret_cast<const Vec<T, W>*>(x + j);
#pragma unroll
        for (int w = 0; w < W; ++w) v[k + w] = acc_t(in.v[w]);
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) sum += v[k];
    const acc_t mu = block_sum(sum, smem) / acc_t(D);
#pragma unroll
    for (int k = 0; k < KEEP; ++k)
        if (k / W * W * BLOCK + tid * W < D) squares += (v[k] - mu) * (v[k] - mu);
    const acc_t rs = rstd_of(block_sum(squares, smem) / acc_t(D), eps);
    if (tid == 0) {
        mean[m] = mu;
        rstd[m] = rs;
    }
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        if (j >= D) break;
        const int64_t c = first + j / int(L);
        const acc_t scale = WEIGHT ? acc_t(weight[c]) * rs : rs, shift = BIAS ? acc_t(bias[c]) : acc_t(0);
        Vec<T, W> out;
#pragma unroll
        for (int w = 0; w < W; ++w) out.v[w] = T((v[k + w] - mu) * scale + shift);
        *reinterpret_cast<Vec<T, W>*>(y + j) = out;
    }
}
