// 02_gather: one thread an element of dx, which gathers from every result that it took part in.
//
// Computes   dx[n, c, h, w] = sum_krs dy[n, k, p, q] * w[k, c, r, s] over the p, q with p*stride_h + r*dilation_h - pad_h = h, w likewise;
//            dy (N, K, P, Q), w (K, Cg, R, S), dx (N, C, H, W) contiguous, Cg = C/groups; any sizes >= 1
// Launch     grid ceil(N*C*H*W/BLOCK), block BLOCK
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(2*N*K*P*Q*Cg*R*S + N*C*H*W) B requested; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  1/sizeof(T) FLOP/B requested
// Since 01   no atomic additions, no zeros beforehand and no sums in scratch memory; the same order of summation in every run
// Numerics   fp32 (fp64 for double), summed in order of k, r, s; no atomics: repeatable bit for bit
// Source     the transpose of the textbook definition, as a gather
#include "common.cuh"

extern "C" __global__ void conv2d_bwd_dx(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, int64_t N, int C, int H,
                                         int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
                                         int dilation_h, int dilation_w, int groups) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= N * C * H * W) return;
    const int v = i % W, h = i / W % H, c = i / (int64_t(H) * W) % C;
    const int64_t n = i / (int64_t(H) * W * C);
    const int Cg = C / groups, Kg = K / groups, g = c / Cg;
    acc_t acc = 0;
    for (int k = g * Kg; k < (g + 1) * Kg; ++k)
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s) {
                const int64_t up = int64_t(h) + pad_h - int64_t(r) * dilation_h, left = int64_t(v) + pad_w - int64_t(s) * dilation_w;
                const int64_t p = up / stride_h, q = left / stride_w;
                if (up >= 0 && left >= 0 && p * stride_h == up && q * stride_w == left && p < P && q < Q)
                    acc += acc_t(dy[((n * K + k) * P + p) * Q + q]) * acc_t(w[((int64_t(k) * Cg + c % Cg) * R + r) * S + s]);
            }
    dx[i] = T(acc);
}
