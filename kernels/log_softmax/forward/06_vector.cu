// 06_vector: 16 bytes a load and a store.
//
// Computes   y[m, j] = x[m, j] - hi[m] - log(sum_j exp(x[m, j] - hi[m])), hi[m] = max_j x[m, j]; x, y (M, N);
//            1 <= N <= BLOCK*KEEP, N*sizeof(T) a multiple of 16
// Launch     grid M, block BLOCK, static smem 2*BLOCK/32*sizeof(acc_t) B
// FLOPs      6*M*N (compare, subtract, exp, add, subtract twice)
// Traffic    2*sizeof(T)*M*N B; that is the floor
// Intensity  6/(2*sizeof(T)) FLOP/B
// Since 05   16/sizeof(T) neighbouring values move as one access: as many bytes by fewer instructions
// Numerics   fp32 (fp64 for double); exponentials against the warp's maximum, their sums scaled to the row's; repeatable bit for bit
// Source     CUDA C++ Programming Guide, "Device Memory Accesses" (vector types); a row kept in registers: as 05
#include "common.cuh"

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    constexpr int W = 16 / sizeof(T);
    __shared__ acc_t tops[BLOCK / 32], sums[BLOCK / 32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    x += blockIdx.x * N;  // every row starts at a multiple of 16 bytes, because the first one does and N*sizeof(T) is one
    y += blockIdx.x * N;
    acc_t v[KEEP];  // indexed by constants alone once the loops are unrolled; else it would be memory
    acc_t hi = -INF, sum = 0;
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> in;
        if (j < N) in = *reinterpret_cast<const Vec<T, W>*>(x + j);
#pragma unroll
        for (int w = 0; w < W; ++w) v[k + w] = j < N ? acc_t(in.v[w]) : -INF;
    }
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
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> out;
#pragma unroll
        for (int w = 0; w < W; ++w) out.v[w] = T(v[k + w] - top - log_sum);
        if (j < N) *reinterpret_cast<Vec<T, W>*>(y + j) = out;
    }
}
