// 02_block_sum: one block a weight; its threads share the results of the batch and add up what each has.
//
// Computes   dw[k, c, r, s] = sum_npq dy[n, k, p, q] * x[n, c, h, w], h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), dy (N, K, P, Q), dw (K, Cg, R, S) contiguous, Cg = C/groups; zero outside the image; N >= 0, other sizes >= 1
// Launch     grid K*Cg*R*S, block BLOCK
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(2*N*K*P*Q*Cg*R*S + K*Cg*R*S) B requested; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  1/sizeof(T) FLOP/B requested
// Since 01   BLOCK times as many threads, and neighbouring ones read neighbouring places of dy and x
// Numerics   fp32 (fp64 for double); every BLOCK-th term in order, then a butterfly: repeatable bit for bit
// Source     Harris 2007, "Optimizing Parallel Reduction in CUDA"
#include "common.cuh"

extern "C" __global__ void conv2d_bwd_dw(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dw, int64_t N, int C, int H,
                                         int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
                                         int dilation_h, int dilation_w, int groups) {
    __shared__ acc_t sums[BLOCK / 32];
    const int64_t i = blockIdx.x;
    const int Cg = C / groups;
    const int s = i % S, r = i / S % R, c = i / (R * S) % Cg, k = i / (int64_t(R) * S * Cg);
    x += int64_t(k / (K / groups) * Cg + c) * H * W;
    dy += int64_t(k) * P * Q;
    acc_t acc = 0;
    for (int64_t e = threadIdx.x; e < N * P * Q; e += BLOCK) {
        const int q = e % Q, p = e / Q % P;
        const int64_t n = e / (int64_t(P) * Q);
        const int64_t h = int64_t(p) * stride_h + int64_t(r) * dilation_h - pad_h, v = int64_t(q) * stride_w + int64_t(s) * dilation_w - pad_w;
        if (h >= 0 && h < H && v >= 0 && v < W) acc += acc_t(dy[(n * K * P + p) * Q + q]) * acc_t(x[(n * C * H + h) * W + v]);
    }
    acc = block_sum(acc, sums);
    if (threadIdx.x == 0) dw[i] = T(acc);
}
