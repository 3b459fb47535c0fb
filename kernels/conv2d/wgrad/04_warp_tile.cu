// 04_warp_tile: tiles of 8 x 8 sums a thread, warp tiles and 16 bytes a read; and a table of where each row of patches lies.
//
// Computes   dw[k, c, r, s] = sum_npq dy[n, k, p, q] * x[n, c, h, w], h = p*stride_h + r*dilation_h - pad_h, w likewise;
//            x (N, C, H, W), dy (N, K, P, Q), dw (K, Cg, R, S) contiguous, Cg = C/groups; zero outside the image; N >= 0, other sizes >= 1,
//            an image of less than 2^31 elements
// Launch     grid (ceil(Kg/BM)*ceil(Cg*R*S/BN), groups, ceil(N*P*Q/piece)), block THREADS = BM*BN/(TM*TN), static smem
//            BK*(BM+BN)*sizeof(acc_t) + 16*BN B; then grid ceil(K*Cg*R*S/BLOCK), block BLOCK; piece = max(CHUNK, N*P*Q/PARTS rounded up)
// FLOPs      2*N*K*P*Q*Cg*R*S
// Traffic    sizeof(T)*(N*K*P*Q*Cg*R*S*(1/BM + 1/BN) + K*Cg*R*S) B requested, and 2*sizeof(acc_t)*K*Cg*R*S*ceil(N*P*Q/piece) B of partial sums;
//            floor sizeof(T)*(N*C*H*W + K*Cg*R*S + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 03   64 multiply-adds for 4 reads of 16 bytes, where 03 has 16 for 8 of 4. The rows of the patch tile stay the same for all places: their
//            channel and tap are found once, and the place moves on by BK, so the long loop divides no more. The tiles are stored down their columns:
//            an xor sets the BK lanes that would share a bank apart
// Numerics   fp32; float and the halves; in order within a piece, then the pieces in order: repeatable bit for bit
// Source     kernels/matmul 05 to 07: Boehm 2022; Kerr et al. 2017, "CUTLASS: Fast Linear Algebra in CUDA C++" (warp tile)
#include "common.cuh"

constexpr int ROWS = WM / TM, COLS = WN / TN, THREADS = BM * BN / (TM * TN);  // lanes of a warp, down and across
constexpr int V = 16 / sizeof(acc_t), SHIFT = 32 / BK;  // sums in 16 bytes; by how many banks neighbouring places are set apart
static_assert(BM % WM == 0 && BN % WN == 0 && ROWS * COLS == 32, "the block tile is made of whole warp tiles, and these of 32 thread tiles");
static_assert(TM % V == 0 && TN % V == 0 && SHIFT % V == 0 && CHUNK % BK == 0, "and the tiles of whole vectors, which the xor leaves whole");
static_assert(THREADS % BK == 0 && BM % 32 == 0 && BN % 32 == 0, "a thread loads for one place of a step; the xor permutes 32 words");
typedef Vec<acc_t, V> Sums;
__device__ __forceinline__ constexpr int swizzle(int place) { return place * SHIFT; }

struct alignas(16) Row { int offset, h, v, real; };  // of the patches: c*H*W + h*W + v, with h = r*dilation_h, v = s*dilation_w; real: it exists

// Places that one block sums over: CHUNK or, where that would make more than PARTS pieces, an equal share.
__device__ __forceinline__ int64_t piece(int64_t places) {
    const int64_t share = (places + PARTS - 1) / PARTS;
    return share <= CHUNK ? CHUNK : (share + BK - 1) / BK * BK;
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    conv2d_bwd_dw(const T* __restrict__ x, const T* __restrict__ dy, acc_t* __restrict__ partial, int64_t N, int C, int H, int W, int K,
                  int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups) {
    __shared__ __align__(16) acc_t Ys[BK][BM], Xs[BK][BN];
    __shared__ Row table[BN];
    const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, tx = lane % COLS, ty = lane / COLS, g = blockIdx.y;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
    const int Cg = C / groups, Kg = K / groups, depth = Cg * R * S;
    const int across = (depth + BN - 1) / BN;
    const int k0 = blockIdx.x / across * BM, d0 = blockIdx.x % across * BN;
    const int64_t PQ = int64_t(P) * Q, places = N * PQ, first = blockIdx.z * piece(places);
    const int64_t last = first + piece(places) < places ? first + piece(places) : places;
    for (int d = tid; d < BN; d += THREADS) {
        const int crs = d0 + d, h = crs / S % R * dilation_h, v = crs % S * dilation_w;
        table[d] = {crs / (R * S) * H * W + h * W + v, h, v, crs < depth};
    }
    x += int64_t(g) * Cg * H * W;
    dy += (int64_t(g) * Kg + k0) * PQ;
    const int j = tid % BK;  // neighbouring threads take neighbouring places
    // the place that this thread loads for: it moves on by BK a step
    int64_t place = first + j, n = place / PQ;
    int p = place % PQ / Q, q = place % Q;
    __syncthreads();  // the table is complete
    acc_t acc[TM][TN] = {};
    for (int64_t j0 = first; j0 < last; j0 += BK) {
        const int64_t h = int64_t(p) * stride_h - pad_h, v = int64_t(q) * stride_w - pad_w;
        const T* from = x + n * C * H * W + h * W + v;
        const T* results = dy + n * K * PQ + int64_t(p) * Q + q;
        for (int k = tid / BK; k < BM; k += THREADS / BK) Ys[j][k ^ swizzle(j)] = place < last && k0 + k < Kg ? acc_t(results[k * PQ]) : acc_t(0);
        for (int d = tid / BK; d < BN; d += THREADS / BK) {
            const Row row = table[d];
            const bool inside = place < last && row.real && h + row.h >= 0 && h + row.h < H && v + row.v >= 0 && v + row.v < W;
            Xs[j][d ^ swizzle(j)] = inside ? acc_t(from[row.offset]) : acc_t(0);
        }
        for (place += BK, q += BK; q >= Q; q -= Q)
            if (++p == P) p = 0, ++n;
        __syncthreads();  // the tiles are complete
#pragma unroll
        for (int e = 0; e < BK; ++e) {
            Sums a[TM / V], b[TN / V];
            for (int m = 0; m < TM / V; ++m) a[m] = *reinterpret_cast<const Sums*>(&Ys[e][(wm + (m * ROWS + ty) * V) ^ swizzle(e)]);
            for (int l = 0; l < TN / V; ++l) b[l] = *reinterpret_cast<const Sums*>(&Xs[e][(wn + (l * COLS + tx) * V) ^ swizzle(e)]);
            for (int m = 0; m < TM; ++m)
                for (int l = 0; l < TN; ++l) acc[m][l] += a[m / V].v[m % V] * b[l / V].v[l % V];
        }
        __syncthreads();  // and read, before the next ones overwrite them
    }
    for (int m = 0; m < TM; ++m)
        for (int l = 0; l < TN / V; ++l) {
            const int k = k0 + wm + (m / V * ROWS + ty) * V + m % V, d = d0 + wn + (l * COLS + tx) * V;
            if (k >= Kg || d >= depth) continue;
            Sums out;
            for (int z = 0; z < V; ++z) out.v[z] = acc[m][l * V + z];
            acc_t* to = partial + (int64_t(blockIdx.z) * K + g * Kg + k) * depth + d;
            if (depth % V == 0) *reinterpret_cast<Sums*>(to) = out;
            else
                for (int z = 0; z < V; ++z)
                    if (d + z < depth) to[z] = out.v[z];
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
