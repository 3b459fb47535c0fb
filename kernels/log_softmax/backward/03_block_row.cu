// 03_block_row: one block a row, for rows that are long and few.
//
// Computes   dx[m, j] = dy[m, j] - exp(y[m, j]) * sum_j dy[m, j]; dy, y, dx (M, N); any M, N >= 1
// Launch     grid M, block BLOCK, static smem BLOCK/32*sizeof(acc_t) B
// FLOPs      4*M*N
// Traffic    4*sizeof(T)*M*N B requested (two reads of dy, one of y, one write); floor 3*sizeof(T)*M*N B: the second read comes from
//            cache where the row fits
// Intensity  1/sizeof(T) FLOP/B requested
// Since 02   BLOCK threads a row in place of 32; the sums of the warps meet in shared memory
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     the derivative of the definition; only the output y is needed
#include "common.cuh"

extern "C" __global__ void log_softmax_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t M, int64_t N) {
    __shared__ acc_t sums[BLOCK / 32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    dy += blockIdx.x * N;
    y += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t sum = 0;
    for (int64_t j = tid; j < N; j += BLOCK) sum += acc_t(dy[j]);
    sum = warp_sum(sum);
    if (lane == 0) sums[warp] = sum;
    __syncthreads();
    sum = warp_sum(lane < BLOCK / 32 ? sums[lane] : acc_t(0));
    for (int64_t j = tid; j < N; j += BLOCK) dx[j] = T(acc_t(dy[j]) - exp_(acc_t(y[j])) * sum);
}
