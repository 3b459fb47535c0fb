// 03_block_row: one block a row, for rows that are long and few.
//
// Computes   dx[m, j] = rstd[m] * (g - mean_j(g) - xhat * mean_j(g * xhat)), g = dy * weight[j], xhat = (x - mean[m]) * rstd[m]; (M, N)
// Launch     grid M, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      12*M*N
// Traffic    5*sizeof(T)*M*N B requested (two reads of dy and x, one write), N values of weight a row and a loop from cache; floor
//            3*sizeof(T)*M*N B: the second reads come from cache where the row fits
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 02   BLOCK threads a row in place of 32; the sums of the warps meet in shared memory
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     the derivative of the definition
#include "layer_norm/row.cuh"

extern "C" __global__ void layer_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const acc_t* __restrict__ mean,
                                          const acc_t* __restrict__ rstd, T* __restrict__ dx, int64_t M, int64_t N) {
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    const acc_t mu = mean[blockIdx.x], rs = rstd[blockIdx.x];
    dy += blockIdx.x * N;
    x += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t sum = 0, dot = 0;
    for (int64_t j = tid; j < N; j += BLOCK) {
        const acc_t g = weighted(dy[j], weight, j);
        sum += g;
        dot += g * ((acc_t(x[j]) - mu) * rs);
    }
    sum = block_sum(sum, smem) / acc_t(N);
    dot = block_sum(dot, smem) / acc_t(N);
    for (int64_t j = tid; j < N; j += BLOCK) {
        const acc_t g = weighted(dy[j], weight, j);
        dx[j] = T(rs * (g - sum - (acc_t(x[j]) - mu) * rs * dot));
    }
}
