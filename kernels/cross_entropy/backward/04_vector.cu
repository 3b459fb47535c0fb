// 04_vector: 16 bytes a load and a store.
//
// Computes   dx[m, c] = g * (A[m] * exp(x[m, c] - hi[m]) / sum[m] - a[m, c]), A = sum_c a, a = weight[c] * ((1 - smoothing)*[c == target[m]]
//            + smoothing/C) (0 for an ignored row), or for PROBS with target[m, c] in place of [c == target[m]]; g = dy[m] (NONE), dy (SUM),
//            dy/total (MEAN); with need_t also dtarget[m, c] = -g * weight[c] * (1 - smoothing) * (x - hi - log(sum)); x, dx (M, C), D = 1,
//            rows of a multiple of 16 bytes
// Launch     grid M, block BLOCK, static smem 32*sizeof(acc_t) B
// FLOPs      5*M*C
// Traffic    2*sizeof(T)*M*C B requested (x read, dx written; smoothing with weights: those too; PROBS: target read twice, dtarget written); that is
//            the floor. Besides, each of a row's BLOCK threads asks for its label, dy, maximum, sum and the total (24 B in float32): from cache
// Intensity  5/(2*sizeof(T)) FLOP/B requested
// Since 03   N neighbours move as one access: fewer instructions, more bytes in flight; N = 16/sizeof(T)
// Numerics   fp32 (fp64 for double); thread-strided partial sums, then butterflies; repeatable bit for bit
// Source     as 03; vector loads: Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "../row.cuh"

#define N (16 / int(sizeof(T)))
typedef Vec<T, N> Wide;

extern "C" __global__ void cross_entropy_bwd(const T* __restrict__ dy, const T* __restrict__ x, const L* __restrict__ target, const S* weight,
                                             const acc_t* __restrict__ hi, const acc_t* __restrict__ sum, const acc_t* __restrict__ total,
                                             T* dx, T* dtarget, int64_t M, int64_t C, int64_t ignore, double smoothing, int weighted, int reduction,
                                             int need_t) {
    __shared__ acc_t smem[32];
    const int64_t m = blockIdx.x;
    const Row row(x, target, weight, m, C, 1, smoothing, weighted);
    const acc_t g = factor(dy, total, m, reduction), top = hi[m], inverse = 1 / sum[m], log_sum = log_(sum[m]);
    int64_t t;
    bool counts;
    const acc_t A = block_sum(add_wanted(row, threadIdx.x, BLOCK, ignore, t, counts), smem);
    dx += m * C;
    dtarget += m * C;
    for (int64_t c = threadIdx.x * int64_t(N); c < C; c += BLOCK * N) {
        const Wide v = *reinterpret_cast<const Wide*>(row.x + c);
        Wide out;
        for (int k = 0; k < N; ++k) out.v[k] = counts ? T(g * gradient(row, c + k, t, acc_t(v.v[k]) - top, A, inverse)) : T(0.0f);
        *reinterpret_cast<Wide*>(dx + c) = out;
        if (PROBS && need_t) {
            for (int k = 0; k < N; ++k) out.v[k] = T(g * row.scale(c + k) * row.keep * (log_sum - (acc_t(v.v[k]) - top)));
            *reinterpret_cast<Wide*>(dtarget + c) = out;
        }
    }
}
