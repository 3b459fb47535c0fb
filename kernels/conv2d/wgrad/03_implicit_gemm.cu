// 03_implicit_gemm: the product of dy (Kg x N*P*Q) and the image's patches (N*P*Q x Cg*R*S), its long sum cut into at most PARTS pieces.
//
// Computes   dw[k, c, r, s] = sum_npq dy[n, k, p, q] * x[n, c, h, w], h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), dy (N, K, P, Q), dw (K, Cg, R, S) contiguous, Cg = C/groups; zero outside the image; N >= 0, other sizes >= 1
// Launch     grid (ceil(Kg/BM)*ceil(Cg*R*S/BN), groups, ceil(N*P*Q/piece)), block THREADS = BM*BN/(TM*TN); then grid ceil(K*Cg*R*S/BLOCK), block BLOCK;
//            piece = max(CHUNK, N*P*Q/PARTS rounded up)
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S*(1/BM + 1/BN) + K*Cg*R*S) B requested, and 2*sizeof(acc_t)*K*Cg*R*S*ceil(N*P*Q/piece) B of partial sums;
//            floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 02   each value read feeds a tile of weights; the cut gives enough blocks although there are few weights
// Numerics   fp32 (fp64 for double); in order within a piece, then the pieces in order: repeatable bit for bit
// Source     split-K: NVIDIA CUTLASS, "Efficient GEMM in CUDA", with the second pass in place of atomic additions
#include "common.cuh"

constexpr int ROWS = BM / TM, COLS = BN / TN, THREADS = ROWS * COLS;
static_assert(BM % TM == 0 && BN % TN == 0 && THREADS % BK == 0 && CHUNK % BK == 0, "whole thread tiles; a thread gathers for one place");

// Places that one block sums over: CHUNK or, where that would make more than PARTS pieces, an equal share.
__device__ __forceinline__ int64_t piece(int64_t places) {
    const int64_t share = (places + PARTS - 1) / PARTS;
    return share <= CHUNK ? CHUNK : (share + BK - 1) / BK * BK;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    conv2d_bwd_dw(const T* __restrict__ x, const T* __restrict__ dy, acc_t* __restrict__ partial, int64_t N, int C, int H, int W, int K,
                  int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups) {
    __shared__ acc_t Ys[BK][BM + 1], Xs[BK][BN + 1];  // one more column: both are stored down a column
    const int tid = threadIdx.x, tx = tid % COLS, ty = tid / COLS, g = blockIdx.y;
    const int Cg = C / groups, Kg = K / groups, depth = Cg * R * S;
    const int across = (depth + BN - 1) / BN;
    const int k0 = blockIdx.x / across * BM, d0 = blockIdx.x % across * BN;
    const int64_t PQ = int64_t(P) * Q, places = N * PQ, first = blockIdx.z * piece(places);
    const int64_t last = first + piece(places) < places ? first + piece(places) : places;
    x += int64_t(g) * Cg * H * W;
    dy += int64_t(g) * Kg * PQ;
    acc_t acc[TM][TN] = {};
    for (int64_t j0 = first; j0 < last; j0 += BK) {
        const int j = tid % BK;  // neighbouring threads take neighbouring places
        const int64_t place = j0 + j, n = place / PQ, pq = place % PQ;
        const int64_t top = pq / Q * stride_h - pad_h, left = pq % Q * stride_w - pad_w;
        for (int k = tid / BK; k < BM; k += THREADS / BK)
            Ys[j][k] = place < last && k0 + k < Kg ? acc_t(dy[(n * K + k0 + k) * PQ + pq]) : acc_t(0);
        for (int d = tid / BK; d < BN; d += THREADS / BK) {
            const int crs = d0 + d, c = crs / (R * S), r = crs / S % R, s = crs % S;
            const int64_t h = top + int64_t(r) * dilation_h, v = left + int64_t(s) * dilation_w;
            const bool inside = place < last && crs < depth && h >= 0 && h < H && v >= 0 && v < W;
            Xs[j][d] = inside ? acc_t(x[((n * C + c) * H + h) * W + v]) : acc_t(0);
        }
        __syncthreads();  // the tiles are complete
#pragma unroll
        for (int e = 0; e < BK; ++e) {
            acc_t a[TM], b[TN];
            for (int i = 0; i < TM; ++i) a[i] = Ys[e][ty + i * ROWS];
            for (int i = 0; i < TN; ++i) b[i] = Xs[e][tx + i * COLS];
            for (int i = 0; i < TM; ++i)
                for (int l = 0; l < TN; ++l) acc[i][l] += a[i] * b[l];
        }
        __syncthreads();  // and read, before the next ones overwrite them
    }
    for (int i = 0; i < TM; ++i)
        for (int l = 0; l < TN; ++l) {
            const int k = k0 + ty + i * ROWS, d = d0 + tx + l * COLS;
            if (k < Kg && d < depth) partial[(int64_t(blockIdx.z) * K + g * Kg + k) * depth + d] = acc[i][l];
        }
}

extern "C" __global__ void conv2d_bwd_dw_sum(const acc_t* __restrict__ partial, T* __restrict__ dw, int64_t N, int C, int K, int R, int S,
                                             int P, int Q, int groups) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x, weights = int64_t(K) * (C / groups) * R * S;
    if (i >= weights) return;
    acc_t acc = 0;
    for (int64_t part = 0; part * piece(N * P * Q) < N * P * Q; ++part) acc += partial[part * weights + i];
    dw[i] = T(acc);
}
