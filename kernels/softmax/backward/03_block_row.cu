// 03_block_row: one block a row, for rows that are long and few.
//
// Computes   dx[m, j] = y[m, j] * (dy[m, j] - sum_j dy[m, j] * y[m, j]); dy, y, dx (M, N); any M, N >= 1
// Launch     grid M, block BLOCK, static smem BLOCK/32*sizeof(acc_t) B
// FLOPs      4*M*N
// Traffic    5*sizeof(T)*M*N B requested (two reads of dy and y, one write); floor 3*sizeof(T)*M*N B: the second reads come from cache
//            where the row fits
// Intensity  4/(5*sizeof(T)) FLOP/B requested
// Since 02   BLOCK threads a row in place of 32; the sums of the warps meet in shared memory
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     the derivative of the definition; only the output y is needed
#include "common.cuh"

extern "C" __global__ void softmax_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t M, int64_t N) {
    __shared__ acc_t dots[BLOCK / 32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    dy += blockIdx.x * N;
    y += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t dot = 0;
    for (int64_t j = tid; j < N; j += BLOCK) dot += acc_t(dy[j]) * acc_t(y[j]);
    dot = warp_sum(dot);
    if (lane == 0) dots[warp] = dot;
    __syncthreads();
    dot = warp_sum(lane < BLOCK / 32 ? dots[lane] : acc_t(0));
    for (int64_t j = tid; j < N; j += BLOCK) dx[j] = T(acc_t(y[j]) * (acc_t(dy[j]) - dot));
}
