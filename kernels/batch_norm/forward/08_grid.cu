// 08_grid: a channel stays in the shared memory of several blocks, which wait for each other at a barrier of the whole grid.
//
// Computes   y = (x - mean[c]) * rstd[c] * weight[c] + bias[c] (RESIDUAL: + residual) (RELU: at least 0); mean and biased variance over
//            the n = N*L values of a channel, rstd = 1/sqrt(var + eps); running += momentum*(batch - running), unbiased; x, y (N, C, L);
//            n >= 2
// Launch     cooperative: grid of at most one block a multiprocessor, block BLOCK, dynamic smem sizeof(T)*share B, static smem
//            3*sizeof(acc_t)*32 B. A channel has `slices` blocks of `share` values each; gridDim.x/slices channels a round.
//            clear: one thread
// FLOPs      10*N*C*L, of which N*C*L divisions
// Traffic    2*sizeof(T)*N*C*L B, RESIDUAL: 3; that is the floor; from cache 3*sizeof(acc_t)*(1 + slices*BLOCK/32)*slices*C B of moments,
//            weight and bias once a thread
// Intensity  5/sizeof(T) FLOP/B
// Since 07   a channel may have as many bytes as all blocks' shared memory; the end of a kernel was the barrier of 05 and 06, here it is
//            one inside a kernel, so that what a block has read survives it
// Numerics   fp32 (fp64 for double); Welford, merged by shuffles and then in the order of the blocks: repeatable bit for bit on one
//            model of GPU; another number of multiprocessors may split the channels otherwise
// Source     Welford 1962, doi:10.2307/1266577; Chan, Golub, LeVeque 1979 (merging); CUDA C++ Programming Guide, "Grid Synchronization"
#include "batch_norm/channel.cuh"

extern "C" __global__ void batch_norm_fwd_clear(unsigned* state) { *state = 0; }

// partial (3, C, slices): k, mean and m2 of each block's share of its channel
extern "C" __global__ void batch_norm_fwd(const T* __restrict__ x, const S* __restrict__ weight, const S* __restrict__ bias,
                                          const T* __restrict__ residual, R* running_mean, R* running_var, T* __restrict__ y, acc_t* mean,
                                          acc_t* rstd, acc_t* partial, unsigned* state, int64_t N, int64_t C, int64_t L, int64_t slices,
                                          int64_t share, double momentum, double eps) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* tile = reinterpret_cast<T*>(memory);  // each value is read and written by one thread alone
    __shared__ acc_t smem[3][32];
    const int64_t n = N * L, together = gridDim.x / slices, slice = blockIdx.x % slices;
    const int64_t first = slice * share, length = first >= n ? 0 : n - first < share ? n - first : share;
    const int64_t step_i = BLOCK / L, step_l = BLOCK % L;  // BLOCK values on, without a division in the loop
    const int64_t start_i = (first + threadIdx.x) / L, start_l = (first + threadIdx.x) % L;
    for (int64_t round = 0; round < C; round += together) {  // as many times in every block: all of them meet at the barrier
        const int64_t c = round + blockIdx.x / slices;
        const bool works = c < C && blockIdx.x < together * slices;
        Moments a = {0, 0, 0};
        if (works) {
            int64_t i = start_i, l = start_l;
            for (int64_t e = threadIdx.x; e < length; e += BLOCK) {
                const T v = x[(i * C + c) * L + l];
                tile[e] = v;
                take(a, acc_t(v));
                i += step_i;
                l += step_l;
                if (l >= L) {
                    l -= L;
                    ++i;
                }
            }
            a = block_moments(a, smem);
            if (threadIdx.x == 0) {
                partial[c * slices + slice] = a.k;
                partial[(C + c) * slices + slice] = a.mean;
                partial[(2 * C + c) * slices + slice] = a.m2;
            }
        }
        grid_barrier(state);
        if (works) {
            a = {0, 0, 0};
            for (int64_t s = threadIdx.x & 31; s < slices; s += 32)  // every warp merges the same triples in the same order
                a = merge(a, {partial[c * slices + s], partial[(C + c) * slices + s], partial[(2 * C + c) * slices + s]});
            a = warp_moments(a);
            const acc_t rs = 1 / sqrt_(a.m2 / a.k + acc_t(eps));
            if (slice == 0 && threadIdx.x == 0) publish(a, c, running_mean, running_var, mean, rstd, momentum, eps);
            const Factors f = factors(a.mean, rs, weight, bias, c);
            int64_t i = start_i, l = start_l;
            for (int64_t e = threadIdx.x; e < length; e += BLOCK) {
                const int64_t at = (i * C + c) * L + l;
                y[at] = f.output(tile[e], residual, at);
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
