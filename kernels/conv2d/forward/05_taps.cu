// 05_taps: the sum runs over channels inside and filter taps outside, so that a thread finds its place in the image once a tap.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_crs x[n, c, h, w] * w[k, c, r, s]), h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), w (K, Cg, R, S), y (N, K, P, Q) contiguous, Cg = C/groups; zero outside the image; any sizes >= 1
// Launch     grid ceil(K/groups padded to BM * C/groups padded to BK * groups*R*S / BLOCK), block BLOCK; then
//            grid (ceil(N*P*Q/BN)*ceil(Kg/BM), groups), block THREADS = BM*BN/(TM*TN), static smem BK*(BM+BN)*sizeof(acc_t) B
// FLOPs      2*N*K*P*Q*Cg*R*S, Cg rounded up to a multiple of BK
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S/BM + N*K*P*Q) + sizeof(acc_t)*N*K*P*Q*Cg*R*S/BN B requested, and (sizeof(T) + sizeof(acc_t))*K*Cg*R*S B
//            to turn the filters; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 04   no division and one comparison with the image's edges a tap, where 04 has both for each element. The filters are turned to
//            (R*S, Cg, Kg) by a launch of their own and padded with zeros to whole tiles: their loads run along k and ask for no edge
// Numerics   fp32 (fp64 for double), summed in order of r, s, c
// Source     NVIDIA CUTLASS, "Implicit GEMM Convolution" (the optimised iterators, for NHWC)
#include "epilogue/epilogue.cuh"

constexpr int ROWS = BM / TM, COLS = BN / TN, THREADS = ROWS * COLS;
static_assert(BM % TM == 0 && BN % TN == 0 && THREADS % BN == 0, "whole thread tiles; a thread gathers for one place");

// turned (groups, R*S, Cp, Kp): w with k last, Cg and Kg padded to multiples of BK and BM by zeros.
extern "C" __global__ void turn_filters(const T* __restrict__ w, acc_t* __restrict__ turned, int C, int K, int R, int S, int groups) {
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= int64_t(groups) * R * S * Cp * Kp) return;
    const int k = i % Kp, c = i / Kp % Cp, tap = i / (int64_t(Kp) * Cp) % (R * S), g = i / (int64_t(Kp) * Cp * R * S);
    turned[i] = k < Kg && c < Cg ? acc_t(w[((int64_t(g) * Kg + k) * Cg + c) * (R * S) + tap]) : acc_t(0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    conv2d_fwd(const T* __restrict__ x, const acc_t* __restrict__ turned, const T* __restrict__ bias, T* __restrict__ extra,
               T* __restrict__ y, int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h,
               int pad_w, int dilation_h, int dilation_w, int groups) {
    __shared__ acc_t Ws[BK][BM], Xs[BK][BN];
    const int tid = threadIdx.x, tx = tid % COLS, ty = tid / COLS, g = blockIdx.y;
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int down = Kp / BM;
    const int k0 = blockIdx.x % down * BM;
    const int64_t HW = int64_t(H) * W, PQ = int64_t(P) * Q, places = N * PQ, j0 = blockIdx.x / down * int64_t(BN);
    turned += int64_t(g) * R * S * Cp * Kp + k0;
    // the place that this thread gathers for
    const int64_t mine = j0 + tid % BN, n = mine / PQ;
    const int64_t top = mine % PQ / Q * stride_h - pad_h, left = mine % Q * stride_w - pad_w;
    x += (n * C + g * Cg) * HW;
    acc_t acc[TM][TN] = {};
    for (int tap = 0; tap < R * S; ++tap) {
        const int64_t h = top + int64_t(tap / S) * dilation_h, v = left + int64_t(tap % S) * dilation_w;
        const bool inside = mine < places && h >= 0 && h < H && v >= 0 && v < W;
        for (int c0 = 0; c0 < Cg; c0 += BK) {
            for (int i = tid; i < BM * BK; i += THREADS) Ws[i / BM][i % BM] = turned[(int64_t(tap) * Cp + c0 + i / BM) * Kp + i % BM];
            for (int c = tid / BN; c < BK; c += THREADS / BN)
                Xs[c][tid % BN] = inside && c0 + c < Cg ? acc_t(x[(c0 + c) * HW + h * W + v]) : acc_t(0);
            __syncthreads();  // the tiles are complete
#pragma unroll
            for (int c = 0; c < BK; ++c) {
                acc_t a[TM], b[TN];
                for (int i = 0; i < TM; ++i) a[i] = Ws[c][ty + i * ROWS];
                for (int j = 0; j < TN; ++j) b[j] = Xs[c][tx + j * COLS];
                for (int i = 0; i < TM; ++i)
                    for (int j = 0; j < TN; ++j) acc[i][j] += a[i] * b[j];
            }
            __syncthreads();  // and read, before the next ones overwrite them
        }
    }
    for (int j = 0; j < TN; ++j) {
        const int64_t place = j0 + tx + j * COLS;
        for (int i = 0; i < TM; ++i) {
            const int k = g * Kg + k0 + ty + i * ROWS;
            if (place < places && k0 + ty + i * ROWS < Kg) store_one(acc[i][j], bias + k, extra, y, (place / PQ * K + k) * PQ + place % PQ);
        }
    }
}
