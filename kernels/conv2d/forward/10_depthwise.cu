// 10_depthwise: one channel feeds a filter, so a block takes one channel's piece and a thread TP places of it.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_rs x[n, k/Kg, h, w] * w[k, 0, r, s]), h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), w (K, 1, R, S), y (N, K, P, Q) contiguous, Kg = K/groups filters a channel; zero outside the image; C = groups, piece fits
// Launch     grid N*C*ceil(P/TI)*ceil(Q/16), TI = 2*WARPS*TP, block 32*WARPS, dynamic smem (rows*pitch + Kg*R*S)*sizeof(acc_t) B for the piece under
//            TI x 16 places: rows = (TI-1)*stride_h + (R-1)*dilation_h + 1, cols likewise, pitch = cols rounded up to an odd multiple of 16
// FLOPs      2*N*K*P*Q*R*S
// Traffic    sizeof(T)*(N*C*ceil(P/TI)*ceil(Q/16)*(rows*cols + Kg*R*S) + N*K*P*Q) B requested; floor sizeof(T)*(N*C*H*W + K*R*S + N*K*P*Q) B
// Intensity  2*Kg*R*S/(1 + Kg)/sizeof(T) FLOP/B at best: memory is what limits it, and no tile of filters can change that
// Since 09   no sum over channels, so nothing to multiply in tiles: each value of the image is read from global memory once (and once more along the
//            rim of a piece). Tiles of 16 x 16 places, not 16 x 32: the small images of a network's end fill them better. Half a warp is a row of
//            places; rows of the piece lie 16 banks apart, so that two of them share no bank (stride 1)
// Numerics   fp32 (fp64 for double), summed in order of r, s
// Source     Chollet 2017, "Xception", arXiv:1610.02357 (the layer); the textbook definition
#include "epilogue/epilogue.cuh"

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1)
    conv2d_fwd(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ y,
               int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
               int dilation_h, int dilation_w) {
    extern __shared__ __align__(16) unsigned char memory[];
    constexpr int TI = 2 * WARPS * TP, TJ = 16;
    const int rows = (TI - 1) * stride_h + (R - 1) * dilation_h + 1, cols = (TJ - 1) * stride_w + (S - 1) * dilation_w + 1;
    const int pitch = (cols + 15) / 32 * 32 + 16, Kg = K / C, tid = threadIdx.x, i = tid / 16, j = tid % 16;
    acc_t* piece = reinterpret_cast<acc_t*>(memory);
    acc_t* filters = piece + rows * pitch;  // Kg x R x S
    const int across = (Q + TJ - 1) / TJ, down = (P + TI - 1) / TI;
    const int q0 = blockIdx.x % across * TJ, p0 = blockIdx.x / across % down * TI, c = blockIdx.x / across / down % C;
    const int64_t n = blockIdx.x / across / down / C, top = int64_t(p0) * stride_h - pad_h, left = int64_t(q0) * stride_w - pad_w;
    x += (n * C + c) * H * W;
    for (int e = tid; e < Kg * R * S; e += 32 * WARPS) filters[e] = acc_t(w[int64_t(c) * Kg * R * S + e]);
    for (int row = i; row < rows; row += 2 * WARPS)
        for (int col = j; col < cols; col += 16) {
            const int64_t h = top + row, v = left + col;
            piece[row * pitch + col] = h >= 0 && h < H && v >= 0 && v < W ? acc_t(x[h * W + v]) : acc_t(0);
        }
    __syncthreads();  // piece and filters are complete
    const int step = 2 * WARPS * stride_h * pitch, q = q0 + j;  // from one of the thread's places to the next below
    for (int k = 0; k < Kg; ++k) {
        acc_t acc[TP] = {};
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s) {
                const acc_t* from = piece + (i * stride_h + r * dilation_h) * pitch + j * stride_w + s * dilation_w;
                const acc_t weight = filters[(k * R + r) * S + s];
                for (int t = 0; t < TP; ++t) acc[t] += from[t * step] * weight;
            }
        for (int t = 0; t < TP; ++t) {
            const int p = p0 + t * 2 * WARPS + i;
            if (p < P && q < Q) store_one(acc[t], bias + c * Kg + k, extra, y, ((n * K + c * Kg + k) * P + p) * Q + q);
        }
    }
}
