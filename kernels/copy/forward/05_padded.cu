// 05_padded: a column more than the square has, so that its columns lie in different banks.
//
// Computes   y[i] = T(x[i]) where x is dense along one axis (its stride is 1) and y along another; the other axes are a batch, of any strides
// Launch     grid ceil(J/TILE)*ceil(K/TILE)*batch, block (TILE, ROWS), static smem TILE*(TILE + 1)*sizeof(T) B; J and K: x's dense axis and y's
// FLOPs      0
// Traffic    size * (sizeof(S) + sizeof(T)) B
// Since 04   TILE + 1 elements a row: a warp that reads a column finds its 32 words in 32 banks; in 04 all of them lie in one
// Numerics   as 01
// Source     Ruetsch & Micikevicius 2009, "Optimizing Matrix Transpose in CUDA" (NVIDIA)
#include "common.cuh"

extern "C" __global__ void copy_fwd(const S* __restrict__ x, T* __restrict__ y, Dims dims) {
    __shared__ T tile[TILE][TILE + 1];
    int j = 0, k = 0;
    for (int d = 0; d < dims.ndim; ++d) {
        if (dims.stride[0][d] == 1) j = d;
        if (dims.stride[1][d] == 1) k = d;
    }
    const int64_t J = dims.shape[j], K = dims.shape[k], across = (K + TILE - 1) / TILE, down = (J + TILE - 1) / TILE;
    int64_t rest = blockIdx.x;
    const int64_t k0 = rest % across * TILE, j0 = rest / across % down * TILE;
    rest /= across * down;
    for (int d = dims.ndim - 1; d >= 0; --d)
        if (d != j && d != k) {
            const int64_t at = rest % dims.shape[d];
            x += at * dims.stride[0][d];
            y += at * dims.stride[1][d];
            rest /= dims.shape[d];
        }
    const int tx = threadIdx.x;
    for (int r = threadIdx.y; r < TILE; r += ROWS)  // along x's dense axis
        if (j0 + tx < J && k0 + r < K) tile[r][tx] = static_cast<T>(x[j0 + tx + (k0 + r) * dims.stride[0][k]]);
    __syncthreads();
    for (int r = threadIdx.y; r < TILE; r += ROWS)  // along y's: a column of the tile
        if (k0 + tx < K && j0 + r < J) y[k0 + tx + (j0 + r) * dims.stride[1][j]] = tile[tx][r];
}
