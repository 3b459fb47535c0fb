// 06_swizzle: a layout of the shared tiles in which a turned tile's stores meet no bank twice.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid (ceil(M/BM)*ceil(N/BN), 1, min(batches, 65535)), block THREADS = BM*BN/(TM*TN), static smem BK*(BM+BN)*sizeof(acc_t) B
// FLOPs      2*M*N*K a matrix
// Traffic    sizeof(T)*M*N*K*(1/BM + 1/BN) + sizeof(T)*M*N B requested a matrix; floor sizeof(T)*(M*K + K*N + M*N) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 05   row k of a tile is stored with its index xor-ed by swizzle(k). In 05 the lanes that hold vectors of different k store to one bank
//            (a column of padding, as in 04, would break the 16-byte alignment); here to different ones. Reads stay 16 bytes, without conflicts
// Numerics   fp32 (fp64 for double, 64 bits for integers), summed in order of k
// Source     Kerr 2020, "Developing CUDA Kernels to Push Tensor Cores to the Absolute Limit on NVIDIA A100" (GTC S21745: xor-permuted layouts)
#include "epilogue/epilogue.cuh"

constexpr int ROWS = BM / TM, COLS = BN / TN, THREADS = ROWS * COLS;
constexpr int V = 16 / sizeof(T), W = 16 / sizeof(acc_t);  // elements of an operand, and sums, in 16 bytes
static_assert(BM % TM == 0 && BN % TN == 0, "the block tile is made of whole thread tiles");
static_assert(TM % W == 0 && TN % W == 0 && BM % V == 0 && BN % V == 0 && BK % V == 0, "and the tiles of whole vectors");
typedef Vec<acc_t, W> Sums;

// Where a warp turns vectors, BK/V lanes side by side hold different k and 32*V/BK neighbours of the other axis: the xor sets these groups
// apart by their own width. It moves whole vectors of W, so they stay vectors.
constexpr int SHIFT = 32 * V / BK;
static_assert(BK <= 32 * V && SHIFT % W == 0 && BM % 32 == 0 && BN % 32 == 0, "the xor permutes whole vectors within 32 words");
__device__ __forceinline__ constexpr int swizzle(int k) { return k / V * SHIFT % 32; }

// A BO x BK piece of A (o is m) or of B (o is n), with zeros past its edges. Neighbouring threads walk along the axis whose stride is 1.
template <int BO>
__device__ __forceinline__ void load_tile(acc_t (&Xs)[BK][BO], const T* x, int64_t o0, int64_t k0, int64_t O, int64_t K, int64_t x_o, int64_t x_k) {
    const bool turned = x_k == 1 && x_o != 1;  // rows lie along k and are stored down a column of the tile
    const bool wide = is_aligned<T, V>(x) && (turned ? K % V == 0 && x_o % V == 0 : x_o == 1 && O % V == 0 && x_k % V == 0);
    if (wide) {  // then no vector crosses an edge
        for (int i = threadIdx.x; i < BO * BK / V; i += THREADS) {
            const int o = turned ? i / (BK / V) : i % (BO / V) * V, k = turned ? i % (BK / V) * V : i / (BO / V);
            Vec<T, V> v = {};
            if (o0 + o < O && k0 + k < K) v = *reinterpret_cast<const Vec<T, V>*>(x + (o0 + o) * x_o + (k0 + k) * x_k);
            if (turned) {
                for (int j = 0; j < V; ++j) Xs[k + j][o ^ swizzle(k + j)] = acc_t(v.v[j]);
            } else {
                for (int j = 0; j < V; j += W) {
                    Sums s;
                    for (int w = 0; w < W; ++w) s.v[w] = acc_t(v.v[j + w]);
                    *reinterpret_cast<Sums*>(&Xs[k][(o + j) ^ swizzle(k)]) = s;
                }
            }
        }
    } else {
#pragma unroll 1  // addresses of several elements at once would take registers that the sums need
        for (int i = threadIdx.x; i < BO * BK; i += THREADS) {
            const int o = turned ? i / BK : i % BO, k = turned ? i % BK : i / BO;
            Xs[k][o ^ swizzle(k)] = o0 + o < O && k0 + k < K ? acc_t(x[(o0 + o) * x_o + (k0 + k) * x_k]) : acc_t(0);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, sizeof(acc_t) == 4 ? 2 : 1)
    matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, int64_t M, int64_t N,
               int64_t K, int64_t a_m, int64_t a_k, int64_t b_k, int64_t b_n, int64_t bias_n, Dims batch, int64_t batches) {
    __shared__ __align__(16) acc_t As[BK][BM], Bs[BK][BN];
    const int tid = threadIdx.x, x = tid % COLS, y = tid / COLS;
    const int64_t across = (N + BN - 1) / BN;
    const int64_t m0 = blockIdx.x / across * BM, n0 = blockIdx.x % across * BN;
    const bool wide = N % W == 0 && is_aligned<T, W>(C);
    for (int64_t z = blockIdx.z; z < batches; z += gridDim.z) {
        int64_t at[2];
        offsets(batch, z, at, 2);
        acc_t acc[TM][TN] = {};
        for (int64_t k0 = 0; k0 < K; k0 += BK) {
            load_tile(As, A + at[0], m0, k0, M, K, a_m, a_k);
            load_tile(Bs, B + at[1], n0, k0, N, K, b_n, b_k);
            __syncthreads();  // the tiles are complete
#pragma unroll
            for (int k = 0; k < BK; ++k) {
                Sums av[TM / W], bv[TN / W];
                for (int p = 0; p < TM / W; ++p) av[p] = *reinterpret_cast<const Sums*>(&As[k][(p * ROWS + y) * W ^ swizzle(k)]);
                for (int p = 0; p < TN / W; ++p) bv[p] = *reinterpret_cast<const Sums*>(&Bs[k][(p * COLS + x) * W ^ swizzle(k)]);
                for (int i = 0; i < TM; ++i)
                    for (int j = 0; j < TN; ++j) acc[i][j] += av[i / W].v[i % W] * bv[j / W].v[j % W];
            }
            __syncthreads();  // and read, before the next ones overwrite them
        }
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int p = 0; p < TN / W; ++p) {
                const int64_t m = m0 + (i / W * ROWS + y) * W + i % W, n = n0 + (p * COLS + x) * W;
                if (m < M && n < N) {
                    acc_t v[W];
                    for (int j = 0; j < W; ++j) v[j] = acc[i][p * W + j];
                    store_row<W>(v, bias, bias_n, extra, C, (z * M + m) * N + n, n, N, wide);
                }
            }
    }
}
