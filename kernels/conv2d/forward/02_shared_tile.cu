// 02_shared_tile: a block brings a piece of the image and KB filters to shared memory, one channel after the other.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_crs x[n, c, h, w] * w[k, c, r, s]), h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), w (K, Cg, R, S), y (N, K, P, Q) contiguous, Cg = C/groups; zero outside the image; any sizes >= 1 whose piece fits
// Launch     grid N*groups*ceil(Kg/KB)*ceil(P/TI)*ceil(Q/TJ), block TI*TJ, dynamic smem (rows*cols + KB*R*S)*sizeof(acc_t) B for the piece
//            under TI x TJ places: rows = (TI-1)*stride_h + (R-1)*dilation_h + 1, cols likewise
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(N*groups*ceil(Kg/KB)*ceil(P/TI)*ceil(Q/TJ)*Cg*(rows*cols + KB*R*S) + N*K*P*Q) B requested;
//            floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2*TI*TJ*KB*R*S/(rows*cols + KB*R*S)/sizeof(T) FLOP/B requested
// Since 01   a value of the image is read once for the R*S places and KB filters that use it, a weight once for TI*TJ places
// Numerics   fp32 (fp64 for double), summed in order of c, r, s
// Source     Kirk & Hwu 2010, "Programming Massively Parallel Processors", chapter on convolution (halo in shared memory)
#include "epilogue/epilogue.cuh"

extern "C" __global__ void __launch_bounds__(TI * TJ, 1)
    conv2d_fwd(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ y,
               int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
               int dilation_h, int dilation_w, int groups) {
    extern __shared__ __align__(16) unsigned char memory[];
    const int rows = (TI - 1) * stride_h + (R - 1) * dilation_h + 1, cols = (TJ - 1) * stride_w + (S - 1) * dilation_w + 1;
    acc_t* piece = reinterpret_cast<acc_t*>(memory);
    acc_t* filters = piece + rows * cols;  // KB x R x S
    const int Cg = C / groups, Kg = K / groups, tid = threadIdx.x, i = tid / TJ, j = tid % TJ;
    const int across = (Q + TJ - 1) / TJ, down = (P + TI - 1) / TI, parts = (Kg + KB - 1) / KB;
    const int q0 = blockIdx.x % across * TJ, p0 = blockIdx.x / across % down * TI, rest = blockIdx.x / across / down;
    const int k0 = rest % parts * KB, g = rest / parts % groups;
    const int64_t n = rest / parts / groups, top = int64_t(p0) * stride_h - pad_h, left = int64_t(q0) * stride_w - pad_w;
    x += (n * C + g * Cg) * H * W;
    w += int64_t(g) * Kg * Cg * R * S;
    acc_t acc[KB] = {};
    for (int c = 0; c < Cg; ++c) {
        for (int e = tid; e < rows * cols; e += TI * TJ) {
            const int64_t h = top + e / cols, v = left + e % cols;
            piece[e] = h >= 0 && h < H && v >= 0 && v < W ? acc_t(x[(int64_t(c) * H + h) * W + v]) : acc_t(0);
        }
        for (int e = tid; e < KB * R * S; e += TI * TJ) {
            const int k = k0 + e / (R * S);
            filters[e] = k < Kg ? acc_t(w[(int64_t(k) * Cg + c) * (R * S) + e % (R * S)]) : acc_t(0);
        }
        __syncthreads();  // piece and filters are complete
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s) {
                const acc_t v = piece[(i * stride_h + r * dilation_h) * cols + j * stride_w + s * dilation_w];
                for (int k = 0; k < KB; ++k) acc[k] += v * filters[(k * R + r) * S + s];
            }
        __syncthreads();  // and read, before the next channel overwrites them
    }
    const int p = p0 + i, q = q0 + j;
    for (int k = 0; k < KB; ++k)
        if (k0 + k < Kg && p < P && q < Q) {
            const int64_t filter = g * Kg + k0 + k;
            store_one(acc[k], bias + filter, extra, y, ((n * K + filter) * P + p) * Q + q);
        }
}
