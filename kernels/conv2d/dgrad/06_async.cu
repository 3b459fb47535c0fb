// 06_async: tiles travel to shared memory by cp.async, STAGES - 1 of them under way while one is multiplied.
//
// Computes   dx[n, c, h, w] = sum_krs dy[n, k, p, q] * w[k, c, r, s] over the p, q with p*stride_h + r*dilation_h - pad_h = h, w likewise;
//            dy (N, K, P, Q), w (K, Cg, R, S), dx (N, C, H, W) contiguous, Cg = C/groups; stride_h*stride_w < 65536, other sizes >= 1
// Launch     grid ceil(C/groups padded to BM * K/groups padded to BK * groups*R*S / BLOCK), block BLOCK; then
//            grid (ceil(N*ceil(H/stride_h)*ceil(W/stride_w)/BN)*ceil(Cg/BM), groups, stride_h*stride_w), block THREADS = BM*BN/(TM*TN) = BN,
//            static smem (STAGES*BK*(BM+BN) + BM/TM*BN)*sizeof(T) B
// FLOPs      2*N*C*H*W*Kg*R*S/(stride_h*stride_w), Kg = K/groups rounded up to a multiple of BK
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S/BM + N*C*H*W) + sizeof(acc_t)*N*C*H*W*Kg*R*S/(stride_h*stride_w)/BN B requested, and
//            (sizeof(T) + sizeof(acc_t))*K*Cg*R*S B to turn the filters; floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 05   no load is waited for at once, and one barrier a tile in place of two (as forward 07); T is the type of the sums
// Numerics   fp32, summed in order of r, s, k; float alone; no atomics: repeatable bit for bit
// Source     PTX ISA, "cp.async"; Kerr 2020, "Developing CUDA Kernels to Push Tensor Cores to the Absolute Limit on NVIDIA A100" (multistage)
#include "common.cuh"

constexpr int ROWS = WM / TM, COLS = WN / TN, THREADS = BM * BN / (TM * TN);  // lanes of a warp, down and across
constexpr int V = 16 / sizeof(acc_t);  // sums in 16 bytes
static_assert(BM % WM == 0 && BN % WN == 0 && ROWS * COLS == 32, "the block tile is made of whole warp tiles, and these of 32 thread tiles");
static_assert(TM % V == 0 && TN % V == 0 && WN % 32 == 0 && THREADS == BN, "and the tiles of whole vectors; a thread gathers for one place");
static_assert(sizeof(T) == sizeof(acc_t) && sizeof(T) == 4 && STAGES >= 2, "cp.async copies 4 bytes or more, and does not convert");
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
    __shared__ __align__(16) acc_t Ws[STAGES][BK][BM], Ys[STAGES][BK][BN];
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
    // what is copied next: a tap that this sub-grid uses, a step along k, and for this tap whether the place lies inside dy
    int tap = -1, k0 = 0, taps = 0;
    bool inside = false;
    const T* from = dy;
    auto advance = [&]() {
        while (++tap < R * S) {
            const int64_t up = a + pad_h - int64_t(tap / S) * dilation_h, left = b + pad_w - int64_t(tap % S) * dilation_w;
            if (up % stride_h || left % stride_w) continue;  // the same for the whole block
            const int64_t p = i + up / stride_h, q = j + left / stride_w;
            inside = mine < places && p >= 0 && p < P && q >= 0 && q < Q;
            from = dy + p * Q + q;
            return;
        }
    };
    auto copy = [&](int slot) {
        if (tap < R * S) {
            for (int e = tid * V; e < BM * BK; e += THREADS * V)
                cp_async_16(&Ws[slot][e / BM][e % BM], turned + (int64_t(tap) * Kp + k0 + e / BM) * Cp + e % BM);
            for (int k = 0; k < BK; ++k) {
                const bool in = inside && k0 + k < Kg;
                cp_async_4(&Ys[slot][k][tid], in ? from + (k0 + k) * PQ : turned, in ? 4 : 0);
            }
            k0 += BK;
            if (k0 >= Kg) {
                k0 = 0;
                advance();
            }
        }
        cp_async_commit();  // past the end an empty group, so that the count of groups stays the count of tiles
    };
    for (int r = 0; r < R; ++r)
        for (int s = 0; s < S; ++s) taps += (a + pad_h - int64_t(r) * dilation_h) % stride_h == 0 && (b + pad_w - int64_t(s) * dilation_w) % stride_w == 0;
    advance();
    for (int t = 0; t < STAGES - 1; ++t) copy(t);
    acc_t acc[TM][TN] = {};
    int stage = 0, next = STAGES - 1;  // which slot is multiplied, and which one is filled meanwhile
    for (int t = 0; t < taps * (Kp / BK); ++t) {
        cp_async_wait<STAGES - 2>();  // this thread's part of the tile has landed
        __syncthreads();              // everybody's has; and nobody reads the slot of the tile before any more
        copy(next);
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            Sums u[TM / V], v[TN / V];
            for (int m = 0; m < TM / V; ++m) u[m] = *reinterpret_cast<const Sums*>(&Ws[stage][k][wm + (m * ROWS + ty) * V]);
            for (int l = 0; l < TN / V; ++l) v[l] = *reinterpret_cast<const Sums*>(&Ys[stage][k][wn + (l * COLS + tx) * V]);
            for (int m = 0; m < TM; ++m)
                for (int l = 0; l < TN; ++l) acc[m][l] += u[m / V].v[m % V] * v[l / V].v[l % V];
        }
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
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
