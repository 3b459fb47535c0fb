// 02_vector: 16 bytes an access, one division for all of them.
//
// Computes   dx[i] = BACK(mask[i] ? dy[i] * scale : 0, v), v = x[i] + bias[k] or ACT of it, whichever BACK is written in: computed again, not kept;
//            dy, x, mask and dx (O, K, I) contiguous, bias (K); each part as the macros of ../chain.cuh say. The residual's gradient is dy itself,
//            the bias's the sum of dx over O and I (kernels/reduce)
// Launch     grid min(ceil(size/(N*BLOCK)), 16 blocks an SM), block BLOCK; N = 16 / sizeof(T)
// FLOPs      3 an element, ACT's and BACK's
// Traffic    size * (2*sizeof(T) + (1 - LINEAR)*(1 + BIAS)*sizeof(T) + DROP) B: dy, dx, x, bias (from cache) and mask
// Since 01   N neighbours move as one access and share the division that finds their channel; a grid-stride loop
// Numerics   as 01
// Source     the chain rule
#include "bias_act_dropout_add/chain.cuh"

constexpr int N = 16 / sizeof(T);

extern "C" __global__ void chain_back(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ bias, const bool* __restrict__ mask,
                                      T* __restrict__ dx, int64_t size, int64_t K, int64_t I, acc_t scale) {
    const int64_t step = gridDim.x * int64_t(BLOCK), start = blockIdx.x * int64_t(BLOCK) + threadIdx.x, vectors = size / N;
    for (int64_t g = start; g < vectors; g += step) {
        const Vec<T, N> grad = reinterpret_cast<const Vec<T, N>*>(dy)[g];
        Vec<T, N> in, b, out;
        Vec<bool, N> kept;
        if (!LINEAR) in = reinterpret_cast<const Vec<T, N>*>(x)[g];
        if (DROP) kept = reinterpret_cast<const Vec<bool, N>*>(mask)[g];
        Channel channel(g * N, K, I);
        if (BIAS && !LINEAR) b = biases<N>(bias, channel);
        #pragma unroll
        for (int k = 0; k < N; ++k)
            out.v[k] = chain_bwd(grad.v[k], LINEAR ? T(0) : in.v[k], BIAS && !LINEAR ? acc_t(b.v[k]) : acc_t(0), DROP ? kept.v[k] : true, scale);
        reinterpret_cast<Vec<T, N>*>(dx)[g] = out;
    }
    for (int64_t i = vectors * N + start; i < size; i += step) {
        const acc_t b = BIAS && !LINEAR ? acc_t(bias[Channel(i, K, I).k]) : acc_t(0);
        dx[i] = chain_bwd(dy[i], LINEAR ? T(0) : x[i], b, DROP ? mask[i] : true, scale);
    }
}
