// 03_thread_tile: a thread keeps the convolutions of its whole window for KB filters in registers, and filters too are in shared memory.
//
// Computes   z[n, k, i, j] = max over window (i, j) of y, y[n, k, p, q] = ACT(bias[k] + sum_crs x[n, c, h, w] * w[k, c, r, s]) as conv2d.forward,
//            and its number a*B + b within the window (the first of equal ones; a NaN wins); x (N, C, H, W), w (K, C, R, S), y of size (P, Q) is
//            never stored, z and at (N, K, I, J), windows of (A, B) <= WINDOW elements; all contiguous; one group; any sizes >= 1 that fit
// Launch     grid N*ceil(I/TI)*ceil(J/TJ), block (TI*TJ, WARPS), dynamic smem C*(rows*cols + R*S*Kp)*sizeof(acc_t) B for a piece of rows x cols, Kp = K
//            rounded up to an odd multiple of KB
// FLOPs      2*N*K*I*J*A*B*C*R*S (windows that overlap compute their common results again)
// Traffic    sizeof(T)*(N*ceil(I/TI)*ceil(J/TJ)*C*(rows*cols + R*S*K) + N*K*I*J) + N*K*I*J B requested; floor as in 01
// Intensity  2*K*TI*TJ*A*B*R*S/(rows*cols + R*S*K)/sizeof(T) FLOP/B of x and w
// Since 02   A*B values of the image and KB weights (16 bytes a read) feed A*B*KB multiply-adds, where 02 reads one of each for one
// Numerics   fp32 (fp64 for double), summed in order of c, r, s
// Source     as 02; register blocking: Volkov & Demmel 2008
#include "epilogue/epilogue.cuh"

constexpr int V = 16 / sizeof(acc_t);  // weights in 16 bytes
static_assert(KB % V == 0, "weights are read as whole vectors");
typedef Vec<acc_t, V> Sums;

extern "C" __global__ void __launch_bounds__(TI * TJ * WARPS, 1)
    conv2d_pool_fwd(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ z, uint8_t* __restrict__ at,
                    int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
                    int dilation_h, int dilation_w, int I, int J, int A, int B, int step_h, int step_w, int rim_h, int rim_w, int spread_h,
                    int spread_w, int rows, int cols) {
    extern __shared__ __align__(16) unsigned char memory[];
    const int depth = C * R * S, Kp = ((K + KB - 1) / KB | 1) * KB;  // odd: stores down a column share fewer banks
    acc_t* filters = reinterpret_cast<acc_t*>(memory);  // C x R x S x Kp
    acc_t* piece = filters + depth * Kp;                // C x rows x cols
    const int down = (I + TI - 1) / TI, across = (J + TJ - 1) / TJ;
    const int64_t n = blockIdx.x / (down * across);
    const int i0 = blockIdx.x / across % down * TI, j0 = blockIdx.x % across * TJ;
    const int64_t top = (int64_t(i0) * step_h - rim_h) * stride_h - pad_h, left = (int64_t(j0) * step_w - rim_w) * stride_w - pad_w;
    x += n * C * H * W;
    for (int e = threadIdx.x + TI * TJ * threadIdx.y; e < C * rows * cols; e += TI * TJ * WARPS) {
        const int64_t h = top + e / cols % rows, v = left + e % cols;
        piece[e] = h >= 0 && h < H && v >= 0 && v < W ? acc_t(x[(int64_t(e / (rows * cols)) * H + h) * W + v]) : acc_t(0);
    }
    for (int e = threadIdx.x + TI * TJ * threadIdx.y; e < depth * Kp; e += TI * TJ * WARPS) {
        const int k = e / depth, crs = e % depth;
        filters[crs * Kp + k] = k < K ? acc_t(w[e]) : acc_t(0);
    }
    __syncthreads();  // piece and filters are complete
    const int i = i0 + threadIdx.x / TJ, j = j0 + threadIdx.x % TJ;
    if (i >= I || j >= J) return;
    // where the window's elements lie in the piece, and which of them are results at all
    int offset[WINDOW];
    bool real[WINDOW];
    for (int e = 0; e < WINDOW; ++e) {
        const int a = e / B, b = e % B;
        const int64_t p = int64_t(i) * step_h + int64_t(a) * spread_h - rim_h, q = int64_t(j) * step_w + int64_t(b) * spread_w - rim_w;
        real[e] = e < A * B && p >= 0 && p < P && q >= 0 && q < Q;
        offset[e] = real[e] ? ((i - i0) * step_h + a * spread_h) * stride_h * cols + ((j - j0) * step_w + b * spread_w) * stride_w : 0;
    }
    for (int k0 = threadIdx.y * KB; k0 < K; k0 += WARPS * KB) {
        acc_t acc[KB][WINDOW] = {};
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r)
                for (int s = 0; s < S; ++s) {
                    const acc_t* from = piece + (c * rows + r * dilation_h) * cols + s * dilation_w;
                    const Sums* weights = reinterpret_cast<const Sums*>(filters + ((c * R + r) * S + s) * Kp + k0);
                    acc_t v[WINDOW];
                    for (int e = 0; e < WINDOW; ++e) v[e] = from[offset[e]];
                    for (int k = 0; k < KB / V; ++k) {
                        const Sums weight = weights[k];
                        for (int l = 0; l < V; ++l)
                            for (int e = 0; e < WINDOW; ++e) acc[k * V + l][e] += v[e] * weight.v[l];
                    }
                }
        for (int k = 0; k < KB && k0 + k < K; ++k) {
            acc_t hi = -INF;
            int best = -1;
            for (int e = 0; e < WINDOW; ++e) {
                if (!real[e]) continue;
                acc_t v = acc[k][e];
                if (BIAS) v += acc_t(bias[k0 + k]);
                v = ACT::of(v);
                if (v > hi || v != v || best < 0) {
                    hi = v;
                    best = e;
                }
            }
            const int64_t e = ((n * K + k0 + k) * I + i) * J + j;
            z[e] = T(hi);
            at[e] = uint8_t(best);
        }
    }
}
