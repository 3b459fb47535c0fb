// 06_resident: rows of dy and x that are too long for registers stay in shared memory.
//
// Computes   dx[m, j] = rstd[m] * (g - mean_j(g) - xhat * mean_j(g * xhat)), g = dy * weight[j], xhat = (x - mean[m]) * rstd[m]; (M, N);
//            2*sizeof(T)*N as much as a block can have
// Launch     grid M, block BLOCK, dynamic smem 2*sizeof(T)*N B, static smem 32*sizeof(acc_t) B
// FLOPs      12*M*N
// Traffic    3*sizeof(T)*M*N B; that is the floor; N values of weight a row and a loop from cache
// Intensity  4/sizeof(T) FLOP/B
// Since 05   rows of tens of thousands of values are read once
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     the derivative of the definition
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const acc_t* __restrict__ mean,
                                          const acc_t* __restrict__ rstd, T* __restrict__ dx, int64_t M, int64_t N) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* gs = reinterpret_cast<T*>(memory);  // each value is written and read by one thread alone: no barrier for it
    T* xs = gs + N;
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    const acc_t mu = mean[blockIdx.x], rs = rstd[blockIdx.x];
    dy += blockIdx.x * N;
    x += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t sum = 0, dot = 0;
    for (int64_t j = tid; j < N; j += BLOCK) {
        const T d = dy[j], v = x[j];
        const acc_t g = weighted(d, weight, j);
        gs[j] = d;
        xs[j] = v;
        sum += g;
        dot += g * ((acc_t(v) - mu) * rs);
    }
    sum = block_sum(sum, smem) / acc_t(N);
    dot = block_sum(dot, smem) / acc_t(N);
    for (int64_t j = tid; j < N; j += BLOCK) {
        const acc_t g = weighted(gs[j], weight, j);
        dx[j] = T(rs * (g - sum - (acc_t(xs[j]) - mu) * rs * dot));
    }
}
