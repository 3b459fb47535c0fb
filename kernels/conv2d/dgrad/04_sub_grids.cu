// 04_sub_grids: elements of dx that lie a stride apart use the same taps, so each of the stride_h*stride_w sub-grids is a dense sum.
//
// Computes   dx[n, c, h, w] = sum_krs dy[n, k, p, q] * w[k, c, r, s] over the p, q with p*stride_h + r*dilation_h - pad_h = h, w likewise;
//            dy (N, K, P, Q), w (K, Cg, R, S), dx (N, C, H, W) contiguous, Cg = C/groups; stride_h*stride_w < 65536, other sizes >= 1
// Launch     grid ceil(C/groups padded to BM * K/groups padded to BK * groups*R*S / BLOCK), block BLOCK; then
//            grid (ceil(N*ceil(H/stride_h)*ceil(W/stride_w)/BN)*ceil(Cg/BM), groups, stride_h*stride_w), block THREADS = BM*BN/(TM*TN),
//            static smem BK*(BM+BN)*sizeof(acc_t) B
// FLOPs      2*N*C*H*W*Kg*R*S/(stride_h*stride_w), Kg = K/groups rounded up to a multiple of BK
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S/BM + N*C*H*W) + sizeof(acc_t)*N*C*H*W*Kg*R*S/(stride_h*stride_w)/BN B requested, and
//            (sizeof(T) + sizeof(acc_t))*K*Cg*R*S B to turn the filters; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 03   taps that no element of a sub-grid uses are left out before anything is loaded, where 03 multiplies by their zeros; no division for an
//            element either, with the taps outside and k inside, and filters turned to (R*S, Kg, Cg) first (as forward 05)
// Numerics   fp32 (fp64 for double), summed in order of r, s, k; no atomics: repeatable bit for bit
// Source     Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285 (section 4); NVIDIA CUTLASS (strided dgrad)
#include "common.cuh"

constexpr int ROWS = BM / TM, COLS = BN / TN, THREADS = ROWS * COLS;
static_assert(BM % TM == 0 && BN % TN == 0 && THREADS % BN == 0, "whole thread tiles; a thread gathers for one place");

// turned (groups, R*S, Kp, Cp): w with c last, Kg and Cg padded to multiples of BK and BM by zeros.
extern "C" __global__ void turn_filters(const T* __restrict__ w, acc_t* __restrict__ turned, int C, int K, int R, int S, int groups) {
    const int Cg = C / groups, Kg = K / groups, Kp = (Kg + BK - 1) / BK * BK, Cp = (Cg + BM - 1) / BM * BM;
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= int64_t(groups) * R * S * Kp * Cp) return;
    const int c = i % Cp, k = i / Cp % Kp, tap = i / (int64_t(Cp) * Kp) % (R * S), g = i / (int64_t(Cp) * Kp * R * S);
    turned[i] = k < Kg && c < Cg ? acc_t(w[((int64_t(g) * Kg + k) * Cg + c) * (R * S) + tap]) : acc_t(0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    conv2d_bwd_dx(const T* __restrict__ dy, const acc_t* __restrict__ turned, T* __restrict__ dx, int64_t N, int C, int H, int W, int K, int R,
                  int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups) {
    __shared__ acc_t Ws[BK][BM], Ys[BK][BN];
    const int tid = threadIdx.x, tx = tid % COLS, ty = tid / COLS, g = blockIdx.y;
    const int Cg = C / groups, Kg = K / groups, Kp = (Kg + BK - 1) / BK * BK, Cp = (Cg + BM - 1) / BM * BM;
    const int down = Cp / BM;
    const int c0 = blockIdx.x % down * BM;
    // the sub-grid: h = a + i*stride_h, w = b + j*stride_w
    const int a = blockIdx.z / stride_w, b = blockIdx.z % stride_w;
    const int high = (H - a + stride_h - 1) / stride_h, wide = (W - b + stride_w - 1) / stride_w;  // its size; 0 or less where the stride is larger than dx
    const int64_t PQ = int64_t(P) * Q, j0 = blockIdx.x / down * int64_t(BN);
    const int64_t places = high > 0 && wide > 0 ? N * high * wide : 0;
    if (j0 >= places) return;  // the whole block: the grid has room for the largest sub-grid
    turned += int64_t(g) * R * S * Kp * Cp + c0;
    // the place that this thread gathers for
    const int64_t mine = j0 + tid % BN, n = mine / (int64_t(high) * wide);
    const int i = mine / wide % high, j = mine % wide;
    dy += (n * K + g * Kg) * PQ;
    acc_t acc[TM][TN] = {};
    for (int tap = 0; tap < R * S; ++tap) {
        const int64_t up = a + pad_h - int64_t(tap / S) * dilation_h, left = b + pad_w - int64_t(tap % S) * dilation_w;
        if (up % stride_h || left % stride_w) continue;  // the same for the whole block
        const int64_t p = i + up / stride_h, q = j + left / stride_w;
        const bool inside = mine < places && p >= 0 && p < P && q >= 0 && q < Q;
        for (int k0 = 0; k0 < Kg; k0 += BK) {
            for (int e = tid; e < BM * BK; e += THREADS) Ws[e / BM][e % BM] = turned[(int64_t(tap) * Kp + k0 + e / BM) * Cp + e % BM];
            for (int k = tid / BN; k < BK; k += THREADS / BN)
                Ys[k][tid % BN] = inside && k0 + k < Kg ? acc_t(dy[(k0 + k) * PQ + p * Q + q]) : acc_t(0);
            __syncthreads();  // the tiles are complete
#pragma unroll
            for (int k = 0; k < BK; ++k) {
                acc_t u[TM], v[TN];
                for (int m = 0; m < TM; ++m) u[m] = Ws[k][ty + m * ROWS];
                for (int l = 0; l < TN; ++l) v[l] = Ys[k][tx + l * COLS];
                for (int m = 0; m < TM; ++m)
                    for (int l = 0; l < TN; ++l) acc[m][l] += u[m] * v[l];
            }
            __syncthreads();  // and read, before the next ones overwrite them
        }
    }
    for (int l = 0; l < TN; ++l) {
        const int64_t place = j0 + tx + l * COLS, image = place / (int64_t(high) * wide);
        const int h = a + place / wide % high * stride_h, v = b + place % wide * stride_w;
        for (int m = 0; m < TM; ++m) {
            const int c = c0 + ty + m * ROWS;
            if (place < places && c < Cg) dx[((image * C + g * Cg + c) * H + h) * W + v] = T(acc[m][l]);
        }
    }
}
