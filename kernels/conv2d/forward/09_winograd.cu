// 09_winograd: F(2x2, 3x3): 16 products give 2 x 2 results of a 3 x 3 filter, where the definition takes 36.
//
// Computes   y[n, k, p, q] = ACT(bias[k] + extra[n, k, p, q] + sum_crs x[n, c, h, w] * w[k, c, r, s]), h = p + r - pad_h, w likewise; x (N, C, H, W), w (K, Cg, 3, 3),
//            y (N, K, P, Q) contiguous, Cg = C/groups; zero outside the image; 3 x 3 filters, stride 1, dilation 1, other sizes >= 1.
//            As y = A' (sum_c (G w G') . (B' x B)) A for each tile of 2 x 2 results and its 4 x 4 patch x, the product . taken element by element
// Launch     grid ceil(Kg padded to BM * Cg padded to BK * groups / BLOCK), block BLOCK; then
//            grid (ceil(tiles/BN)*ceil(Kg/BM), groups), tiles = N*ceil(P/2)*ceil(Q/2), block THREADS = 256, static smem 16*BK*(BM+BN)*sizeof(acc_t) B
// FLOPs      32*tiles*K*Cg multiply-adds' worth, of 72*tiles*K*Cg by the definition (the "effective" ones), and 32 additions a patch and channel
// Traffic    16*sizeof(T)*tiles*C*ceil(Kg/BM) + 16*sizeof(acc_t)*K*Cg*ceil(tiles/BN) + sizeof(T)*N*K*P*Q B requested, and
//            (9*sizeof(T) + 16*sizeof(acc_t))*K*Cg B for the filters; floor sizeof(T)*(N*C*H*W + 9*K*Cg + N*K*P*Q) B
// Intensity  4.5/(1/BM + 1/BN)/sizeof(T) effective FLOP/B requested
// Since 08   2.25 times fewer multiplications, for additions before and after them, which C and K share when they are many (32 and more)
// Numerics   fp32; float and the halves. A result is a sum of terms up to 64/9 times as large as the definition's, (5/3)^2 times in variance: the
//            error grows by up to that factor (README)
// Source     Lavin & Gray 2015, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308
#include "epilogue/epilogue.cuh"

constexpr int WARPS = 8, THREADS = 32 * WARPS, EACH = 16 / WARPS;  // a warp multiplies EACH of the 16 elements of the patches
constexpr int V = 16 / sizeof(acc_t), TM = 8, TN = 4, ROWS = BM / TM, COLS = BN / TN;
static_assert(ROWS * COLS == 32 && V == 4 && BK * BN == THREADS && BM == 32 && BK * (BM + BN) >= BM / 2 * BN, "one patch a thread; half the filters at a time go through the tiles' memory at the end");
typedef Vec<acc_t, V> Sums;

