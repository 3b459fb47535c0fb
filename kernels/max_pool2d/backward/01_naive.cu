// 01_naive: one thread an element of dy, which adds it to the place of its maximum.
//
// Computes   dx[m, h, w] = sum of dy[m, p, q] over the windows whose maximum lies at (h, w);
//            dy and at (M, P, Q), dx (M, H, W) contiguous; at: places h*W + w (int64) or numbers within the window (uint8)
// Launch     grid ceil(M*H*W/BLOCK), block BLOCK, for the zeros; then grid ceil(M*P*Q/BLOCK), block BLOCK
// FLOPs      M*P*Q
// Traffic    (3*sizeof(T) + sizeof(I))*M*P*Q + sizeof(T)*M*H*W B
// Intensity  far below the ridge: memory decides
// Numerics   in T; where windows overlap the order of the atomic additions, and so the last bits, may differ from run to run
// Source     the textbook definition as a scatter
#include "pool/window.cuh"

extern "C" __global__ void max_pool2d_bwd_zero(T* __restrict__ dx, int64_t M, int H, int W) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i < M * H * W) dx[i] = T(0);
}

extern "C" __global__ void max_pool2d_bwd(const T* __restrict__ dy, const I* __restrict__ at, T* __restrict__ dx, int64_t M, int H, int W,
                                          int P, int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                          int dilation_w) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * P * Q) return;
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h}, cols{W, Q, S, stride_w, pad_w, dilation_w};
    const int64_t to = place(at[i], rows, cols, i / Q % P, i % Q);
    atomicAdd(&dx[i / (int64_t(P) * Q) * H * W + to], dy[i]);
}
