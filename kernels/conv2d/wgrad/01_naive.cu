// 01_naive: one thread a weight, which walks through every result of the batch.
//
// Computes   dw[k, c, r, s] = sum_npq dy[n, k, p, q] * x[n, c, h, w], h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), dy (N, K, P, Q), dw (K, Cg, R, S) contiguous, Cg = C/groups; zero outside the image; N >= 0, other sizes >= 1
// Launch     grid ceil(K*Cg*R*S/BLOCK), block BLOCK
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(2*N*K*P*Q*Cg*R*S + K*Cg*R*S) B requested; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  1/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order of n, p, q
// Source     the derivative of the textbook definition
#include "common.cuh"

extern "C" __global__ void conv2d_bwd_dw(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dw, int64_t N, int C, int H,
                                         int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
                                         int dilation_h, int dilation_w, int groups) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    const int Cg = C / groups;
    if (i >= int64_t(K) * Cg * R * S) return;
    const int s = i % S, r = i / S % R, c = i / (R * S) % Cg, k = i / (int64_t(R) * S * Cg);
    x += int64_t(k / (K / groups) * Cg + c) * H * W;
    dy += int64_t(k) * P * Q;
    acc_t acc = 0;
    for (int64_t n = 0; n < N; ++n)
        for (int p = 0; p < P; ++p)
            for (int q = 0; q < Q; ++q) {
                const int64_t h = int64_t(p) * stride_h + int64_t(r) * dilation_h - pad_h, v = int64_t(q) * stride_w + int64_t(s) * dilation_w - pad_w;
                if (h >= 0 && h < H && v >= 0 && v < W)
                    acc += acc_t(dy[(n * K * P + p) * Q + q]) * acc_t(x[(n * C * H + h) * W + v]);
            }
    dw[i] = T(acc);
}
