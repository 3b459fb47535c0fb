// 02_coalesced: one thread an element of C, neighbouring threads along a row.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid (ceil(M*N/BLOCK), 1, min(batches, 65535)), block BLOCK
// FLOPs      2*M*N*K a matrix
// Traffic    2*sizeof(T)*M*N*K + sizeof(T)*M*N B requested a matrix; floor sizeof(T)*(M*K + K*N + M*N) B
// Intensity  1/sizeof(T) FLOP/B requested
// Since 01   a warp shares one row of A (a broadcast) and reads neighbouring columns of B: 2 transactions a step where 01 has 33
// Numerics   fp32 (fp64 for double, 64 bits for integers), summed in order of k
// Source     Boehm 2022, "How to Optimize a CUDA Matmul Kernel for cuBLAS-like Performance", kernel 2
#include "epilogue/epilogue.cuh"

extern "C" __global__ void matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C,
                                      int64_t M, int64_t N, int64_t K, int64_t a_m, int64_t a_k, int64_t b_k, int64_t b_n,
                                      int64_t bias_n, Dims batch, int64_t batches) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * N) return;
    const int64_t m = i / N, n = i % N;
    for (int64_t z = blockIdx.z; z < batches; z += gridDim.z) {
        int64_t at[2];
        offsets(batch, z, at, 2);
        const T* a = A + at[0] + m * a_m;
        const T* b = B + at[1] + n * b_n;
        acc_t acc = 0;
        for (int64_t k = 0; k < K; ++k) acc += acc_t(a[k * a_k]) * acc_t(b[k * b_k]);
        store_one(acc, bias + n * bias_n, extra, C, (z * M + m) * N + n);
    }
}
