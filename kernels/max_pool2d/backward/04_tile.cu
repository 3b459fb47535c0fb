// 04_tile: windows that overlap: the block loads the windows that cover its TH x TW places into shared memory, each once.
//
// Computes   dx[m, h, w] = sum of dy[m, p, q] over the windows whose maximum lies at (h, w);
//            dy and at (M, P, Q), dx (M, H, W) contiguous, H*W < 2^31; at: places h*W + w (int64) or numbers within the window (uint8); fixed windows
// Launch     grid M*ceil(H/TH)*ceil(W/TW), block (TW, TH), dynamic smem (sizeof(T) + 4)*n B, n = rows*cols rounded up to even,
//            rows = (TH - 1 + (R - 1)*dilation_h)/stride_h + 1, cols = (TW - 1 + (S - 1)*dilation_w)/stride_w + 1
// FLOPs      M*P*Q
// Traffic    (sizeof(T) + sizeof(I))*M*rows*cols*ceil(H/TH)*ceil(W/TW), less what lies outside dy, + sizeof(T)*M*H*W B
// Since 02   a window is loaded, and its number turned into a place, once for all the places of the block that it covers, not R*S times
// Numerics   fp32 (fp64 for double), summed in order of p, q: repeatable bit for bit
// Source     tiles with a halo: Kirk & Hwu, "Programming Massively Parallel Processors", chapter 7
#include "pool/window.cuh"

extern "C" __global__ void max_pool2d_bwd(const T* __restrict__ dy, const I* __restrict__ at, T* __restrict__ dx, int64_t M, int H, int W,
                                          int P, int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                          int dilation_w) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h}, cols{W, Q, S, stride_w, pad_w, dilation_w};
    const int64_t across = (W + TW - 1) / TW, down = (H + TH - 1) / TH;
    const int64_t w0 = blockIdx.x % across * TW, h0 = blockIdx.x / across % down * TH, m = blockIdx.x / (across * down);
    const int64_t p0 = rows.low(h0), q0 = cols.low(w0);
    const int high = int(rows.high(h0 + TH - 1) - p0), wide = int(cols.high(w0 + TW - 1) - q0);  // the windows that cover this block's places
    const int most = ((TH - 1 + (R - 1) * dilation_h) / stride_h + 1) * ((TW - 1 + (S - 1) * dilation_w) / stride_w + 1);
    T* grads = reinterpret_cast<T*>(memory);
    int* places = reinterpret_cast<int*>(memory + (most + 1) / 2 * 2 * sizeof(T));
    for (int i = threadIdx.y; i < high; i += TH)
        for (int j = threadIdx.x; j < wide; j += TW) {
            const int64_t from = (m * P + p0 + i) * Q + q0 + j;
            grads[i * wide + j] = dy[from];
            places[i * wide + j] = int(place(at[from], rows, cols, p0 + i, q0 + j));
        }
    __syncthreads();
    const int64_t h = h0 + threadIdx.y, w = w0 + threadIdx.x;
    if (h >= H || w >= W) return;
    const int here = int(h * W + w), left = int(cols.low(w) - q0), right = int(cols.high(w) - q0);
    acc_t sum = 0;
    for (int i = int(rows.low(h) - p0); i < int(rows.high(h) - p0); ++i)
        for (int j = left; j < right; ++j)
            if (places[i * wide + j] == here) sum += acc_t(grads[i * wide + j]);
    dx[(m * H + h) * W + w] = T(sum);
}
