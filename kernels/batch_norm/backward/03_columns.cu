// 03_columns: for (N, C) inputs a lane is a channel, so that a warp reads 32 neighbouring values of a row.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; RESIDUAL: dresidual = g; L = 1, n = N;
//            dy, x, dx (N, C)
// Launch     grid ceil(C/32), block (32, ROWS), static smem 64*ROWS*sizeof(acc_t) B
// FLOPs      12*N*C
// Traffic    5*sizeof(T)*N*C B requested (two reads of dy and x, one write), RESIDUAL: 8; floor 3*sizeof(T)*N*C B, RESIDUAL: 5;
//            the values of the channel once a thread, from cache
// Intensity  12/(5*sizeof(T)) FLOP/B requested
// Since 02   there neighbouring threads of (N, C) read addresses C apart; here they are neighbours, and ROWS warps share the rows
// Numerics   fp32 (fp64 for double); a sum a warp, added in the order of the warps: repeatable bit for bit
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167; the mask is computed anew from x
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                          const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ spread,
                                          T* __restrict__ dx, T* __restrict__ dresidual, acc_t* dw, acc_t* db, int64_t N, int64_t C, int64_t L,
                                          double eps) {
    __shared__ acc_t sums[ROWS][32], dots[ROWS][32];
    const int lane = threadIdx.x, row = threadIdx.y;
    const int64_t c = blockIdx.x * int64_t(32) + lane;
    Factors f = {};
    acc_t sum = 0, dot = 0;
    if (c < C) {
        f = known_factors(mean, spread, weight, bias, c, eps);
        for (int64_t i = row; i < N; i += ROWS) {
            const int64_t at = i * C + c;
            const acc_t g = f.masked(dy[at], x[at], residual, at);
            sum += g;
            dot += g * ((acc_t(x[at]) - f.mean) * f.rstd);
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
    const Slope k = slope_of(sum, dot, N);
    for (int64_t i = row; i < N; i += ROWS) {
        const int64_t at = i * C + c;
        const acc_t g = f.masked(dy[at], x[at], residual, at);
        dx[at] = k.dx(f, g, x[at]);
        if (RESIDUAL) dresidual[at] = T(g);
    }
}
