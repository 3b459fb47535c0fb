// 11_pointwise: a filter of one tap is a matrix product, and rows of the image are rows of its operand: 16 bytes a copy.
//
// Computes   y[n, k, p] = ACT(bias[k] + extra[n, k, p] + sum_c x[n, c, p] * w[k, c]) for places p of an image of P*Q; x (N, C, P*Q), w (K, Cg), y (N, K, P*Q)
//            contiguous, Cg = C/groups; R = S = 1, stride 1, no padding, P*Q a multiple of 4; other sizes >= 1
// Launch     grid ceil(K/groups padded to BM * C/groups padded to BK * groups / BLOCK), block BLOCK; then
//            grid (ceil(N*P*Q/BN)*ceil(Kg/BM), groups), block THREADS = BM*BN/(TM*TN) = BN, static smem STAGES*BK*(BM+BN)*sizeof(T) B
// FLOPs      2*N*K*P*Q*Cg, Cg rounded up to a multiple of BK
// Traffic    sizeof(T)*(N*K*P*Q*Cg/BM + N*K*P*Q) + sizeof(acc_t)*N*K*P*Q*Cg/BN B requested, and (sizeof(T) + sizeof(acc_t))*K*Cg B
//            to turn the filters; floor sizeof(T)*(N*C*P*Q + K*Cg + N*K*P*Q) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 10   as 07 with one tap: nothing is outside, four neighbours of a row are four neighbours of the image, and a quarter of the copies do
// Numerics   fp32, summed in order of c; float alone
// Source     PTX ISA, "cp.async"; Kerr 2020, "Developing CUDA Kernels to Push Tensor Cores to the Absolute Limit on NVIDIA A100" (multistage)
#include "epilogue/epilogue.cuh"

constexpr int ROWS = WM / TM, COLS = WN / TN, THREADS = BM * BN / (TM * TN);  // lanes of a warp, down and across
constexpr int V = 16 / sizeof(acc_t);  // sums in 16 bytes
static_assert(BM % WM == 0 && BN % WN == 0 && ROWS * COLS == 32, "the block tile is made of whole warp tiles, and these of 32 thread tiles");
static_assert(TM % V == 0 && TN % V == 0 && THREADS % (BN / V) == 0, "and the tiles of whole vectors; a thread copies for V places");
static_assert(sizeof(T) == sizeof(acc_t) && sizeof(T) == 4 && STAGES >= 2, "cp.async copies 4 bytes or more, and does not convert");
typedef Vec<acc_t, V> Sums;

// turned (groups, Cp, Kp): w with k last, Cg and Kg padded to multiples of BK and BM by zeros.
extern "C" __global__ void turn_filters(const T* __restrict__ w, acc_t* __restrict__ turned, int C, int K, int groups) {
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= int64_t(groups) * Cp * Kp) return;
    const int k = i % Kp, c = i / Kp % Cp, g = i / (int64_t(Kp) * Cp);
    turned[i] = k < Kg && c < Cg ? acc_t(w[(int64_t(g) * Kg + k) * Cg + c]) : acc_t(0);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3)
    conv2d_fwd(const T* __restrict__ x, const acc_t* __restrict__ turned, const T* __restrict__ bias, const T* __restrict__ extra,
               T* __restrict__ y, int64_t N, int C, int K, int P, int Q, int groups) {
    __shared__ __align__(16) acc_t Ws[STAGES][BK][BM], Xs[STAGES][BK][BN];
    const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, tx = lane % COLS, ty = lane / COLS, g = blockIdx.y;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int down = Kp / BM;
    const int k0 = blockIdx.x % down * BM;
    const int64_t PQ = int64_t(P) * Q, places = N * PQ, j0 = blockIdx.x / down * int64_t(BN);
    turned += int64_t(g) * Cp * Kp + k0;
    // the V places that this thread copies for: V divides PQ, so they lie in one image
    const int64_t mine = j0 + tid % (BN / V) * V, n = mine / PQ;
    x += (n * C + g * Cg) * PQ + mine % PQ;
    int c0 = 0;  // what is copied next
    auto copy = [&](int slot) {
        if (c0 < Cg) {
            for (int i = tid * V; i < BM * BK; i += THREADS * V)
                cp_async_16(&Ws[slot][i / BM][i % BM], turned + (int64_t(c0) + i / BM) * Kp + i % BM);
            for (int c = tid / (BN / V); c < BK; c += THREADS / (BN / V)) {
                const bool in = mine < places && c0 + c < Cg;
                cp_async_16(&Xs[slot][c][tid % (BN / V) * V], in ? x + (c0 + c) * PQ : turned, in ? 16 : 0);
            }
            c0 += BK;
        }
        cp_async_commit();  // past the end an empty group, so that the count of groups stays the count of tiles
    };
    for (int t = 0; t < STAGES - 1; ++t) copy(t);
    acc_t acc[TM][TN] = {};
    int stage = 0, next = STAGES - 1;  // which slot is multiplied, and which one is filled meanwhile
    for (int t = 0; t < Cp / BK; ++t) {
        cp_async_wait<STAGES - 2>();  // this thread's part of the tile has landed
        __syncthreads();              // everybody's has; and nobody reads the slot of the tile before any more
        copy(next);
#pragma unroll
        for (int c = 0; c < BK; ++c) {
            Sums a[TM / V], b[TN / V];
            for (int i = 0; i < TM / V; ++i) a[i] = *reinterpret_cast<const Sums*>(&Ws[stage][c][wm + (i * ROWS + ty) * V]);
            for (int j = 0; j < TN / V; ++j) b[j] = *reinterpret_cast<const Sums*>(&Xs[stage][c][wn + (j * COLS + tx) * V]);
            for (int i = 0; i < TM; ++i)
                for (int j = 0; j < TN; ++j) acc[i][j] += a[i / V].v[i % V] * b[j / V].v[j % V];
        }
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }
#pragma unroll
    for (int j = 0; j < TN / V; ++j) {
        const int64_t place = j0 + wn + (j * COLS + tx) * V;
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            const int k = k0 + wm + (i / V * ROWS + ty) * V + i % V, filter = g * Kg + k;
            if (k >= Kg || place >= places) continue;
            const int64_t at = (place / PQ * K + filter) * PQ + place % PQ;
            Vec<T, V> out = {};
            if (EXTRA == RESIDUAL) out = *reinterpret_cast<const Vec<T, V>*>(extra + at);
            for (int l = 0; l < V; ++l) {
                acc_t v = acc[i][j * V + l];
                if (BIAS) v += acc_t(bias[filter]);
                if (EXTRA == RESIDUAL) v += acc_t(out.v[l]);
                out.v[l] = T(ACT::of(v));
            }
            *reinterpret_cast<Vec<T, V>*>(y + at) = out;
        }
    }
}
