// 01_naive: one thread an element of dx.
//
// Computes   dx[i] = BACK(mask[i] ? dy[i] * scale : 0, v), v = x[i] + bias[k] or ACT of it, whichever BACK is written in: computed again, not kept;
//            dy, x, mask and dx (O, K, I) contiguous, bias (K); each part as the macros of ../chain.cuh say. The residual's gradient is dy itself,
//            the bias's the sum of dx over O and I (kernels/reduce)
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      3 an element, ACT's and BACK's
// Traffic    size * (2*sizeof(T) + (1 - LINEAR)*(1 + BIAS)*sizeof(T) + DROP) B: dy, dx, x, bias (from cache) and mask
// Intensity  far below the ridge: memory decides
// Numerics   in fp32 (fp64 for double), rounded to T after each part: the same bits as the ops one by one
// Source     the chain rule
#include "bias_act_dropout_add/chain.cuh"

extern "C" __global__ void chain_back(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ bias, const bool* __restrict__ mask,
                                      T* __restrict__ dx, int64_t size, int64_t K, int64_t I, acc_t scale) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    const acc_t b = BIAS && !LINEAR ? acc_t(bias[Channel(i, K, I).k]) : acc_t(0);
    dx[i] = chain_bwd(dy[i], LINEAR ? T(0) : x[i], b, DROP ? mask[i] : true, scale);
}
