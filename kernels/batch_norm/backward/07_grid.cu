// 07_grid: a channel of dy and of x stays in the shared memory of several blocks, which meet at a barrier of the whole grid.
//
// Computes   g = dy (RELU: 0 where the output was not positive); db[c] = sum g, dw[c] = sum g*xhat, xhat = (x - mean[c])*rstd[c];
//            dx = weight[c]*rstd[c]*(g - db[c]/n - xhat*dw[c]/n), TRAIN = 0: weight[c]*rstd[c]*g; RESIDUAL: dresidual = g; n = N*L;
//            dy, x, dx (N, C, L)
// Launch     cooperative: grid of at most one block a multiprocessor, block BLOCK, dynamic smem 2*sizeof(T)*share B, static smem
//            32*sizeof(acc_t) B. A channel has `slices` blocks of `share` values each; gridDim.x/slices channels a round. clear: one thread
// FLOPs      9*N*C*L
// Traffic    3*sizeof(T)*N*C*L B, RESIDUAL: 5; that is the floor; from cache 2*sizeof(acc_t)*(1 + slices*BLOCK/32)*slices*C B of sums,
//            the values of the channel once a thread
// Intensity  3/sizeof(T) FLOP/B
// Since 06   a channel may have as many bytes as all blocks' shared memory; the barrier is inside the kernel, so that what a block has
//            read survives it
// Numerics   fp32 (fp64 for double); a sum a block, added in the order of the blocks: repeatable bit for bit on one model of GPU; another
//            number of multiprocessors may split the channels otherwise
// Source     CUDA C++ Programming Guide, "Grid Synchronization"; the mask is computed anew from x
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_bwd_clear(unsigned* state) { *state = 0; }

// partial (2, C, slices): the sums of g and of g*xhat of each block
extern "C" __global__ void batch_norm_bwd(const T* __restrict__ dy, const T* __restrict__ x, const S* weight, const S* bias,
                                          const T* __restrict__ residual, const R* __restrict__ mean, const R* __restrict__ spread,
                                          T* __restrict__ dx, T* __restrict__ dresidual, acc_t* dw, acc_t* db, acc_t* partial,
                                          unsigned* state, int64_t N, int64_t C, int64_t L, int64_t slices, int64_t share, double eps) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* gs = reinterpret_cast<T*>(memory);  // each value is read and written by one thread alone
    T* xs = gs + share;
    __shared__ acc_t smem[32];
    const int64_t n = N * L, together = gridDim.x / slices, slice = blockIdx.x % slices;
    const int64_t first = slice * share, length = first >= n ? 0 : n - first < share ? n - first : share;
    const int64_t step_i = BLOCK / L, step_l = BLOCK % L;  // BLOCK values on, without a division in the loop
    const int64_t start_i = (first + threadIdx.x) / L, start_l = (first + threadIdx.x) % L;
    for (int64_t round = 0; round < C; round += together) {  // as many times in every block: all of them meet at the barrier
        const int64_t c = round + blockIdx.x / slices;
        const bool works = c < C && blockIdx.x < together * slices;
        Factors f = {};
        acc_t sum = 0, dot = 0;
        if (works) {
            f = known_factors(mean, spread, weight, bias, c, eps);
            int64_t i = start_i, l = start_l;
            for (int64_t e = threadIdx.x; e < length; e += BLOCK) {
                const int64_t at = (i * C + c) * L + l;
                const T v = x[at];
                const acc_t g = f.masked(dy[at], v, residual, at);
                xs[e] = v;
                gs[e] = T(g);
                if (RESIDUAL) dresidual[at] = T(g);
                sum += g;
                dot += g * ((acc_t(v) - f.mean) * f.rstd);
                i += step_i;
                l += step_l;
                if (l >= L) {
                    l -= L;
                    ++i;
                }
            }
            sum = block_sum(sum, smem);
            dot = block_sum(dot, smem);
            if (threadIdx.x == 0) {
                partial[c * slices + slice] = sum;
                partial[(C + c) * slices + slice] = dot;
            }
        }
        grid_barrier(state);
        if (works) {
            sum = dot = 0;
            for (int64_t s = threadIdx.x & 31; s < slices; s += 32) {  // every warp adds the same sums in the same order
                sum += partial[c * slices + s];
                dot += partial[(C + c) * slices + s];
            }
            sum = warp_sum(sum);
            dot = warp_sum(dot);
            if (slice == 0 && threadIdx.x == 0) {
                dw[c] = dot;
                db[c] = sum;
            }
            const Slope k = slope_of(sum, dot, n);
            int64_t i = start_i, l = start_l;
            for (int64_t e = threadIdx.x; e < length; e += BLOCK) {
                dx[(i * C + c) * L + l] = k.dx(f, acc_t(gs[e]), xs[e]);
                i += step_i;
                l += step_l;
                if (l >= L) {
                    l -= L;
                    ++i;
                }
            }
        }
    }
}
