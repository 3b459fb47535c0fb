// 05_warp_tile: tiles of 8 x 8 sums a thread and WM x WN a warp, read from shared memory 16 bytes at a time.
//
// Computes   dx[n, c, h, w] = sum_krs dy[n, k, p, q] * w[k, c, r, s] over the p, q with p*stride_h + r*dilation_h - pad_h = h, w likewise;
//            dy (N, K, P, Q), w (K, Cg, R, S), dx (N, C, H, W) contiguous, Cg = C/groups; stride_h*stride_w < 65536, other sizes >= 1
// Launch     grid ceil(C/groups padded to BM * K/groups padded to BK * groups*R*S / BLOCK), block BLOCK; then
//            grid (ceil(N*ceil(H/stride_h)*ceil(W/stride_w)/BN)*ceil(Cg/BM), groups, stride_h*stride_w), block THREADS = BM*BN/(TM*TN) = BN,
//            static smem (BK*(BM+BN) + BM/TM*BN)*sizeof(acc_t) B
// FLOPs      2*N*C*H*W*Kg*R*S/(stride_h*stride_w), Kg = K/groups rounded up to a multiple of BK
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S/BM + N*C*H*W) + sizeof(acc_t)*N*C*H*W*Kg*R*S/(stride_h*stride_w)/BN B requested, and
//            (sizeof(T) + sizeof(acc_t))*K*Cg*R*S B to turn the filters; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 04   64 multiply-adds for 4 reads of 16 bytes, where 04 has 16 for 8 reads of 4; lanes of a warp in WM/TM rows of WN/TN (as forward 06)
// Numerics   fp32, summed in order of r, s, k; float and the halves; no atomics: repeatable bit for bit
// Source     kernels/matmul 05 to 07: Boehm 2022; Kerr et al. 2017, "CUTLASS: Fast Linear Algebra in CUDA C++" (warp tile)
#include "common.cuh"

constexpr int ROWS = WM / TM, COLS = WN / TN, THREADS = BM * BN / (TM * TN);  // lanes of a warp, down and across
constexpr int V = 16 / sizeof(acc_t);  // sums in 16 bytes
static_assert(BM % WM == 0 && BN % WN == 0 && ROWS * COLS == 32, "the block tile is made of whole warp tiles, and these of 32 thread tiles");
static_assert(TM % V == 0 && TN % V == 0 && WN % 32 == 0 && THREADS == BN, "and the tiles of whole vectors; a thread gathers for one place");
typedef Vec<acc_t, V> Sums;

// turned (groups, R*S, Kp, Cp): w with c last, Kg and Cg padded to multiples of BK and BM by zeros.
extern "C" __global__ void turn_filters(const T* __restrict__ w, acc_t* __restrict__ turned, int C, int K, int R, int S, int groups) {
    const int Cg = C / groups, Kg = K / groups, Kp = (Kg + BK - 1) / BK * BK, Cp = (Cg + BM - 1) / BM * BM;
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= int64_t(groups) * R * S * Kp * Cp) return;
    const int c = i % Cp, k = i / Cp % Kp, tap = i / (int64_t(Cp) * Kp) % (R * S), g = i / (int64_t(Cp) * Kp * R * S);
    turned[i] = k < Kg && c < Cg ? acc_t(w[((int64_t(g) * Kg + k) * Cg + c) * (R * S) + tap]) : acc_t(0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    conv2d_bwd_dx(const T* __restrict__ dy, const acc_t* __restrict__ turned, T* __restrict__ dx, int64_t N, int C, int H, int W, int K, int R,
                  int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups) {
    __shared__ __align__(16) acc_t Ws[BK][BM], Ys[BK][BN];
    __shared__ __align__(16) acc_t rows[THREADS / 32][ROWS][WN];  // a warp's sums on their way out
    const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, tx = lane % COLS, ty = lane / COLS, g = blockIdx.y;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
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
    const int64_t mine = j0 + tid, n = mine / (int64_t(high) * wide);
    const int i = mine / wide % high, j = mine % wide;
    dy += (n * K + g * Kg) * PQ;
    acc_t acc[TM][TN] = {};
    for (int tap = 0; tap < R * S; ++tap) {
        const int64_t up = a + pad_h - int64_t(tap / S) * dilation_h, left = b + pad_w - int64_t(tap % S) * dilation_w;
        if (up % stride_h || left % stride_w) continue;  // the same for the whole block
        const int64_t p = i + up / stride_h, q = j + left / stride_w;
        const bool inside = mine < places && p >= 0 && p < P && q >= 0 && q < Q;
        const T* from = dy + p * Q + q;
        for (int k0 = 0; k0 < Kg; k0 += BK) {
            for (int e = tid * V; e < BM * BK; e += THREADS * V)
                *reinterpret_cast<Sums*>(&Ws[e / BM][e % BM]) =
                    *reinterpret_cast<const Sums*>(turned + (int64_t(tap) * Kp + k0 + e / BM) * Cp + e % BM);
            for (int k = 0; k < BK; ++k) Ys[k][tid] = inside && k0 + k < Kg ? acc_t(from[(k0 + k) * PQ]) : acc_t(0);
            __syncthreads();  // the tiles are complete
#pragma unroll
            for (int k = 0; k < BK; ++k) {
                Sums u[TM / V], v[TN / V];
                for (int m = 0; m < TM / V; ++m) u[m] = *reinterpret_cast<const Sums*>(&Ws[k][wm + (m * ROWS + ty) * V]);
                for (int l = 0; l < TN / V; ++l) v[l] = *reinterpret_cast<const Sums*>(&Ys[k][wn + (l * COLS + tx) * V]);
                for (int m = 0; m < TM; ++m)
                    for (int l = 0; l < TN; ++l) acc[m][l] += u[m / V].v[m % V] * v[l / V].v[l % V];
            }
            __syncthreads();  // and read, before the next ones overwrite them
        }
    }
    // Sums leave by way of shared memory, a row of each lane's at a time: then neighbouring lanes store neighbouring places of the sub-grid.
    int64_t to[WN / 32];
    for (int z = 0; z < WN / 32; ++z) {
        const int64_t place = j0 + wn + z * 32 + lane, image = place / (int64_t(high) * wide);
        const int64_t h = a + place / wide % high * stride_h, v = b + place % wide * stride_w;
        to[z] = place < places ? ((image * C + g * Cg) * H + h) * W + v : -1;
    }
#pragma unroll
    for (int m = 0; m < TM; ++m) {
        for (int l = 0; l < TN / V; ++l) {
            Sums out;
            for (int z = 0; z < V; ++z) out.v[z] = acc[m][l * V + z];
            *reinterpret_cast<Sums*>(&rows[warp][ty][(l * COLS + tx) * V]) = out;
        }
        __syncwarp();  // the rows are complete
        for (int row = 0; row < ROWS; ++row) {
            const int c = c0 + wm + (m / V * ROWS + row) * V + m % V;
            for (int z = 0; z < WN / 32; ++z)
                if (c < Cg && to[z] >= 0) dx[to[z] + int64_t(c) * H * W] = T(rows[warp][row][z * 32 + lane]);
        }
        __syncwarp();  // and read, before the next ones overwrite them
    }
}
