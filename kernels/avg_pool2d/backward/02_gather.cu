// 02_gather: one thread an element of dx, which adds up the shares of the windows that cover it.
//
// Computes   dx[m, h, w] = sum of dy[m, p, q] / count over the windows that cover (h, w); dy (M, P, Q), dx (M, H, W) contiguous
// Launch     grid ceil(M*H*W/BLOCK), block BLOCK
// FLOPs      2*M*P*Q*R*S
// Traffic    sizeof(T)*M*P*Q*R*S + sizeof(T)*M*H*W B requested; floor sizeof(T)*M*(H*W + P*Q) B
// Intensity  far below the ridge: memory decides
// Since 01   no atomic additions and no zeros beforehand: dx is written once, and every dtype works
// Numerics   fp32 (fp64 for double), summed in order of p, q: repeatable bit for bit
// Source     the textbook definition as a gather
#include "avg_pool2d/average.cuh"

extern "C" __global__ void avg_pool2d_bwd(const T* __restrict__ dy, T* __restrict__ dx, int64_t M, int H, int W, int P, int Q, int R, int S,
                                          int stride_h, int stride_w, int pad_h, int pad_w, bool include, int64_t divisor) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * H * W) return;
    const Axis rows{H, P, R, stride_h, pad_h, 1}, cols{W, Q, S, stride_w, pad_w, 1};
    const int64_t m = i / (int64_t(H) * W), h = i / W % H, w = i % W;
    const int64_t left = cols.low(w), right = cols.high(w);
    acc_t sum = 0;
    for (int64_t p = rows.low(h); p < rows.high(h); ++p)
        for (int64_t q = left; q < right; ++q)
            sum += acc_t(dy[(m * P + p) * Q + q]) / acc_t(count(rows, cols, p, q, include, divisor));
    dx[i] = T(sum);
}
