// 02_image_tile: a block brings the piece of the image under TI x TJ pooled results to shared memory, once for all filters.
//
// Computes   z[n, k, i, j] = max over window (i, j) of y, y[n, k, p, q] = ACT(bias[k] + sum_crs x[n, c, h, w] * w[k, c, r, s]) as conv2d.forward,
//            and its number a*B + b within the window (the first of equal ones; a NaN wins); x (N, C, H, W), w (K, C, R, S), y of size (P, Q) is
//            never stored, z and at (N, K, I, J), windows of (A, B) <= 256 elements; all contiguous; one group; any sizes >= 1 whose piece fits
// Launch     grid N*ceil(I/TI)*ceil(J/TJ), block (TI*TJ, WARPS), dynamic smem C*rows*cols*sizeof(acc_t) B for a piece of rows x cols
// FLOPs      2*N*K*I*J*A*B*C*R*S (windows that overlap compute their common results again)
// Traffic    sizeof(T)*N*(ceil(I/TI)*ceil(J/TJ)*C*rows*cols + K*I*J*(1 + A*B*C*R*S)) + N*K*I*J B requested, a weight for each multiply-add (from L1, the
//            same for all lanes); floor as in 01
// Intensity  2*K*TI*TJ*A*B*R*S/(sizeof(T)*rows*cols) FLOP/B of x
// Since 01   the image is read once for all filters and windows, from shared memory; the lanes of a warp share each weight (a broadcast)
// Numerics   fp32 (fp64 for double), summed in order of c, r, s
// Source     direct convolution for few channels, as cuda-convnet's (Krizhevsky 2012) first layers
#include "epilogue/epilogue.cuh"

extern "C" __global__ void __launch_bounds__(TI * TJ * WARPS, 1)
    conv2d_pool_fwd(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ z, uint8_t* __restrict__ at,
                    int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
                    int dilation_h, int dilation_w, int I, int J, int A, int B, int step_h, int step_w, int rim_h, int rim_w, int spread_h,
                    int spread_w, int rows, int cols) {
    extern __shared__ double piece_[];
    acc_t* piece = reinterpret_cast<acc_t*>(piece_);
    const int down = (I + TI - 1) / TI, across = (J + TJ - 1) / TJ;
    const int64_t n = blockIdx.x / (down * across);
    const int i0 = blockIdx.x / across % down * TI, j0 = blockIdx.x % across * TJ;
    const int64_t top = (int64_t(i0) * step_h - rim_h) * stride_h - pad_h, left = (int64_t(j0) * step_w - rim_w) * stride_w - pad_w;
    x += n * C * H * W;
    for (int e = threadIdx.x + TI * TJ * threadIdx.y; e < C * rows * cols; e += TI * TJ * WARPS) {
        const int64_t h = top + e / cols % rows, v = left + e % cols;
        piece[e] = h >= 0 && h < H && v >= 0 && v < W ? acc_t(x[(int64_t(e / (rows * cols)) * H + h) * W + v]) : acc_t(0);
    }
    __syncthreads();  // the piece is complete
    const int i = i0 + threadIdx.x / TJ, j = j0 + threadIdx.x % TJ;
    if (i >= I || j >= J) return;
    for (int k = threadIdx.y; k < K; k += WARPS) {
        const T* filter = w + int64_t(k) * C * R * S;
        acc_t hi = -INF;
        int best = -1;
        for (int a = 0; a < A; ++a)
            for (int b = 0; b < B; ++b) {
                const int64_t p = int64_t(i) * step_h + int64_t(a) * spread_h - rim_h, q = int64_t(j) * step_w + int64_t(b) * spread_w - rim_w;
                if (p < 0 || p >= P || q < 0 || q >= Q) continue;
                const acc_t* from = piece + ((i - i0) * step_h + a * spread_h) * stride_h * cols + ((j - j0) * step_w + b * spread_w) * stride_w;
                acc_t acc = 0;
                for (int c = 0; c < C; ++c)
                    for (int r = 0; r < R; ++r)
                        for (int s = 0; s < S; ++s)
                            acc += from[(c * rows + r * dilation_h) * cols + s * dilation_w] * acc_t(filter[(c * R + r) * S + s]);
                if (BIAS) acc += acc_t(bias[k]);
                acc = ACT::of(acc);
                if (acc > hi || acc != acc || best < 0) {
                    hi = acc;
                    best = a * B + b;
                }
            }
        const int64_t e = ((n * K + k) * I + i) * J + j;
        z[e] = T(hi);
        at[e] = uint8_t(best);
    }
}
