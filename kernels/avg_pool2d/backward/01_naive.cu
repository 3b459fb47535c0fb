// 01_naive: one thread an element of dy, which adds its share to every place of its window.
//
// Computes   dx[m, h, w] = sum of dy[m, p, q] / count over the windows that cover (h, w); dy (M, P, Q), dx (M, H, W) contiguous
// Launch     grid ceil(M*H*W/BLOCK), block BLOCK, for the zeros; then grid ceil(M*P*Q/BLOCK), block BLOCK
// FLOPs      M*P*Q*(R*S + 1)
// Traffic    2*sizeof(T)*M*P*Q*R*S + sizeof(T)*M*(H*W + P*Q) B requested
// Intensity  far below the ridge: memory decides
// Numerics   in T; where windows overlap the order of the atomic additions, and so the last bits, may differ from run to run
// Source     the textbook definition as a scatter
#include "avg_pool2d/average.cuh"

extern "C" __global__ void avg_pool2d_bwd_zero(T* __restrict__ dx, int64_t M, int H, int W) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i < M * H * W) dx[i] = T(0);
}

extern "C" __global__ void avg_pool2d_bwd(const T* __restrict__ dy, T* __restrict__ dx, int64_t M, int H, int W, int P, int Q, int R, int S,
                                          int stride_h, int stride_w, int pad_h, int pad_w, bool include, int64_t divisor) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * P * Q) return;
    const Axis rows{H, P, R, stride_h, pad_h, 1}, cols{W, Q, S, stride_w, pad_w, 1};
    const int64_t q = i % Q, p = i / Q % P;
    dx += i / (int64_t(P) * Q) * H * W;
    const T share = T(acc_t(dy[i]) / acc_t(count(rows, cols, p, q, include, divisor)));
    for (int64_t h = rows.first(p); h < rows.last(p) && h < H; ++h)
        for (int64_t w = cols.first(q); w < cols.last(q) && w < W; ++w)
            if (h >= 0 && w >= 0) atomicAdd(&dx[h * W + w], share);
}
