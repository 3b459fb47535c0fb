// 01_naive: one thread a result.
//
// Computes   y[m, p, q] = sum of x[m, h, w] over window (p, q) inside the image / its count;
//            x (M, H, W), y (M, P, Q) contiguous, M = N*C; any windows, adaptive ones (R = S = 0) too
// Launch     grid ceil(M*P*Q/BLOCK), block BLOCK
// FLOPs      M*P*Q*R*S
// Traffic    sizeof(T)*M*P*Q*(R*S + 1) B requested; floor sizeof(T)*M*(H*W + P*Q) B
// Intensity  far below the ridge: memory decides
// Numerics   fp32 (fp64 for double), summed in order of h, w
// Source     the textbook definition; counts as PyTorch's
#include "avg_pool2d/average.cuh"

extern "C" __global__ void avg_pool2d_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int H, int W, int P, int Q, int R, int S,
                                          int stride_h, int stride_w, int pad_h, int pad_w, bool include, int64_t divisor) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * P * Q) return;
    const Axis rows{H, P, R, stride_h, pad_h, 1}, cols{W, Q, S, stride_w, pad_w, 1};
    const int64_t q = i % Q, p = i / Q % P;
    x += i / (int64_t(P) * Q) * H * W;
    acc_t sum = 0;
    for (int64_t h = rows.first(p); h < rows.last(p) && h < H; ++h)
        for (int64_t w = cols.first(q); w < cols.last(q) && w < W; ++w)
            if (h >= 0 && w >= 0) sum += acc_t(x[h * W + w]);
    y[i] = T(sum / acc_t(count(rows, cols, p, q, include, divisor)));
}
