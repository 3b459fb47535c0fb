// 01_naive: one thread a result; a gather is all there is to it.
//
// Computes   y[m, p, q] = x[m, place of the maximum of window (p, q)];
//            x (M, H, W), at and y (M, P, Q) contiguous; at: places h*W + w (int64) or numbers within the window (uint8)
// Launch     grid ceil(M*P*Q/BLOCK), block BLOCK
// FLOPs      0
// Traffic    (2*sizeof(T) + sizeof(I))*M*P*Q B
// Intensity  0
// Numerics   exact
// Source     the transpose of max_pool2d.backward
#include "pool/window.cuh"

extern "C" __global__ void max_pool2d_take(const T* __restrict__ x, const I* __restrict__ at, T* __restrict__ y, int64_t M, int H, int W,
                                           int P, int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                           int dilation_w) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * P * Q) return;
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h}, cols{W, Q, S, stride_w, pad_w, dilation_w};
    y[i] = x[i / (int64_t(P) * Q) * H * W + place(at[i], rows, cols, i / Q % P, i % Q)];
}
