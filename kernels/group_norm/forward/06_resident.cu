// 06_resident: a group that is too long for registers stays in shared memory.
//
// Computes   y = (x - mean) * rstd * weight[c] + bias[c]; mean and biased variance over a group of K = C/G channels of one image,
//            rstd = 1/sqrt(var + eps); x, y (N, C, L); mean, rstd (N, G); sizeof(T)*K*L as
//            much as a block can have
// Launch     grid N*G, block BLOCK, dynamic smem sizeof(T)*K*L B, static smem 32*sizeof(acc_t) B
// FLOPs      8*N*C*L
// Traffic    2*sizeof(T)*N*C*L B; that is the floor; a weight and a bias an element from cache
// Intensity  4/sizeof(T) FLOP/B
// Since 05   groups of tens of thousands of values are read once
// Numerics   fp32 (fp64 for double), two passes: the squares are of differences from the mean; repeatable bit for bit
// Source     Wu & He 2018, arXiv:1803.08494
#include "group_norm/group.cuh"

extern "C" __global__ void group_norm_fwd(const T* __restrict__ x, const S* weight, const S* bias, T* __restrict__ y, acc_t* mean, acc_t* rstd,
                                          int64_t N, int64_t C, int64_t L, int64_t G, double eps) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* group = reinterpret_cast<T*>(memory);  // each value is written and read by one thread alone: no barrier for it
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    const int64_t m = blockIdx.x, K = C / G, D = K * L;
    x += m * D;
    y += m * D;
    acc_t sum = 0, squares = 0;
    for (int64_t j = tid; j < D; j += BLOCK) {
        const T v = x[j];
        group[j] = v;
        sum += acc_t(v);
    }
    const acc_t mu = block_sum(sum, smem) / acc_t(D);
    for (int64_t j = tid; j < D; j += BLOCK) squares += (acc_t(group[j]) - mu) * (acc_t(group[j]) - mu);
    const acc_t rs = rstd_of(block_sum(squares, smem) / acc_t(D), eps);
    if (tid == 0) {
        mean[m] = mu;
        rstd[m] = rs;
    }
    Walk at(tid, BLOCK, L);
    for (int64_t j = tid; j < D; j += BLOCK, at.next()) y[j] = scaled((acc_t(group[j]) - mu) * rs, weight, bias, m % G * K + at.c);
}
