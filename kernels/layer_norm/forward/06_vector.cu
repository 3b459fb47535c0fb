// 06_vector: 16 bytes a load and a store.
//
// Computes   y[m, j] = (x[m, j] - mean[m]) * rstd[m] * weight[j] + bias[j]; mean and biased variance of a row, rstd = 1/sqrt(var + eps);
//            x, y (M, N); 1 <= N <= BLOCK*KEEP, N*sizeof(T) a multiple of 16
// Launch     grid M, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      8*M*N
// Traffic    2*sizeof(T)*M*N B; that is the floor; N values of weight and bias a row from cache
// Intensity  4/sizeof(T) FLOP/B
// Since 05   16/sizeof(T) neighbouring values of x, y, weight and bias move as one access: as many bytes by fewer instructions
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean; repeatable bit for bit
// Source     CUDA C++ Programming Guide, "Device Memory Accesses" (vector types)
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t M, int64_t N, double eps) {
    constexpr int W = 16 / sizeof(T);
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    x += blockIdx.x * N;  // every row starts at a multiple of 16 bytes, because the first one does and N*sizeof(T) is one
    y += blockIdx.x * N;
    acc_t v[KEEP];  // indexed by constants alone once the loops are unrolled; else it would be memory
    acc_t sum = 0, squares = 0;
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> in = {};  // zeros past the end of the row add nothing
        if (j < N) in = *reinterpret_cast<const Vec<T, W>*>(x + j);
#pragma unroll
        for (int w = 0; w < W; ++w) v[k + w] = acc_t(in.v[w]);
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) sum += v[k];
    const acc_t mu = block_sum(sum, smem) / acc_t(N);
#pragma unroll
    for (int k = 0; k < KEEP; ++k)
        if (k / W * W * BLOCK + tid * W < N) squares += (v[k] - mu) * (v[k] - mu);
    const acc_t rs = rstd_of(block_sum(squares, smem) / acc_t(N), eps);
    if (tid == 0) {
        mean[blockIdx.x] = mu;
        rstd[blockIdx.x] = rs;
    }
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        if (j >= N) break;
        Vec<T, W> out;
        acc_t scale[W], shift[W];
        if (WEIGHT) parameters(weight + j, scale);
        if (BIAS) parameters(bias + j, shift);
#pragma unroll
        for (int w = 0; w < W; ++w) {
            const acc_t xhat = (v[k + w] - mu) * rs;
            out.v[w] = T((WEIGHT ? xhat * scale[w] : xhat) + (BIAS ? shift[w] : acc_t(0)));
        }
        *reinterpret_cast<Vec<T, W>*>(y + j) = out;
    }
}
