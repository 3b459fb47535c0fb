// 03_vector: 16 bytes a load, and no index arithmetic.
//
// Computes   loss[i] = f(x[i], t[i], p, w[i]), f of formulas.cuh by `kind`, its sum, or its sum / size; x, t, w contiguous, of one shape
// Launch     pointwise_loss_fwd: grid ceil(size/(BLOCK*EACH)), block BLOCK; pointwise_loss_finish: grid 1, block BLOCK (not for NONE)
// FLOPs      3*size (mse_loss) to about 20*size (with exp and log1p)
// Traffic    2*sizeof(T)*size B, NONE: 3*sizeof(T)*size B; with w sizeof(T)*size B more; that is the floor (and a sum a block, written and read)
// Since 02   contiguous operands need no division an axis, and N neighbours move as one access; N = 16/sizeof(T)
// Numerics   fp32 (fp64 for double); the order of the sum is fixed (by N: another one than in 02): repeatable bit for bit
// Source     Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"
#include "loss.cuh"
#include "../formulas.cuh"

#define N (16 / int(sizeof(T)))
typedef Vec<T, N> Wide;
static_assert(EACH % N == 0, "a thread's elements are whole vectors");

// An input outside [0, 1] is reported in `flag` (code 5) where `checked`.
__device__ __forceinline__ acc_t one(int kind, acc_t x, acc_t t, double p, acc_t w, int checked, int32_t* flag) {
    if (checked && (x < 0 || x > 1)) atomicMax(flag, 5);
    return loss_of(kind, x, t, acc_t(p), w);
}

extern "C" __global__ void pointwise_loss_fwd(const T* __restrict__ x, const T* __restrict__ t, const T* __restrict__ w, T* loss, acc_t* values,
                                              int32_t* flag, int64_t size, int kind, double p, int third, int reduction, int checked) {
    __shared__ acc_t smem[32];
    const bool aligned = is_aligned<T, N>(x) && is_aligned<T, N>(t) && (!third || is_aligned<T, N>(w)) && (reduction != NONE || is_aligned<T, N>(loss));
    acc_t sum = 0;
    for (int k = 0; k < EACH / N; ++k) {
        const int64_t first = ((blockIdx.x * int64_t(EACH / N) + k) * BLOCK + threadIdx.x) * N;
        if (aligned && first + N <= size) {
            const Wide a = *reinterpret_cast<const Wide*>(x + first), b = *reinterpret_cast<const Wide*>(t + first);
            Wide c, out;
            if (third) c = *reinterpret_cast<const Wide*>(w + first);
            for (int j = 0; j < N; ++j) {
                const acc_t value = one(kind, acc_t(a.v[j]), acc_t(b.v[j]), p, third ? acc_t(c.v[j]) : acc_t(1), checked, flag);
                sum += value;
                out.v[j] = T(value);
            }
            if (reduction == NONE) *reinterpret_cast<Wide*>(loss + first) = out;
        } else {  // the end, or a view that starts between multiples of 16 bytes
            for (int64_t i = first; i < first + N && i < size; ++i) {
                const acc_t value = one(kind, acc_t(x[i]), acc_t(t[i]), p, third ? acc_t(w[i]) : acc_t(1), checked, flag);
                sum += value;
                if (reduction == NONE) loss[i] = T(value);
            }
        }
    }
    if (reduction != NONE) {
        sum = block_sum(sum, smem);
        if (threadIdx.x == 0) values[blockIdx.x] = sum;
    }
}

extern "C" __global__ void pointwise_loss_finish(const acc_t* values, T* loss, int64_t size, int reduction) {
    __shared__ acc_t smem[32];
    const acc_t sum = ordered_sum(values, (size + BLOCK * EACH - 1) / (BLOCK * EACH), smem);
    if (threadIdx.x == 0) *loss = T(reduction == MEAN ? sum / acc_t(size) : sum);
}
