// 04_tile: windows that overlap: the block loads the rows that its TP x TQ results need into shared memory, each element once.
//
// Computes   y[m, p, q] = max x[m, h, w] over window (p, q) inside the image, and at its number r*S + s within the window (the first of equal ones; a NaN wins);
//            x (M, H, W), y and at (M, P, Q) contiguous, M = N*C; fixed windows of at most 256 elements
// Launch     grid M*ceil(P/TP)*ceil(Q/TQ), block (TQ, TP), dynamic smem rows*cols*sizeof(T) B,
//            rows = (TP - 1)*stride_h + (R - 1)*dilation_h + 1, cols = (TQ - 1)*stride_w + (S - 1)*dilation_w + 1
// FLOPs      M*P*Q*R*S comparisons
// Traffic    sizeof(T)*M*rows*cols*ceil(P/TP)*ceil(Q/TQ), less what lies outside the image, + (sizeof(T) + 1)*M*P*Q B
// Since 02   an element is loaded once for all the windows of the block that cover it, not R*S times
// Numerics   exact: the result is one of the inputs
// Source     tiles with a halo: Kirk & Hwu, "Programming Massively Parallel Processors", chapter 7; ties and NaN as PyTorch's
#include "pool/window.cuh"

extern "C" __global__ void max_pool2d_fwd(const T* __restrict__ x, T* __restrict__ y, uint8_t* __restrict__ at, int64_t M, int H, int W, int P,
                                          int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                          int dilation_w) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* tile = reinterpret_cast<T*>(memory);
    const int rows = (TP - 1) * stride_h + (R - 1) * dilation_h + 1, cols = (TQ - 1) * stride_w + (S - 1) * dilation_w + 1;
    const int64_t across = (Q + TQ - 1) / TQ, down = (P + TP - 1) / TP;
    const int64_t q0 = blockIdx.x % across * TQ, p0 = blockIdx.x / across % down * TP, m = blockIdx.x / (across * down);
    const int64_t top = p0 * stride_h - pad_h, left = q0 * stride_w - pad_w;
    x += m * H * W;
    for (int r = threadIdx.y; r < rows; r += TP)
        for (int c = threadIdx.x; c < cols; c += TQ) {
            const int64_t h = top + r, w = left + c;
            if (h >= 0 && h < H && w >= 0 && w < W) tile[r * cols + c] = x[h * W + w];
        }
    __syncthreads();
    const int64_t p = p0 + threadIdx.y, q = q0 + threadIdx.x;
    if (p >= P || q >= Q) return;
    acc_t hi = -INF;
    int best = -1;  // the first element inside the image, even if it is -inf
    for (int r = 0; r < R; ++r)
        for (int s = 0; s < S; ++s) {
            const int i = threadIdx.y * stride_h + r * dilation_h, j = threadIdx.x * stride_w + s * dilation_w;
            if (top + i >= 0 && top + i < H && left + j >= 0 && left + j < W) {
                const acc_t value = acc_t(tile[i * cols + j]);
                if (value > hi || value != value || best < 0) {
                    hi = value;
                    best = r * S + s;
                }
            }
        }
    const int64_t to = (m * P + p) * Q + q;
    y[to] = T(hi);
    at[to] = uint8_t(best);
}
