// 05_vector: 16 bytes a load and a store.
//
// Computes   dx[m, j] = dy[m, j] - exp(y[m, j]) * sum_j dy[m, j]; dy, y, dx (M, N); 1 <= N <= BLOCK*KEEP,
//            N*sizeof(T) a multiple of 16
// Launch     grid M, block BLOCK, static smem BLOCK/32*sizeof(acc_t) B
// FLOPs      4*M*N
// Traffic    3*sizeof(T)*M*N B; that is the floor
// Intensity  4/(3*sizeof(T)) FLOP/B
// Since 04   16/sizeof(T) neighbouring values move as one access: as many bytes by fewer instructions
// Numerics   fp32 (fp64 for double); partial sums of neighbours, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     CUDA C++ Programming Guide, "Device Memory Accesses" (vector types)
#include "common.cuh"

extern "C" __global__ void log_softmax_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t M, int64_t N) {
    constexpr int W = 16 / sizeof(T);
    __shared__ acc_t sums[BLOCK / 32];
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    dy += blockIdx.x * N;  // every row starts at a multiple of 16 bytes, because the first one does and N*sizeof(T) is one
    y += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t g[KEEP], v[KEEP];  // indexed by constants alone once the loops are unrolled; else they would be memory
    acc_t sum = 0;
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> a = {}, b = {};  // zeros past the end of the row add nothing
        if (j < N) {
            a = *reinterpret_cast<const Vec<T, W>*>(dy + j);
            b = *reinterpret_cast<const Vec<T, W>*>(y + j);
        }
#pragma unroll
        for (int w = 0; w < W; ++w) {
            g[k + w] = acc_t(a.v[w]);
            v[k + w] = acc_t(b.v[w]);
        }
    }
#pragma unroll
    for (int k = 0; k < KEEP; ++k) sum += g[k];
    sum = warp_sum(sum);
    if (lane == 0) sums[warp] = sum;
    __syncthreads();
    sum = warp_sum(lane < BLOCK / 32 ? sums[lane] : acc_t(0));
#pragma unroll
    for (int k = 0; k < KEEP; k += W) {
        const int j = k * BLOCK + tid * W;
        Vec<T, W> out;
#pragma unroll
        for (int w = 0; w < W; ++w) out.v[w] = T(g[k + w] - exp_(v[k + w]) * sum);
        if (j < N) *reinterpret_cast<Vec<T, W>*>(dx + j) = out;
    }
}
