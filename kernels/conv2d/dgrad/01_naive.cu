// 01_naive: one thread a result, which adds its share to every element of dx that it was made from.
//
// Computes   dx[n, c, h, w] = sum_krs dy[n, k, p, q] * w[k, c, r, s] over the p, q with p*stride_h + r*dilation_h - pad_h = h, w likewise;
//            dy (N, K, P, Q), w (K, Cg, R, S), dx (N, C, H, W) contiguous, Cg = C/groups; any sizes >= 1
// Launch     grid ceil(N*C*H*W/BLOCK), block BLOCK, to fill the sums with zeros; grid ceil(N*K*P*Q/BLOCK), block BLOCK; the first again, to round
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    (sizeof(T) + sizeof(acc_t))*N*K*P*Q*Cg*R*S + (2*sizeof(acc_t) + sizeof(T))*N*C*H*W + sizeof(T)*N*K*P*Q B requested, an atomic addition
//            counted once; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(sizeof(T) + sizeof(acc_t)) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in the order in which the additions arrive: the last bits differ from run to run
// Source     the derivative of the textbook definition, term by term
#include "common.cuh"

extern "C" __global__ void conv2d_bwd_zero(acc_t* __restrict__ sums, int64_t N, int C, int H, int W) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i < N * C * H * W) sums[i] = 0;
}

extern "C" __global__ void conv2d_bwd_dx(const T* __restrict__ dy, const T* __restrict__ w, acc_t* __restrict__ sums, int64_t N, int C,
                                         int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
                                         int dilation_h, int dilation_w, int groups) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= N * K * P * Q) return;
    const int q = i % Q, p = i / Q % P, k = i / (int64_t(P) * Q) % K;
    const int64_t n = i / (int64_t(P) * Q * K);
    const int Cg = C / groups;
    const acc_t share = acc_t(dy[i]);
    w += int64_t(k) * Cg * R * S;
    sums += (n * C + k / (K / groups) * Cg) * H * W;
    for (int c = 0; c < Cg; ++c)
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s) {
                const int64_t h = int64_t(p) * stride_h + int64_t(r) * dilation_h - pad_h, v = int64_t(q) * stride_w + int64_t(s) * dilation_w - pad_w;
                if (h >= 0 && h < H && v >= 0 && v < W) atomicAdd(&sums[(int64_t(c) * H + h) * W + v], share * acc_t(w[(int64_t(c) * R + r) * S + s]));
            }
}

extern "C" __global__ void conv2d_bwd_round(const acc_t* __restrict__ sums, T* __restrict__ dx, int64_t N, int C, int H, int W) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i < N * C * H * W) dx[i] = T(sums[i]);
}
