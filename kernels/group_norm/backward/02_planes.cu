// 02_planes: two sums of each plane are all that dx, dw and db need, so dy and x are read for sums once.
//
// Computes   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), g = dy * weight[c], xhat = (x - mean) * rstd, means over a group of
//            K = C/G channels of one image; dw[c] = sum dy * xhat, db[c] = sum dy over images and positions; dy, x, dx (N, C, L)
// Launch     sums: grid ceil(N*C/ROWS), block (32, ROWS), a warp a plane; merge: grid ceil(C/BLOCK), block BLOCK; apply: grid N*G,
//            block BLOCK
// FLOPs      12*N*C*L
// Traffic    5*sizeof(T)*N*C*L B requested (two reads of dy and x, one write), a weight an element from cache, the planes' sums;
//            floor 3*sizeof(T)*N*C*L B
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 01   the sums over a group are sums of its planes' times weight, those over a channel are sums of its planes' over the images: one
//            pass for both; and a warp reads neighbours
// Numerics   fp32 (fp64 for double); a sum a plane, added in a fixed order: repeatable bit for bit
// Source     the derivative of the definition; the plane's sums: PyTorch, aten/src/ATen/native/cuda/group_norm_kernel.cu
#include "group_norm/group.cuh"

// sums (2, N, C): of dy and of dy*xhat of each plane
extern "C" __global__ void group_norm_bwd_sums(const T* __restrict__ dy, const T* __restrict__ x, const acc_t* __restrict__ mean,
                                               const acc_t* __restrict__ rstd, acc_t* sums, int64_t N, int64_t C, int64_t L, int64_t G) {
    const int64_t plane = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (plane >= N * C) return;  // the whole warp leaves together
    const int64_t m = plane / (C / G);
    const acc_t mu = mean[m], rs = rstd[m];
    acc_t sum = 0, dot = 0;
    for (int64_t l = threadIdx.x; l < L; l += 32) {
        const acc_t g = acc_t(dy[plane * L + l]);
        sum += g;
        dot += g * ((acc_t(x[plane * L + l]) - mu) * rs);
    }
    sum = warp_sum(sum);
    dot = warp_sum(dot);
    if (threadIdx.x > 0) return;
    sums[plane] = sum;
    sums[N * C + plane] = dot;
}

extern "C" __global__ void group_norm_bwd_merge(const acc_t* __restrict__ sums, acc_t* dw, acc_t* db, int64_t N, int64_t C) {
    const int64_t c = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (c >= C) return;
    acc_t sum = 0, dot = 0;
    for (int64_t i = 0; i < N; ++i) {
        sum += sums[i * C + c];
        dot += sums[(N + i) * C + c];
    }
    dw[c] = dot;
    db[c] = sum;
}

extern "C" __global__ void group_norm_bwd_apply(const T* __restrict__ dy, const T* __restrict__ x, const S* weight,
                                                const acc_t* __restrict__ mean, const acc_t* __restrict__ rstd,
                                                const acc_t* __restrict__ sums, T* __restrict__ dx, int64_t N, int64_t C, int64_t L,
                                                int64_t G) {
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    const int64_t m = blockIdx.x, K = C / G, D = K * L, first = m % G * K;
    const acc_t mu = mean[m], rs = rstd[m];
    acc_t sum = 0, dot = 0;
    for (int64_t k = tid; k < K; k += BLOCK) {
        sum += weighted(sums[m * K + k], weight, first + k);
        dot += weighted(sums[N * C + m * K + k], weight, first + k);
    }
    sum = block_sum(sum, smem) / acc_t(D);
    dot = block_sum(dot, smem) / acc_t(D);
    Walk at(tid, BLOCK, L);
    for (int64_t j = tid; j < D; j += BLOCK, at.next()) {
        const acc_t g = weighted(acc_t(dy[m * D + j]), weight, first + at.c);
        dx[m * D + j] = T(rs * (g - sum - (acc_t(x[m * D + j]) - mu) * rs * dot));
    }
}
