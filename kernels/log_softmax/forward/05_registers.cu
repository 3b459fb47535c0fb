// 05_registers: each thread keeps its share of the row in registers, so that x is read once.
//
// Computes   y[m, j] = x[m, j] - hi[m] - log(sum_j exp(x[m, j] - hi[m])), hi[m] = max_j x[m, j]; x, y (M, N);
//            1 <= N <= BLOCK*KEEP
// Launch     grid M, block BLOCK, static smem 2*BLOCK/32*sizeof(acc_t) B
// FLOPs      6*M*N (compare, subtract, exp, add, subtract twice)
// Traffic    2*sizeof(T)*M*N B; that is the floor
// Intensity  6/(2*sizeof(T)) FLOP/B
// Since 04   one read in place of two, one exponential an element in place of two; KEEP loads of a thread are in flight at once
// Numerics   fp32 (fp64 for double); exponentials against the warp's maximum, their sums scaled to the row's; repeatable bit for bit
// Source     a row kept in registers: PyTorch, aten/src/ATen/native/cuda/PersistentSoftmax.cuh; merging as in 04
#include "common.cuh"

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    __shared__ acc_t tops[BLOCK / 32], sums[BLOCK / 32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    x += blockIdx.x * N;
    y += blockIdx.x * N;
    acc_t v[KEEP];  // indexed by constants alone once the loops are unrolled; else it would be memory
    acc_t hi = -INF, sum = 0;
#pragma unroll
    for (int k = 0; k < KEEP; ++k) v[k] = tid + k * BLOCK < N ? acc_t(x[tid + k * BLOCK]) : -INF;
#pragma unroll
    for (int k = 0; k < KEEP; ++k) hi = nan_max(hi, v[k]);
    const acc_t mine = warp_max(hi), base = mine == -INF ? acc_t(0) : mine;  // -inf - -inf would be NaN
#pragma unroll
    for (int k = 0; k < KEEP; ++k) sum += exp_(v[k] - base);
    sum = warp_sum(sum);
    if (lane == 0) {
        tops[warp] = mine;
        sums[warp] = sum;
    }
    __syncthreads();
    hi = lane < BLOCK / 32 ? tops[lane] : -INF;
    const acc_t top = warp_max(hi);
    const acc_t log_sum = log_(warp_sum(hi == -INF ? acc_t(0) : sums[lane] * exp_(hi - top)));
#pragma unroll
    for (int k = 0; k < KEEP; ++k)
        if (tid + k * BLOCK < N) y[tid + k * BLOCK] = T(v[k] - top - log_sum);
}
