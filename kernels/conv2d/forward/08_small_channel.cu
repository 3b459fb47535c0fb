// 08_small_channel: few channels are in shared memory all at once; a thread keeps KB filters at TP places in registers.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_crs x[n, c, h, w] * w[k, c, r, s]), h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), w (K, Cg, R, S), y (N, K, P, Q) contiguous, Cg = C/groups; zero outside the image; Cg <= 4 whose piece fits
// Launch     grid N*groups*ceil(Kg/KB)*ceil(P/(WARPS*TP))*ceil(Q/32), block (32, WARPS), dynamic smem Cg*(rows*cols + KB*R*S)*sizeof(acc_t) B
//            for the piece under WARPS*TP x 32 places: rows = (WARPS*TP-1)*stride_h + (R-1)*dilation_h + 1, cols likewise
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(N*groups*ceil(Kg/KB)*ceil(P/(WARPS*TP))*ceil(Q/32)*Cg*(rows*cols + KB*R*S) + N*K*P*Q) B requested;
//            floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2*WARPS*TP*32*KB*R*S/(rows*cols + KB*R*S)/sizeof(T) FLOP/B requested of the image and the filters
// Since 07   a sum of Cg*R*S terms fills no tile of 8 channels and is too short for a pipeline: no step along c, one barrier in all. As 02 with
//            TP places below each other in a thread: KB*TP multiply-adds for TP reads of the image and KB/4 of the filters, not KB for KB + 1
// Numerics   fp32 (fp64 for double), summed in order of c, r, s
// Source     direct convolution for few channels, as cuda-convnet's (Krizhevsky 2012) first layers
#include "epilogue/epilogue.cuh"

constexpr int V = 16 / sizeof(acc_t);  // weights in 16 bytes
static_assert(KB % V == 0, "weights are read as whole vectors");
typedef Vec<acc_t, V> Sums;

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1)
    conv2d_fwd(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ y,
               int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w,
               int dilation_h, int dilation_w, int groups) {
    extern __shared__ __align__(16) unsigned char memory[];
    constexpr int TI = WARPS * TP, TJ = 32;
    const int rows = (TI - 1) * stride_h + (R - 1) * dilation_h + 1, cols = (TJ - 1) * stride_w + (S - 1) * dilation_w + 1;
    const int Cg = C / groups, Kg = K / groups, depth = Cg * R * S, lane = threadIdx.x, warp = threadIdx.y;
    acc_t* filters = reinterpret_cast<acc_t*>(memory);  // Cg x R x S x KB
    acc_t* piece = filters + depth * KB;                // Cg x rows x cols
    const int across = (Q + TJ - 1) / TJ, down = (P + TI - 1) / TI, parts = (Kg + KB - 1) / KB;
    const int q0 = blockIdx.x % across * TJ, p0 = blockIdx.x / across % down * TI, rest = blockIdx.x / across / down;
    const int k0 = rest % parts * KB, g = rest / parts % groups;
    const int64_t n = rest / parts / groups, top = int64_t(p0) * stride_h - pad_h, left = int64_t(q0) * stride_w - pad_w;
    x += (n * C + g * Cg) * H * W;
    w += (int64_t(g) * Kg + k0) * depth;
    for (int e = lane + 32 * warp; e < depth * KB; e += 32 * WARPS) {
        const int k = e / depth, crs = e % depth;
        filters[crs * KB + k] = k0 + k < Kg ? acc_t(w[e]) : acc_t(0);
    }
    for (int row = warp; row < Cg * rows; row += WARPS)
        for (int col = lane; col < cols; col += 32) {
            const int64_t h = top + row % rows, v = left + col;
            piece[row * cols + col] = h >= 0 && h < H && v >= 0 && v < W ? acc_t(x[(int64_t(row / rows) * H + h) * W + v]) : acc_t(0);
        }
    __syncthreads();  // piece and filters are complete
    acc_t acc[KB][TP] = {};
    const int step = stride_h * cols;  // from one of the thread's places to the one below
    for (int c = 0; c < Cg; ++c)
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s) {
                const acc_t* from = piece + (c * rows + r * dilation_h) * cols + warp * TP * step + lane * stride_w + s * dilation_w;
                const Sums* weights = reinterpret_cast<const Sums*>(filters + ((c * R + r) * S + s) * KB);
                acc_t v[TP];
                for (int t = 0; t < TP; ++t) v[t] = from[t * step];
                for (int k = 0; k < KB / V; ++k) {
                    const Sums weight = weights[k];
                    for (int l = 0; l < V; ++l)
                        for (int t = 0; t < TP; ++t) acc[k * V + l][t] += v[t] * weight.v[l];
                }
            }
    const int q = q0 + lane;
    for (int k = 0; k < KB; ++k)
        for (int t = 0; t < TP; ++t) {
            const int p = p0 + warp * TP + t, filter = g * Kg + k0 + k;
            if (k0 + k < Kg && p < P && q < Q) store_one(acc[k][t], bias + filter, extra, y, ((n * K + filter) * P + p) * Q + q);
        }
}
