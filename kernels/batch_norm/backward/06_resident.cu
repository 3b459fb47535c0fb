// 06_resident: a channel of dy and of x stays in its block's shared memory, so that both are read once.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; RESIDUAL: dresidual = g; n = N*L;
//            dy, x, dx (N, C, L); 2*sizeof(T)*n <= ROOM
// Launch     grid C, block (X, Y) of BLOCK threads, X along L and Y along N, dynamic smem 2*sizeof(T)*N*L B, static smem 32*sizeof(acc_t) B
// FLOPs      9*N*C*L
// Traffic    3*sizeof(T)*N*C*L B, RESIDUAL: 5; that is the floor; the values of the channel once a thread, from cache
// Intensity  3/sizeof(T) FLOP/B
// Since 05   one block a channel again, which remembers what it read: one read in place of two. What it keeps is the masked g, so
//            the mask is computed once
// Numerics   fp32 (fp64 for double); strided partial sums, then a butterfly: repeatable bit for bit
// Source     Ioffe & Szegedy 2015, arXiv:1502.03167; the mask is computed anew from x
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                          const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ spread,
                                          T* __restrict__ dx, T* __restrict__ dresidual, acc_t* dw, acc_t* db, int64_t N, int64_t C, int64_t L,
                                          double eps) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* gs = reinterpret_cast<T*>(memory);  // (N, L), and xs after it: each value is read and written by one thread alone
    T* xs = gs + N * L;
    __shared__ acc_t smem[32];
    const int64_t c = blockIdx.x;
    const Factors f = known_factors(mean, spread, weight, bias, c, eps);
    acc_t sum = 0, dot = 0;
    for (int64_t i = threadIdx.y; i < N; i += blockDim.y)
        for (int64_t l = threadIdx.x; l < L; l += blockDim.x) {
            const int64_t at = (i * C + c) * L + l;
            const T v = x[at];
            const acc_t g = f.masked(dy[at], v, residual, at);
            xs[i * L + l] = v;
            gs[i * L + l] = T(g);
            if (RESIDUAL) dresidual[at] = T(g);
            sum += g;
            dot += g * ((acc_t(v) - f.mean) * f.rstd);
        }
    sum = block_sum(sum, smem);
    dot = block_sum(dot, smem);
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        dw[c] = dot;
        db[c] = sum;
    }
    const Slope k = slope_of(sum, dot, N * L);
    for (int64_t i = threadIdx.y; i < N; i += blockDim.y)
        for (int64_t l = threadIdx.x; l < L; l += blockDim.x) dx[(i * C + c) * L + l] = k.dx(f, acc_t(gs[i * L + l]), xs[i * L + l]);
}
