// 02_offsets: the place of the maximum as a number within the window, 1 byte in place of 8.
//
// Computes   y[m, p, q] = max x[m, h, w] over window (p, q) inside the image, and at its number r*S + s within the window (the first of equal ones; a NaN wins);
//            x (M, H, W), y and at (M, P, Q) contiguous, M = N*C; windows of at most 256 elements
// Launch     grid ceil(M*P*Q/BLOCK), block BLOCK
// FLOPs      M*P*Q*R*S comparisons
// Traffic    sizeof(T)*M*P*Q*R*S + (sizeof(T) + 1)*M*P*Q B requested; floor sizeof(T)*M*H*W + (sizeof(T) + 1)*M*P*Q B
// Intensity  far below the ridge: memory decides
// Since 01   for float the result and its place take 5 B, not 12: most of the write traffic is gone, here and in backward
// Numerics   exact: the result is one of the inputs
// Source     the textbook definition; ties and NaN as PyTorch's
#include "pool/window.cuh"

extern "C" __global__ void max_pool2d_fwd(const T* __restrict__ x, T* __restrict__ y, uint8_t* __restrict__ at, int64_t M, int H, int W, int P,
                                          int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                          int dilation_w) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= M * P * Q) return;
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h}, cols{W, Q, S, stride_w, pad_w, dilation_w};
    const int64_t q = i % Q, p = i / Q % P;
    x += i / (int64_t(P) * Q) * H * W;
    const int64_t top = rows.first(p), left = cols.first(q), bottom = rows.last(p), right = cols.last(q);
    acc_t hi = -INF;
    int64_t best = -1;  // the first element inside the image, even if it is -inf
    for (int64_t h = top; h < bottom && h < H; h += dilation_h)
        for (int64_t v = left; v < right && v < W; v += dilation_w)
            if (h >= 0 && v >= 0) {
                const acc_t value = acc_t(x[h * W + v]);
                if (value > hi || value != value || best < 0) {
                    hi = value;
                    best = (h - top) / rows.dilation * S + (v - left) / cols.dilation;
                }
            }
    y[i] = T(hi);
    at[i] = uint8_t(best);
}
