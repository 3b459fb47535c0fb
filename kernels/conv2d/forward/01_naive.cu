// 01_naive: one thread a result, which sums over channels and filter.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_crs x[n, c, h, w] * w[k, c, r, s]), h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), w (K, Cg, R, S), y (N, K, P, Q) contiguous, Cg = C/groups; zero outside the image; any sizes >= 1
// Launch     grid ceil(N*K*P*Q/BLOCK), block BLOCK
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(2*N*K*P*Q*Cg*R*S + N*K*P*Q) B requested; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  1/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order of c, r, s
// Source     the textbook definition
#include "epilogue/epilogue.cuh"

extern "C" __global__ void conv2d_fwd(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ extra,
                                      T* __restrict__ y, int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h,
                                      int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= N * K * P * Q) return;
    const int q = i % Q, p = i / Q % P, k = i / (int64_t(P) * Q) % K;
    const int64_t n = i / (int64_t(P) * Q * K);
    const int Cg = C / groups;
    x += (n * C + k / (K / groups) * Cg) * H * W;
    w += int64_t(k) * Cg * R * S;
    acc_t acc = 0;
    for (int c = 0; c < Cg; ++c)
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s) {
                const int64_t h = int64_t(p) * stride_h + int64_t(r) * dilation_h - pad_h, v = int64_t(q) * stride_w + int64_t(s) * dilation_w - pad_w;
                if (h >= 0 && h < H && v >= 0 && v < W) acc += acc_t(x[(int64_t(c) * H + h) * W + v]) * acc_t(w[(int64_t(c) * R + r) * S + s]);
            }
    store_one(acc, bias + k, extra, y, i);
}
