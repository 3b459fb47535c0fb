// 07_resident: a row that is too long for registers stays in shared memory.
//
// Computes   y[m, j] = x[m, j] - hi[m] - log(sum_j exp(x[m, j] - hi[m])), hi[m] = max_j x[m, j]; x, y (M, N);
//            sizeof(T)*N as much as a block can have
// Launch     grid M, block BLOCK, dynamic smem sizeof(T)*N B, static smem (32 + BLOCK/32)*sizeof(acc_t) B
// FLOPs      6*M*N
// Traffic    2*sizeof(T)*M*N B; that is the floor
// Intensity  6/(2*sizeof(T)) FLOP/B
// Since 06   rows of tens of thousands of values are read once. The maximum is known before the first exponential: one an element, not two
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     a row kept in shared memory: PyTorch, aten/src/ATen/native/cuda/PersistentSoftmax.cuh and SoftMax.cu
#include "common.cuh"

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int64_t N) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* row = reinterpret_cast<T*>(memory);  // each value is written and read by one thread alone: no barrier for it
    __shared__ acc_t tops[BLOCK / 32], sums[32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    x += blockIdx.x * N;
    y += blockIdx.x * N;
    acc_t hi = -INF, sum = 0;
    for (int64_t j = tid; j < N; j += BLOCK) {
        const T v = x[j];
        row[j] = v;
        hi = nan_max(hi, acc_t(v));
    }
    hi = warp_max(hi);
    if (lane == 0) tops[warp] = hi;
    __syncthreads();
    const acc_t top = warp_max(lane < BLOCK / 32 ? tops[lane] : -INF);
    for (int64_t j = tid; j < N; j += BLOCK) sum += exp_(acc_t(row[j]) - top);
    const acc_t log_sum = log_(block_sum(sum, sums));
    for (int64_t j = tid; j < N; j += BLOCK) y[j] = T(acc_t(row[j]) - top - log_sum);
}
