// 03_im2col: write the image's patches out as a matrix (Cg*R*S x N*P*Q), then multiply w (Kg x Cg*R*S) with it as kernels/matmul 04 does.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_crs x[n, c, h, w] * w[k, c, r, s]), h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), w (K, Cg, R, S), y (N, K, P, Q) contiguous, Cg = C/groups; zero outside the image; any sizes >= 1 whose patches fit
// Launch     grid ceil(C*R*S*N*P*Q/BLOCK), block BLOCK; then grid (ceil(N*P*Q/BN)*ceil(Kg/BM), groups), block THREADS = BM*BN/(TM*TN),
//            static smem BK*(BM+BN+1)*sizeof(acc_t) B
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(2*C*R*S*N*P*Q + N*K*P*Q*Cg*R*S*(1/BM + 1/BN) + N*K*P*Q) B requested, through C*R*S*N*P*Q*sizeof(T) B of scratch memory;
//            floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested by the product
// Since 02   the arithmetic is a matrix product and nothing else: any shape of filter, stride and dilation is the first kernel's business;
//            a thread sums TM filters at TN places in registers
// Numerics   fp32 (fp64 for double), summed in order of c, r, s
// Source     Chellapilla, Puri & Simard 2006, "High Performance Convolutional Neural Networks for Document Processing" (unrolling)
#include "epilogue/epilogue.cuh"

constexpr int ROWS = BM / TM, COLS = BN / TN, THREADS = ROWS * COLS;
static_assert(BM % TM == 0 && BN % TN == 0 && THREADS % BN == 0, "whole thread tiles; a thread loads for one place");

extern "C" __global__ void im2col(const T* __restrict__ x, T* __restrict__ patches, int64_t N, int C, int H, int W, int R, int S, int P,
                                  int Q, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x, PQ = int64_t(P) * Q, places = N * PQ;
    if (i >= places * C * R * S) return;
    const int64_t crs = i / places, n = i % places / PQ;
    const int c = crs / (R * S), r = crs / S % R, s = crs % S, p = i % PQ / Q, q = i % Q;  // places is a multiple of PQ
    const int64_t h = int64_t(p) * stride_h + int64_t(r) * dilation_h - pad_h, v = int64_t(q) * stride_w + int64_t(s) * dilation_w - pad_w;
    patches[i] = h >= 0 && h < H && v >= 0 && v < W ? x[((n * C + c) * H + h) * W + v] : T(0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    conv2d_fwd(const T* __restrict__ patches, const T* __restrict__ w, const T* __restrict__ bias, T* __restrict__ extra,
               T* __restrict__ y, int64_t N, int C, int K, int R, int S, int P, int Q, int groups) {
    __shared__ acc_t Ws[BK][BM + 1], Xs[BK][BN];  // one more column: w is read along a row and stored down a column
    const int tid = threadIdx.x, tx = tid % COLS, ty = tid / COLS, g = blockIdx.y;
    const int Cg = C / groups, Kg = K / groups, depth = Cg * R * S;
    const int down = (Kg + BM - 1) / BM;
    const int k0 = blockIdx.x % down * BM;
    const int64_t PQ = int64_t(P) * Q, places = N * PQ, j0 = blockIdx.x / down * int64_t(BN);
    patches += int64_t(g) * depth * places;
    w += int64_t(g) * Kg * depth;
    const int64_t mine = j0 + tid % BN;  // the place that this thread loads for
    acc_t acc[TM][TN] = {};
    for (int d0 = 0; d0 < depth; d0 += BK) {
        for (int i = tid; i < BM * BK; i += THREADS) {
            const int k = i / BK, d = i % BK;
            Ws[d][k] = k0 + k < Kg && d0 + d < depth ? acc_t(w[int64_t(k0 + k) * depth + d0 + d]) : acc_t(0);
        }
        for (int d = tid / BN; d < BK; d += THREADS / BN)
            Xs[d][tid % BN] = d0 + d < depth && mine < places ? acc_t(patches[(d0 + d) * places + mine]) : acc_t(0);
        __syncthreads();  // the tiles are complete
#pragma unroll
        for (int d = 0; d < BK; ++d) {
            acc_t a[TM], b[TN];
            for (int i = 0; i < TM; ++i) a[i] = Ws[d][ty + i * ROWS];
            for (int j = 0; j < TN; ++j) b[j] = Xs[d][tx + j * COLS];
            for (int i = 0; i < TM; ++i)
                for (int j = 0; j < TN; ++j) acc[i][j] += a[i] * b[j];
        }
        __syncthreads();  // and read, before the next ones overwrite them
    }
    for (int j = 0; j < TN; ++j) {
        const int64_t place = j0 + tx + j * COLS;
        for (int i = 0; i < TM; ++i) {
            const int k = g * Kg + k0 + ty + i * ROWS;
            if (place < places && k0 + ty + i * ROWS < Kg) store_one(acc[i][j], bias + k, extra, y, (place / PQ * K + k) * PQ + place % PQ);
        }
    }
}
