// 02_warp_window: one warp a result, for windows that are large: the average of a whole image.
//
// Computes   y[m, p, q] = sum of x[m, h, w] over window (p, q) inside the image / its count;
//            x (M, H, W), y (M, P, Q) contiguous, M = N*C; any windows, adaptive ones (R = S = 0) too
// Launch     grid ceil(M*P*Q/WARPS), block (32, WARPS)
// FLOPs      M*P*Q*R*S
// Traffic    sizeof(T)*M*P*Q*(R*S + 1) B requested; floor sizeof(T)*M*(H*W + P*Q) B
// Intensity  far below the ridge: memory decides
// Since 01   32 lanes share a window and read neighbouring columns; with few large windows there are too few threads otherwise
// Numerics   fp32 (fp64 for double); every 32nd element in order, then a butterfly: repeatable bit for bit
// Source     warp reductions: Luitjens 2014, "Faster Parallel Reductions on Kepler" (NVIDIA)
#include "avg_pool2d/average.cuh"

extern "C" __global__ void avg_pool2d_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int H, int W, int P, int Q, int R, int S,
                                          int stride_h, int stride_w, int pad_h, int pad_w, bool include, int64_t divisor) {
    const int64_t i = blockIdx.x * int64_t(WARPS) + threadIdx.y;
    if (i >= M * P * Q) return;  // the whole warp leaves together: no shuffle waits for a lane that is gone
    const Axis rows{H, P, R, stride_h, pad_h, 1}, cols{W, Q, S, stride_w, pad_w, 1};
    const int64_t q = i % Q, p = i / Q % P;
    x += i / (int64_t(P) * Q) * H * W;
    const int64_t top = rows.first(p) < 0 ? 0 : rows.first(p), bottom = rows.last(p) < H ? rows.last(p) : H;
    const int64_t left = cols.first(q) < 0 ? 0 : cols.first(q), right = cols.last(q) < W ? cols.last(q) : W;
    const int64_t width = right - left;
    acc_t sum = 0;
    for (int64_t e = threadIdx.x; e < (bottom - top) * width; e += 32) sum += acc_t(x[(top + e / width) * W + left + e % width]);
    sum = warp_sum(sum);
    if (threadIdx.x == 0) y[i] = T(sum / acc_t(count(rows, cols, p, q, include, divisor)));
}
