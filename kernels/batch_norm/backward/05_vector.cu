// 05_vector: 16 bytes a load and a store.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; RESIDUAL: dresidual = g; n = N*L;
//            dy, x, dx (N, C, L); L*sizeof(T) a multiple of 16, and so L of W = 16/sizeof(T)
// Launch     partial and apply: grid (C, groups, pieces), block (X, Y) of BLOCK threads, X along L and Y along N; merge: grid C, block 32
// FLOPs      12*N*C*L
// Traffic    5*sizeof(T)*N*C*L B requested (two reads of dy and x, one write), RESIDUAL: 8, 4*sizeof(acc_t)*C*groups*pieces B of sums; the
//            values of the channel once a thread, from cache; floor 3*sizeof(T)*N*C*L B, RESIDUAL: 5
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 04   W neighbouring values move as one access: as many bytes by fewer instructions, and more of them in flight
// Numerics   fp32 (fp64 for double); a sum a block, added by one warp in the order of the blocks: repeatable bit for bit
// Source     CUDA C++ Programming Guide, "Device Memory Accesses" (vector types); the mask is computed anew from x
#include "batch_norm/channel.cuh"

constexpr int W = 16 / sizeof(T);
typedef Vec<T, W> Pack;

// spread: rstd while training, the running variance otherwise. partial (2, C, groups*pieces): the sums of g and of g*xhat of each block
extern "C" __global__ void batch_norm_bwd_partial(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                                  const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ spread,
                                                  acc_t* __restrict__ partial, int64_t N, int64_t C, int64_t L, int64_t groups,
                                                  int64_t pieces, double eps) {
    __shared__ acc_t smem[BLOCK / 32];
    const int64_t c = blockIdx.x, slices = groups * pieces;
    const Factors f = known_factors(mean, spread, weight, bias, c, eps);
    acc_t sum = 0, dot = 0;
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y)
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L / W; l += pieces * blockDim.x) {
            const int64_t at = (i * C + c) * L + l * W;
            const Pack gs = *reinterpret_cast<const Pack*>(dy + at), xs = *reinterpret_cast<const Pack*>(x + at);
            Pack other = {};
            if (RESIDUAL) other = *reinterpret_cast<const Pack*>(residual + at);
#pragma unroll
            for (int w = 0; w < W; ++w) {
                const acc_t g = f.masked(gs.v[w], xs.v[w], other.v, w);
                sum += g;
                dot += g * ((acc_t(xs.v[w]) - f.mean) * f.rstd);
            }
        }
    sum = block_sum(sum, smem);
    dot = block_sum(dot, smem);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        partial += c * slices + blockIdx.y * pieces + blockIdx.z;
        partial[0] = sum;
        partial[C * slices] = dot;
    }
}

extern "C" __global__ void batch_norm_bwd_merge(const acc_t* __restrict__ partial, acc_t* dw, acc_t* db, int64_t C, int64_t groups,
                                                int64_t pieces) {
    const int64_t c = blockIdx.x, slices = groups * pieces;
    acc_t sum = 0, dot = 0;
    for (int64_t s = c * slices + threadIdx.x; s < (c + 1) * slices; s += 32) {
        sum += partial[s];
        dot += partial[C * slices + s];
    }
    sum = warp_sum(sum);
    dot = warp_sum(dot);
    if (threadIdx.x > 0) return;
    dw[c] = dot;
    db[c] = sum;
}

extern "C" __global__ void batch_norm_bwd_apply(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                                const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ spread,
                                                T* __restrict__ dx, T* __restrict__ dresidual, const acc_t* __restrict__ dw,
                                                const acc_t* __restrict__ db, int64_t N, int64_t C, int64_t L, int64_t groups, int64_t pieces,
                                                double eps) {
    const int64_t c = blockIdx.x;
    const Factors f = known_factors(mean, spread, weight, bias, c, eps);
    const Slope k = slope_of(db[c], dw[c], N * L);
    for (int64_t i = blockIdx.y * blockDim.y + threadIdx.y; i < N; i += groups * blockDim.y)
        for (int64_t l = blockIdx.z * blockDim.x + threadIdx.x; l < L / W; l += pieces * blockDim.x) {
            const int64_t at = (i * C + c) * L + l * W;
            const Pack gs = *reinterpret_cast<const Pack*>(dy + at), xs = *reinterpret_cast<const Pack*>(x + at);
            Pack other = {};
            if (RESIDUAL) other = *reinterpret_cast<const Pack*>(residual + at);
            Pack out, masked;
#pragma unroll
            for (int w = 0; w < W; ++w) {
                const acc_t g = f.masked(gs.v[w], xs.v[w], other.v, w);
                out.v[w] = k.dx(f, g, xs.v[w]);
                masked.v[w] = T(g);
            }
            *reinterpret_cast<Pack*>(dx + at) = out;
            if (RESIDUAL) *reinterpret_cast<Pack*>(dresidual + at) = masked;
        }
}
