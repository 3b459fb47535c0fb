// 01_naive: one thread a pooled result, which computes each convolution of its window and keeps the largest.
//
// Computes   z[n, k, i, j] = max over window (i, j) of y, y[n, k, p, q] = ACT(bias[k] + sum_crs x[n, c, h, w] * w[k, c, r, s]) as conv2d.forward,
//            and its number a*B + b within the window (the first of equal ones; a NaN wins); x (N, C, H, W), w (K, Cg, R, S), y of size (P, Q) is
//            never stored, z and at (N, K, I, J), windows of (A, B) <= 256 elements; all contiguous; any sizes >= 1
// Launch     grid ceil(N*K*I*J/BLOCK), block BLOCK
// FLOPs      2*N*K*I*J*A*B*Cg*R*S (windows that overlap compute their common results again)
// Traffic    sizeof(T)*(2*N*K*I*J*A*B*Cg*R*S + N*K*I*J) + N*K*I*J B requested; floor sizeof(T)*(N*C*H*W + K*Cg*R*S) + (sizeof(T) + 1)*N*K*I*J B
// Intensity  1/sizeof(T) FLOP/B requested
// Numerics   fp32 (fp64 for double), summed in order of c, r, s
// Source     the textbook definitions, fused: y, bias and activation never go through memory
#include "epilogue/epilogue.cuh"

extern "C" __global__ void conv2d_pool_fwd(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ z,
                                           uint8_t* __restrict__ at, int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q,
                                           int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups,
                                           int I, int J, int A, int B, int step_h, int step_w, int rim_h, int rim_w, int spread_h,
                                           int spread_w) {
    const int64_t e = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (e >= N * K * I * J) return;
    const int j = e % J, i = e / J % I, k = e / (int64_t(I) * J) % K;
    const int64_t n = e / (int64_t(I) * J * K);
    const int Cg = C / groups;
    x += (n * C + k / (K / groups) * Cg) * H * W;
    w += int64_t(k) * Cg * R * S;
    acc_t hi = -INF;
    int best = -1;
    for (int a = 0; a < A; ++a)
        for (int b = 0; b < B; ++b) {
            const int64_t p = int64_t(i) * step_h + int64_t(a) * spread_h - rim_h, q = int64_t(j) * step_w + int64_t(b) * spread_w - rim_w;
            if (p < 0 || p >= P || q < 0 || q >= Q) continue;
            acc_t acc = 0;
            for (int c = 0; c < Cg; ++c)
                for (int r = 0; r < R; ++r)
                    for (int s = 0; s < S; ++s) {
                        const int64_t h = p * stride_h + int64_t(r) * dilation_h - pad_h, v = q * stride_w + int64_t(s) * dilation_w - pad_w;
                        if (h >= 0 && h < H && v >= 0 && v < W)
                            acc += acc_t(x[(int64_t(c) * H + h) * W + v]) * acc_t(w[(int64_t(c) * R + r) * S + s]);
                    }
            if (BIAS) acc += acc_t(bias[k]);
            acc = ACT::of(acc);
            if (acc > hi || acc != acc || best < 0) {
                hi = acc;
                best = a * B + b;
            }
        }
    z[e] = T(hi);
    at[e] = uint8_t(best);
}
