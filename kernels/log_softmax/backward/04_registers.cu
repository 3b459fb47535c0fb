// 04_registers: each thread keeps its share of dy and y in registers, so that both are read once.
//
// Computes   dx[m, j] = dy[m, j] - exp(y[m, j]) * sum_j dy[m, j]; dy, y, dx (M, N); 1 <= N <= BLOCK*KEEP
// Launch     grid M, block BLOCK, static smem BLOCK/32*sizeof(acc_t) B
// FLOPs      4*M*N
// Traffic    3*sizeof(T)*M*N B; that is the floor
// Intensity  4/(3*sizeof(T)) FLOP/B
// Since 03   one read of dy in place of two; 2*KEEP loads of a thread are in flight at once
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     the derivative of the definition; only the output y is needed
#include "common.cuh"

extern "C" __global__ void log_softmax_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t M, int64_t N) {
    __shared__ acc_t sums[BLOCK / 32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    dy += blockIdx.x * N;
    y += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t g[KEEP], v[KEEP];  // indexed by constants alone once the loops are unrolled; else they would be memory
    acc_t sum = 0;
#pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        const bool inside = tid + k * BLOCK < N;
        g[k] = inside ? acc_t(dy[tid + k * BLOCK]) : acc_t(0);
        v[k] = inside ? acc_t(y[tid + k * BLOCK]) : acc_t(0);
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) sum += g[k];
    sum = warp_sum(sum);
    if (lane == 0) sums[warp] = sum;
    __syncthreads();
    sum = warp_sum(lane < BLOCK / 32 ? sums[lane] : acc_t(0));
#pragma unroll
    for (int k = 0; k < KEEP; ++k)
        if (tid + k * BLOCK < N) dx[tid + k * BLOCK] = T(g[k] - exp_(v[k]) * sum);
}
