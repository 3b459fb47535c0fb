// 03_shared_tile: a block brings TILE x TILE pieces of A and B to shared memory, and each value is read from there TILE times.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid (ceil(M/TILE)*ceil(N/TILE), 1, min(batches, 65535)), block (TILE, TILE), static smem 2*TILE*(TILE+1)*sizeof(acc_t) B
// FLOPs      2*M*N*K a matrix
// Traffic    2*sizeof(T)*M*N*K/TILE + sizeof(T)*M*N B requested a matrix; floor sizeof(T)*(M*K + K*N + M*N) B
// Intensity  TILE/sizeof(T) FLOP/B requested
// Since 02   TILE times fewer loads from global memory; a transposed operand is read along its own rows and turned in shared memory
// Numerics   fp32 (fp64 for double, 64 bits for integers), summed in order of k
// Source     CUDA C++ Programming Guide, "Shared Memory" (matrix multiplication)
#include "epilogue/epilogue.cuh"

extern "C" __global__ void __launch_bounds__(TILE * TILE)
    matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, int64_t M, int64_t N,
               int64_t K, int64_t a_m, int64_t a_k, int64_t b_k, int64_t b_n, int64_t bias_n, Dims batch, int64_t batches) {
    __shared__ acc_t As[TILE][TILE + 1], Bs[TILE][TILE + 1];  // one more column: a tile that is stored turned meets no bank twice
    const int x = threadIdx.x, y = threadIdx.y;
    const int64_t across = (N + TILE - 1) / TILE;
    const int64_t m0 = blockIdx.x / across * TILE, n0 = blockIdx.x % across * TILE;
    const bool a_turned = a_k != 1 && a_m == 1, b_turned = b_n != 1 && b_k == 1;  // where neighbouring threads find neighbouring addresses
    const int am = a_turned ? x : y, ak = a_turned ? y : x;
    const int bk = b_turned ? x : y, bn = b_turned ? y : x;
    for (int64_t z = blockIdx.z; z < batches; z += gridDim.z) {
        int64_t at[2];
        offsets(batch, z, at, 2);
        const T* a = A + at[0];
        const T* b = B + at[1];
        acc_t acc = 0;
        for (int64_t k0 = 0; k0 < K; k0 += TILE) {
            As[am][ak] = m0 + am < M && k0 + ak < K ? acc_t(a[(m0 + am) * a_m + (k0 + ak) * a_k]) : acc_t(0);
            Bs[bk][bn] = k0 + bk < K && n0 + bn < N ? acc_t(b[(k0 + bk) * b_k + (n0 + bn) * b_n]) : acc_t(0);
            __syncthreads();  // the tiles are complete
#pragma unroll
            for (int k = 0; k < TILE; ++k) acc += As[y][k] * Bs[k][x];
            __syncthreads();  // and read, before the next ones overwrite them
        }
        const int64_t m = m0 + y, n = n0 + x;
        if (m < M && n < N) {
            store_one(acc, bias + n * bias_n, extra, C, (z * M + m) * N + n);
        }
    }
}
