// 03_split: the rows are cut into pieces, a block each, and a second kernel adds the pieces in order.
//
// Computes   dw[j] = sum_m dy[m, j] * (x[m, j] - mean[m]) * rstd[m], db[j] = sum_m dy[m, j]; dy, x (M, N)
// Launch     partial: grid (ceil(N/32), pieces), block (32, ROWS), static smem 64*ROWS*sizeof(acc_t) B; merge: grid ceil(N/BLOCK), block BLOCK
// FLOPs      5*M*N
// Traffic    2*sizeof(T)*M*N B; that is the floor; 4*sizeof(acc_t)*N*pieces B of sums; mean and rstd of a row once a thread, from cache
// Intensity  5/(2*sizeof(T)) FLOP/B
// Since 02   of many rows and few columns the whole GPU takes a share: 768 columns are 24 blocks of 02
// Numerics   fp32 (fp64 for double); a sum a warp, added in the order of the warps and then of the pieces: repeatable bit for bit
// Source     the derivative of the definition
#include "common.cuh"

// partial (2, pieces, N): the sums of dy and of dy*xhat of each piece
extern "C" __global__ void layer_norm_bwd_dw_partial(const T* __restrict__ dy, const T* __restrict__ x, const acc_t* __restrict__ mean,
                                                     const acc_t* __restrict__ rstd, acc_t* partial, int64_t M, int64_t N, int64_t pieces) {
    __shared__ acc_t sums[ROWS][32], dots[ROWS][32];
    const int lane = threadIdx.x, row = threadIdx.y;
    const int64_t j = blockIdx.x * int64_t(32) + lane;
    acc_t sum = 0, dot = 0;
    if (j < N)
        for (int64_t m = blockIdx.y * int64_t(ROWS) + row; m < M; m += pieces * ROWS) {
            const acc_t g = acc_t(dy[m * N + j]);
            sum += g;
            dot += g * ((acc_t(x[m * N + j]) - mean[m]) * rstd[m]);
        }
    sums[row][lane] = sum;
    dots[row][lane] = dot;
    __syncthreads();
    if (row != 0 || j >= N) return;  // no barrier follows
    for (int r = 1; r < ROWS; ++r) {
        sum += sums[r][lane];
        dot += dots[r][lane];
    }
    partial[blockIdx.y * N + j] = sum;
    partial[(pieces + blockIdx.y) * N + j] = dot;
}

extern "C" __global__ void layer_norm_bwd_dw_merge(const acc_t* __restrict__ partial, acc_t* dw, acc_t* db, int64_t N, int64_t pieces) {
    const int64_t j = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (j >= N) return;
    acc_t sum = 0, dot = 0;
    for (int64_t p = 0; p < pieces; ++p) {
        sum += partial[p * N + j];
        dot += partial[(pieces + p) * N + j];
    }
    dw[j] = dot;
    db[j] = sum;
}
