// 03_columns: for (N, C) inputs a lane is a channel, so that a warp reads 32 neighbouring values of a row.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/N - xhat*dw[c]/N), TRAIN = 0: weight[c]*rstd[c]*g; dy, x, dx (N, C); L = 1
// Launch     grid ceil(C/32), block (32, ROWS), static smem 64*ROWS*sizeof(acc_t) B
// FLOPs      12*N*C
// Traffic    5*sizeof(T)*N*C B requested (two reads of dy and x, one write); floor 3*sizeof(T)*N*C B
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 02   there neighbouring threads of (N, C) read addresses C apart; here they are neighbours, and ROWS warps share the rows
// Numerics   fp32 (fp64 for double); a sum a warp, added in the order of the warps: repeatable bit for bit
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167; the mask is computed anew from x
#include "common.cuh"

// spread: rstd while training, the running variance otherwise
extern "C" __global__ void batch_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                          const R* __restrict__ mean, const R* __restrict__ spread, T* __restrict__ dx, acc_t* dw, acc_t* db,
                                          int64_t N, int64_t C, int64_t L, double eps) {
    __shared__ acc_t sums[ROWS][32], dots[ROWS][32];
    const int lane = threadIdx.x, row = threadIdx.y;
    const int64_t c = blockIdx.x * int64_t(32) + lane;
    acc_t mu = 0, rs = 0, scale = 0, shift = 0, sum = 0, dot = 0;
    if (c < C) {
        mu = mean[c];
        rs = TRAIN ? acc_t(spread[c]) : 1 / sqrt_(acc_t(spread[c]) + acc_t(eps));
        scale = WEIGHT ? rs * acc_t(weight[c]) : rs;
        shift = BIAS ? acc_t(bias[c]) : acc_t(0);
        for (int64_t i = row; i < N; i += ROWS) {
            const acc_t d = acc_t(x[i * C + c]) - mu;
            const acc_t g = RELU && d * scale + shift <= 0 ? acc_t(0) : acc_t(dy[i * C + c]);
            sum += g;
            dot += g * (d * rs);
        }
    }
    sums[row][lane] = sum;
    dots[row][lane] = dot;
    __syncthreads();
    if (c >= C) return;  // no barrier follows
    sum = dot = 0;
    for (int r = 0; r < ROWS; ++r) {
        sum += sums[r][lane];
        dot += dots[r][lane];
    }
    if (row == 0) {
        dw[c] = dot;
        db[c] = sum;
    }
    const acc_t n = N, mean_g = TRAIN ? sum / n : acc_t(0), slope = TRAIN ? dot / n : acc_t(0);
    for (int64_t i = row; i < N; i += ROWS) {
        const acc_t d = acc_t(x[i * C + c]) - mu;
        const acc_t g = RELU && d * scale + shift <= 0 ? acc_t(0) : acc_t(dy[i * C + c]);
        dx[i * C + c] = T(scale * (TRAIN ? g - mean_g - d * rs * slope : g));
    }
}
