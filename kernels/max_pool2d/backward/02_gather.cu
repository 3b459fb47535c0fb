// 02_gather: one thread an element of dx, which looks for itself in every window that covers it.
//
// Computes   dx[m, h, w] = sum of dy[m, p, q] over the windows whose maximum lies at (h, w);
//            dy and at (M, P, Q), dx (M, H, W) contiguous; at: places h*W + w (int64) or numbers within the window (uint8)
// Launch     grid ceil(M*H*W/BLOCK), block BLOCK
// FLOPs      M*P*Q
// Traffic    (sizeof(I)*R*S + sizeof(T))*M*P*Q + sizeof(T)*M*H*W B requested; floor (sizeof(T) + sizeof(I))*M*P*Q + sizeof(T)*M*H*W B
// Intensity  far below the ridge: memory decides
// Since 01   no atomic additions and no zeros beforehand: dx is written once, and every dtype works
// Numerics   fp32 (fp64 for double), summed in order of p, q: repeatable bit for bit
// Source     the textbook definition as a gather
#include "pool/window.cuh"

extern "C" __global__ void max_pool2d_bwd(const T* __restrict__ dy, const I* __restrict__ at, T* __restrict__ dx, int64_t M, int H, int W,
                                          int P, int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                          int dilation_w) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * H * W) return;
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h}, cols{W, Q, S, stride_w, pad_w, dilation_w};
    const int64_t m = i / (int64_t(H) * W), here = i % (int64_t(H) * W), h = here / W, w = here % W;
    const int64_t left = cols.low(w), right = cols.high(w);
    acc_t sum = 0;
    for (int64_t p = rows.low(h); p < rows.high(h); ++p)
        for (int64_t q = left; q < right; ++q) {
            const int64_t from = (m * P + p) * Q + q;
            if (place(at[from], rows, cols, p, q) == here) sum += acc_t(dy[from]);
        }
    dx[i] = T(sum);
}
