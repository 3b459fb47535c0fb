// 06_warp_tile: tiles of 8 x 8 sums a thread and WM x WN a warp, read from shared memory 16 bytes at a time.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_crs x[n, c, h, w] * w[k, c, r, s]), h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), w (K, Cg, R, S), y (N, K, P, Q) contiguous, Cg = C/groups; zero outside the image; any sizes >= 1
// Launch     grid ceil(K/groups padded to BM * C/groups padded to BK * groups*R*S / BLOCK), block BLOCK; then
//            grid (ceil(N*P*Q/BN)*ceil(Kg/BM), groups), block THREADS = BM*BN/(TM*TN) = BN, static smem (BK*(BM+BN) + BM/TM*BN)*sizeof(acc_t) B
// FLOPs      2*N*K*P*Q*Cg*R*S, Cg rounded up to a multiple of BK
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S/BM + N*K*P*Q) + sizeof(acc_t)*N*K*P*Q*Cg*R*S/BN B requested, and (sizeof(T) + sizeof(acc_t))*K*Cg*R*S B
//            to turn the filters; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 05   64 multiply-adds for 4 reads of 16 bytes, where 05 has 16 for 8 reads of 4; lanes of a warp in WM/TM rows of WN/TN, so that a step
//            along c reads WM + WN values a warp
// Numerics   fp32, summed in order of r, s, c; float and the halves
// Source     kernels/matmul 05 to 07: Boehm 2022; Kerr et al. 2017, "CUTLASS: Fast Linear Algebra in CUDA C++" (warp tile)
#include "epilogue/epilogue.cuh"

constexpr int ROWS = WM / TM, COLS = WN / TN, THREADS = BM * BN / (TM * TN);  // lanes of a warp, down and across
constexpr int V = 16 / sizeof(acc_t);  // sums in 16 bytes
static_assert(BM % WM == 0 && BN % WN == 0 && ROWS * COLS == 32, "the block tile is made of whole warp tiles, and these of 32 thread tiles");
static_assert(TM % V == 0 && TN % V == 0 && WN % 32 == 0 && THREADS == BN, "and the tiles of whole vectors; a thread gathers for one place");
typedef Vec<acc_t, V> Sums;

// turned (groups, R*S, Cp, Kp): w with k last, Cg and Kg padded to multiples of BK and BM by zeros.
extern "C" __global__ void turn_filters(const T* __restrict__ w, acc_t* __restrict__ turned, int C, int K, int R, int S, int groups) {
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= int64_t(groups) * R * S * Cp * Kp) return;
    const int k = i % Kp, c = i / Kp % Cp, tap = i / (int64_t(Kp) * Cp) % (R * S), g = i / (int64_t(Kp) * Cp * R * S);
    turned[i] = k < Kg && c < Cg ? acc_t(w[((int64_t(g) * Kg + k) * Cg + c) * (R * S) + tap]) : acc_t(0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    conv2d_fwd(const T* __restrict__ x, const acc_t* __restrict__ turned, const T* __restrict__ bias, T* __restrict__ extra,
               T* __restrict__ y, int64_t N, int C, int H, int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h,
               int pad_w, int dilation_h, int dilation_w, int groups) {
    __shared__ __align__(16) acc_t Ws[BK][BM], Xs[BK][BN];
    __shared__ __align__(16) acc_t rows[THREADS / 32][ROWS][WN];  // a warp's sums on their way out
    const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, tx = lane % COLS, ty = lane / COLS, g = blockIdx.y;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int down = Kp / BM;
    const int k0 = blockIdx.x % down * BM;
    const int64_t HW = int64_t(H) * W, PQ = int64_t(P) * Q, places = N * PQ, j0 = blockIdx.x / down * int64_t(BN);
    turned += int64_t(g) * R * S * Cp * Kp + k0;
    // the place that this thread gathers for
    const int64_t mine = j0 + tid, n = mine / PQ;
    const int64_t top = mine % PQ / Q * stride_h - pad_h, left = mine % Q * stride_w - pad_w;
    x += (n * C + g * Cg) * HW;
    acc_t acc[TM][TN] = {};
    for (int tap = 0; tap < R * S; ++tap) {
        const int64_t h = top + int64_t(tap / S) * dilation_h, v = left + int64_t(tap % S) * dilation_w;
        const bool inside = mine < places && h >= 0 && h < H && v >= 0 && v < W;
        const T* from = x + h * W + v;
        for (int c0 = 0; c0 < Cg; c0 += BK) {
            for (int i = tid * V; i < BM * BK; i += THREADS * V)
                *reinterpret_cast<Sums*>(&Ws[i / BM][i % BM]) =
                    *reinterpret_cast<const Sums*>(turned + (int64_t(tap) * Cp + c0 + i / BM) * Kp + i % BM);
            for (int c = 0; c < BK; ++c) Xs[c][tid] = inside && c0 + c < Cg ? acc_t(from[(c0 + c) * HW]) : acc_t(0);
            __syncthreads();  // the tiles are complete
#pragma unroll
            for (int c = 0; c < BK; ++c) {
                Sums a[TM / V], b[TN / V];
                for (int i = 0; i < TM / V; ++i) a[i] = *reinterpret_cast<const Sums*>(&Ws[c][wm + (i * ROWS + ty) * V]);
                for (int j = 0; j < TN / V; ++j) b[j] = *reinterpret_cast<const Sums*>(&Xs[c][wn + (j * COLS + tx) * V]);
                for (int i = 0; i < TM; ++i)
                    for (int j = 0; j < TN; ++j) acc[i][j] += a[i / V].v[i % V] * b[j / V].v[j % V];
            }
            __syncthreads();  // and read, before the next ones overwrite them
        }
    }
    // Sums leave by way of shared memory, a row of each lane's at a time: then neighbouring lanes store neighbouring places, wherever images end.
    int64_t to[WN / 32];
    for (int h = 0; h < WN / 32; ++h) {
        const int64_t place = j0 + wn + h * 32 + lane;
        to[h] = place < places ? (place / PQ * K + g * Kg) * PQ + place % PQ : -1;
    }
#pragma unroll
    for (int i = 0; i < TM; ++i) {
        for (int j = 0; j < TN / V; ++j) {
            Sums out;
            for (int l = 0; l < V; ++l) out.v[l] = acc[i][j * V + l];
            *reinterpret_cast<Sums*>(&rows[warp][ty][(j * COLS + tx) * V]) = out;
        }
        __syncwarp();  // the rows are complete
        for (int row = 0; row < ROWS; ++row) {
            const int k = k0 + wm + (i / V * ROWS + row) * V + i % V;
            for (int h = 0; h < WN / 32; ++h)
                if (k < Kg && to[h] >= 0) store_one(rows[warp][row][h * 32 + lane], bias + g * Kg + k, extra, y, to[h] + k * PQ);
        }
        __syncwarp();  // and read, before the next ones overwrite them
    }
}
