// 03_implicit_gemm: the product of w turned (Cg x Kg*R*S) and the patches of dy (Kg*R*S x N*H*W), which are gathered tile by tile.
//
// Computes   dx[n, c, h, w] = sum_krs dy[n, k, p, q] * w[k, c, r, s] over the p, q with p*stride_h + r*dilation_h - pad_h = h, w likewise;
//            dy (N, K, P, Q), w (K, Cg, R, S), dx (N, C, H, W) contiguous, Cg = C/groups; any sizes >= 1
// Launch     grid (ceil(N*H*W/BN)*ceil(Cg/BM), groups), block THREADS = BM*BN/(TM*TN), static smem BK*(BM+BN+1)*sizeof(acc_t) B
// FLOPs      2*N*C*H*W*Kg*R*S, Kg = K/groups (those that a stride leaves out multiply a zero)
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S/BM + N*C*H*W*Kg*R*S/BN + N*C*H*W) B requested; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 02   a block shares filters and patches of dy through shared memory, a thread sums TM channels at TN places in registers
// Numerics   fp32 (fp64 for double), summed in order of k, r, s; no atomics: repeatable bit for bit
// Source     Chetlur et al. 2014, "cuDNN: Efficient Primitives for Deep Learning", arXiv:1410.0759
#include "common.cuh"

constexpr int ROWS = BM / TM, COLS = BN / TN, THREADS = ROWS * COLS;
static_assert(BM % TM == 0 && BN % TN == 0 && THREADS % BN == 0, "whole thread tiles; a thread gathers for one place");

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    conv2d_bwd_dx(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, int64_t N, int C, int H, int W, int K, int R,
                  int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups) {
    __shared__ acc_t Ws[BK][BM + 1], Ys[BK][BN];  // one more column: w is stored down a column
    const int tid = threadIdx.x, tx = tid % COLS, ty = tid / COLS, g = blockIdx.y;
    const int Cg = C / groups, Kg = K / groups, depth = Kg * R * S;
    const int down = (Cg + BM - 1) / BM;
    const int c0 = blockIdx.x % down * BM;
    const int64_t HW = int64_t(H) * W, places = N * HW, j0 = blockIdx.x / down * int64_t(BN);
    dy += int64_t(g) * Kg * P * Q;
    w += int64_t(g) * Kg * Cg * R * S;
    // the place that this thread gathers for
    const int64_t mine = j0 + tid % BN, n = mine / HW;
    const int64_t bottom = mine % HW / W + pad_h, right = mine % W + pad_w;
    acc_t acc[TM][TN] = {};
    for (int d0 = 0; d0 < depth; d0 += BK) {
        for (int i = tid; i < BM * BK; i += THREADS) {
            const int c = i / BK, d = i % BK, krs = d0 + d;
            Ws[d][c] = c0 + c < Cg && krs < depth ? acc_t(w[(int64_t(krs / (R * S)) * Cg + c0 + c) * (R * S) + krs % (R * S)]) : acc_t(0);
        }
        for (int d = tid / BN; d < BK; d += THREADS / BN) {
            const int krs = d0 + d, k = krs / (R * S), r = krs / S % R, s = krs % S;
            const int64_t up = bottom - int64_t(r) * dilation_h, left = right - int64_t(s) * dilation_w, p = up / stride_h, q = left / stride_w;
            const bool inside = krs < depth && mine < places && up >= 0 && left >= 0 && p * stride_h == up && q * stride_w == left && p < P && q < Q;
            Ys[d][tid % BN] = inside ? acc_t(dy[((n * K + k) * P + p) * Q + q]) : acc_t(0);
        }
        __syncthreads();  // the tiles are complete
#pragma unroll
        for (int d = 0; d < BK; ++d) {
            acc_t a[TM], b[TN];
            for (int i = 0; i < TM; ++i) a[i] = Ws[d][ty + i * ROWS];
            for (int j = 0; j < TN; ++j) b[j] = Ys[d][tx + j * COLS];
            for (int i = 0; i < TM; ++i)
                for (int j = 0; j < TN; ++j) acc[i][j] += a[i] * b[j];
        }
        __syncthreads();  // and read, before the next ones overwrite them
    }
    for (int j = 0; j < TN; ++j) {
        const int64_t place = j0 + tx + j * COLS;
        for (int i = 0; i < TM; ++i) {
            const int c = c0 + ty + i * ROWS;
            if (place < places && c < Cg) dx[(place / HW * C + g * Cg + c) * HW + place % HW] = T(acc[i][j]);
        }
    }
}
