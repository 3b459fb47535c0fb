// 03_resident: a group of dy and of x stays in its block's shared memory, so that both are read once.
//
// Computes   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), g = dy * weight[c], xhat = (x - mean) * rstd, means over a group of
//            K = C/G channels of one image; dw[c] = sum dy * xhat, db[c] = sum dy over images and positions; dy, x, dx (N, C, L);
//            2*sizeof(T)*K*L as much as a block can have
// Launch     bwd: grid N*G, block BLOCK, dynamic smem 2*sizeof(T)*K*L B, static smem 32*sizeof(acc_t) B; merge: grid ceil(C/BLOCK),
//            block BLOCK
// FLOPs      12*N*C*L
// Traffic    3*sizeof(T)*N*C*L B; that is the floor; a weight a plane and a loop from cache, the planes' sums
// Intensity  4/sizeof(T) FLOP/B
// Since 02   one kernel for sums and dx, which remembers what it read; its warps take the planes of the group in turns
// Numerics   fp32 (fp64 for double); a sum a plane, added in a fixed order: repeatable bit for bit
// Source     the derivative of the definition
#include "group_norm/group.cuh"

// sums (2, N, C): of dy and of dy*xhat of each plane
extern "C" __global__ void group_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const acc_t* __restrict__ mean,
                                          const acc_t* __restrict__ rstd, acc_t* sums, T* __restrict__ dx, int64_t N, int64_t C, int64_t L,
                                          int64_t G) {
    extern __shared__ __align__(16) unsigned char memory[];
    const int64_t m = blockIdx.x, K = C / G, D = K * L, first = m % G * K;
    T* gs = reinterpret_cast<T*>(memory);  // each value is written and read by one thread alone: no barrier for it
    T* xs = gs + D;
    __shared__ acc_t smem[32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const acc_t mu = mean[m], rs = rstd[m];
    acc_t sum = 0, dot = 0;  // of the group: of this warp's planes, in its first lane
    for (int64_t k = warp; k < K; k += BLOCK / 32) {
        acc_t s = 0, d = 0;
        for (int64_t l = lane; l < L; l += 32) {
            const T a = dy[m * D + k * L + l], b = x[m * D + k * L + l];
            gs[k * L + l] = a;
            xs[k * L + l] = b;
            s += acc_t(a);
            d += acc_t(a) * ((acc_t(b) - mu) * rs);
        }
        s = warp_sum(s);
        d = warp_sum(d);
        if (lane > 0) continue;
        sums[m * K + k] = s;
        sums[N * C + m * K + k] = d;
        sum += weighted(s, weight, first + k);
        dot += weighted(d, weight, first + k);
    }
    sum = block_sum(sum, smem) / acc_t(D);
    dot = block_sum(dot, smem) / acc_t(D);
    for (int64_t k = warp; k < K; k += BLOCK / 32)
        for (int64_t l = lane; l < L; l += 32) {
            const acc_t g = weighted(acc_t(gs[k * L + l]), weight, first + k);
            dx[m * D + k * L + l] = T(rs * (g - sum - (acc_t(xs[k * L + l]) - mu) * rs * dot));
        }
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
