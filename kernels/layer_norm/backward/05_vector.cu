// 05_vector: 16 bytes a load and a store.
//
// Computes   dx[m, j] = rstd[m] * (g - mean_j(g) - xhat * mean_j(g * xhat)), g = dy * weight[j], xhat = (x - mean[m]) * rstd[m]; (M, N);
//            1 <= N <= BLOCK*KEEP, N*sizeof(T) a multiple of 16
// Launch     grid M, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      9*M*N
// Traffic    3*sizeof(T)*M*N B; that is the floor; N values of weight a row from cache
// Intensity  3/sizeof(T) FLOP/B
// Since 04   16/sizeof(T) neighbouring values of dy, x, dx and weight move as one access: as many bytes by fewer instructions
// Numerics   fp32 (fp64 for double); partial sums of neighbours, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     CUDA C++ Programming Guide, "Device Memory Accesses" (vector types)
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const acc_t* __restrict__ mean,
                                          const acc_t* __restrict__ rstd, T* __restrict__ dx, int64_t M, int64_t N) {
    constexpr int W = 16 / sizeof(T);
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    const acc_t mu = mean[blockIdx.x], rs = rstd[blockIdx.x];
    dy += blockIdx.x * N;  // every row starts at a multiple of 16 bytes, because the first one does and N*sizeof(T) is one
    x += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t g[KEEP], xhat[KEEP];  // indexed by constants alone once the loops are unrolled; else they would be memory
    acc_t sum = 0, dot = 0;
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> a = {}, b = {};  // past the end of the row g is 0 and adds nothing
        acc_t scale[W] = {};
        if (j < N) {
            if (WEIGHT) parameters(weight + j, scale);
            a = *reinterpret_cast<const Vec<T, W>*>(dy + j);
            b = *reinterpret_cast<const Vec<T, W>*>(x + j);
        }
#pragma unroll
        for (int w = 0; w < W; ++w) {
            g[k + w] = WEIGHT ? acc_t(a.v[w]) * scale[w] : acc_t(a.v[w]);
            xhat[k + w] = (acc_t(b.v[w]) - mu) * rs;
        }
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        sum += g[k];
        dot += g[k] * xhat[k];
    }
    sum = block_sum(sum, smem) / acc_t(N);
    dot = block_sum(dot, smem) / acc_t(N);
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> out;
#pragma unroll
        for (int w = 0; w < W; ++w) out.v[w] = T(rs * (g[k + w] - sum - xhat[k + w] * dot));
        if (j < N) *reinterpret_cast<Vec<T, W>*>(dx + j) = out;
    }
}