// turned (groups, 16, Cp, Kp): G w G' with k last, Cg and Kg padded to multiples of BK and BM by zeros.
extern "C" __global__ void transform_filters(const T* __restrict__ w, acc_t* __restrict__ turned, int C, int K, int groups) {
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= int64_t(groups) * Cp * Kp) return;
    const int k = i % Kp, c = i / Kp % Cp, g = i / (int64_t(Kp) * Cp);
    acc_t u[4][3] = {};  // G w
    if (k < Kg && c < Cg) {
        w += ((int64_t(g) * Kg + k) * Cg + c) * 9;
        for (int s = 0; s < 3; ++s) {
            const acc_t a = acc_t(w[s]), b = acc_t(w[3 + s]), d = acc_t(w[6 + s]);
            u[0][s] = a;
            u[1][s] = (a + b + d) / 2;
            u[2][s] = (a - b + d) / 2;
            u[3][s] = d;
        }
    }
    turned += (int64_t(g) * 16 * Cp + c) * Kp + k;
    for (int e = 0; e < 4; ++e) {
        const int64_t next = int64_t(Cp) * Kp;
        turned[(4 * e + 0) * next] = u[e][0];
        turned[(4 * e + 1) * next] = (u[e][0] + u[e][1] + u[e][2]) / 2;
        turned[(4 * e + 2) * next] = (u[e][0] - u[e][1] + u[e][2]) / 2;
        turned[(4 * e + 3) * next] = u[e][2];
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    conv2d_fwd(const T* __restrict__ x, const acc_t* __restrict__ turned, const T* __restrict__ bias, T* __restrict__ extra,
               T* __restrict__ y, int64_t N, int C, int H, int W, int K, int P, int Q, int pad_h, int pad_w, int groups) {
    __shared__ __align__(16) acc_t memory[16 * BK * (BM + BN)];
    auto Us = reinterpret_cast<acc_t(*)[BK][BM]>(memory);                 // Us[e][c][k]
    auto Vs = reinterpret_cast<acc_t(*)[BK][BN]>(memory + 16 * BK * BM);  // Vs[e][c][tile]
    auto Ms = reinterpret_cast<acc_t(*)[BM / 2][BN]>(memory);             // Ms[e][k][tile], when the tiles have been read
    const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, tx = lane % COLS, ty = lane / COLS, g = blockIdx.y;
    const int Cg = C / groups, Kg = K / groups, Cp = (Cg + BK - 1) / BK * BK, Kp = (Kg + BM - 1) / BM * BM;
    const int k0 = blockIdx.x % (Kp / BM) * BM, across = (Q + 1) / 2, down = (P + 1) / 2;
    const int64_t HW = int64_t(H) * W, tiles = N * down * across, mine = blockIdx.x / (Kp / BM) * int64_t(BN) + tid % BN;
    const int64_t n = mine / (int64_t(down) * across);
    const int p = mine / across % down * 2, q = mine % across * 2;  // where the 2 x 2 results of the thread's tile begin
    turned += int64_t(g) * 16 * Cp * Kp + k0;
    x += (n * C + g * Cg + tid / BN) * HW + int64_t(p - pad_h) * W + q - pad_w;  // where the thread's patch begins
    acc_t acc[EACH][TM][TN] = {};
    for (int c0 = 0; c0 < Cg; c0 += BK) {
        for (int i = tid * V; i < 16 * BK * BM; i += THREADS * V)
            *reinterpret_cast<Sums*>(memory + i) = *reinterpret_cast<const Sums*>(turned + (int64_t(i / (BK * BM)) * Cp + c0 + i / BM % BK) * Kp + i % BM);
        const int c = tid / BN;
        const bool real = mine < tiles && c0 + c < Cg;
        acc_t v[4][4];  // B' x
        for (int j = 0; j < 4; ++j) {
            acc_t d[4];
            for (int i = 0; i < 4; ++i) {
                const bool inside = p - pad_h + i >= 0 && p - pad_h + i < H && q - pad_w + j >= 0 && q - pad_w + j < W;
                d[i] = real && inside ? acc_t(x[i * W + j]) : acc_t(0);
            }
            v[0][j] = d[0] - d[2];
            v[1][j] = d[1] + d[2];
            v[2][j] = d[2] - d[1];
            v[3][j] = d[1] - d[3];
        }
        for (int i = 0; i < 4; ++i) {
            Vs[4 * i + 0][c][tid % BN] = v[i][0] - v[i][2];
            Vs[4 * i + 1][c][tid % BN] = v[i][1] + v[i][2];
            Vs[4 * i + 2][c][tid % BN] = v[i][2] - v[i][1];
            Vs[4 * i + 3][c][tid % BN] = v[i][1] - v[i][3];
        }
        __syncthreads();  // the tiles are complete
#pragma unroll
        for (int e = 0; e < EACH; ++e)
#pragma unroll 1  // more of them at once would not fit the registers
            for (int d = 0; d < BK; ++d) {
                Sums a[TM / V], b;
                for (int i = 0; i < TM / V; ++i) a[i] = *reinterpret_cast<const Sums*>(&Us[warp * EACH + e][d][(i * ROWS + ty) * V]);
                b = *reinterpret_cast<const Sums*>(&Vs[warp * EACH + e][d][tx * V]);
                for (int i = 0; i < TM; ++i)
                    for (int j = 0; j < TN; ++j) acc[e][i][j] += a[i / V].v[i % V] * b.v[j];
            }
        __syncthreads();  // and read, before the next ones overwrite them
        x += BK * HW;
    }
    const bool wide = Q % 2 == 0 && is_aligned<T, 2>(y) && is_aligned<T, 2>(extra);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        for (int e = 0; e < EACH; ++e)
            for (int i = 0; i < V; ++i) {
                Sums out;
                for (int j = 0; j < V; ++j) out.v[j] = acc[e][half * V + i][j];
                *reinterpret_cast<Sums*>(&Ms[warp * EACH + e][ty * V + i][tx * V]) = out;
            }
        __syncthreads();  // all 16 elements of half the filters are there
        for (int k = tid / BN; k < BM / 2; k += THREADS / BN) {
            acc_t m[2][4];  // A' m
            for (int j = 0; j < 4; ++j) {
                const acc_t a = Ms[j][k][tid % BN], b = Ms[4 + j][k][tid % BN], c = Ms[8 + j][k][tid % BN], d = Ms[12 + j][k][tid % BN];
                m[0][j] = a + b + c;
                m[1][j] = b - c - d;
            }
            const int filter = k0 + half * (BM / 2) + k;
            if (mine >= tiles || filter >= Kg) continue;
            for (int i = 0; i < 2 && p + i < P; ++i) {
                acc_t two[2] = {m[i][0] + m[i][1] + m[i][2], m[i][1] - m[i][2] - m[i][3]};
                store_row<2>(two, bias + g * Kg + filter, 0, extra, y, ((n * K + g * Kg + filter) * P + p + i) * Q + q, q, Q, wide);
            }
        }
        __syncthreads();  // and are read, before the other half overwrites them
    }
}
