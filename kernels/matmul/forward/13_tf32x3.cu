// 13_tf32x3: float32 accuracy from tf32: three products of high and low parts, and sums that leave the tensor core every PROMOTE of K.
//
// Computes   C[m, n] = ACT(sum_k A[m, k] * B[k, n] + bias[n] + extra[m, n]) for each matrix of a batch; A (M, K) and B (K, N) of any strides, C row-major; any M, N >= 1, K >= 0
// Launch     grid (ceil(M/BM)*ceil(N/BN), 1, min(batches, 65535)), block THREADS = 32*BM*BN/(WM*WN), dynamic smem STAGES*BK*(BM+BN)*sizeof(T) B
// FLOPs      2*M*N*K a matrix; the tensor core does 6*M*N*K
// Traffic    sizeof(T)*M*N*K*(1/BM + 1/BN) + sizeof(T)*M*N B requested a matrix; floor sizeof(T)*(M*K + K*N + M*N) B
// Intensity  2/(1/BM + 1/BN)/sizeof(T) FLOP/B requested
// Since 12   x = high + low, each a tf32: high*high + high*low + low*high is the product but for low*low, a 2^-22th of it at most. A tensor core that
//            truncates its sums drifts over a long K, so they are added to others, which are rounded to nearest, every PROMOTE of K
// Numerics   an error like that of fp32 sums in order of k, or below (predicted by a model of the tensor core: python -m bench accumulate). An
//            infinity gives NaN (inf - inf in its low part), and so may a value within 2^-12 of the largest float; float alone, where it is asked for
// Source     Ootomo & Yokota 2022, "Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance",
//            arXiv:2203.03341; CUTLASS, example 27 (3xTF32)
#include "epilogue/epilogue.cuh"

constexpr int THREADS = 32 * (BM / WM) * (BN / WN), V = 16 / sizeof(T);
static_assert(sizeof(T) == 4, "tf32 is what a tensor core makes of a float");
static_assert(BM % WM == 0 && BN % WN == 0 && WM % 16 == 0 && WN % 16 == 0, "the block tile is made of whole warp tiles, and these of whole fragments");
static_assert(STAGES >= 2 && BM % 32 == 0 && BN % 32 == 0 && BK % 8 == 0 && BK <= 32 && PROMOTE % BK == 0, "the xor permutes whole vectors within 32 words");

// Where element (o, k) of a tile lies; o is m of A, or n of B. Turned (rows along k) the tile is [o][k], else [k][o]. A warp reads eight o by four k:
// the xor moves whole vectors, and sets these 32 words on 32 banks.
template <int BO, bool turned> __device__ __forceinline__ constexpr int place(int o, int k) {
    return turned ? o * BK + (k ^ o * BK / 32 % (BK / V) * V) : k * BO + (o ^ k % 4 * 8);
}

// Start the copy of a BO x BK piece of A or B, with zeros past its edges: a copy of 0 bytes writes them and reads nothing.
template <int BO>
__device__ __forceinline__ void copy_tile(T* Xs, const T* x, bool turned, int64_t o0, int64_t k0, int64_t O, int64_t K, int64_t x_o, int64_t x_k) {
    if (k0 >= K) return;  // kept: nobody will read that tile, only zeros are spared
    const bool wide = is_aligned<T, V>(x) && (turned ? K % V == 0 && x_o % V == 0 : x_o == 1 && O % V == 0 && x_k % V == 0);
    if (wide) {  // then no vector crosses an edge
#pragma unroll 1  // the addresses of several copies at once would take registers that the sums need
        for (int i = threadIdx.x; i < BO * BK / V; i += THREADS) {
            const int o = turned ? i / (BK / V) : i % (BO / V) * V, k = turned ? i % (BK / V) * V : i / (BO / V);
            const bool in = o0 + o < O && k0 + k < K;
            cp_async_16(Xs + (turned ? place<BO, true>(o, k) : place<BO, false>(o, k)), in ? x + (o0 + o) * x_o + (k0 + k) * x_k : x, in ? 16 : 0);
        }
    } else {
#pragma unroll 1
        for (int i = threadIdx.x; i < BO * BK; i += THREADS) {
            const int o = turned ? i / BK : i % BO, k = turned ? i % BK : i / BO;
            const bool in = o0 + o < O && k0 + k < K;
            cp_async_4(Xs + (turned ? place<BO, true>(o, k) : place<BO, false>(o, k)), in ? x + (o0 + o) * x_o + (k0 + k) * x_k : x, in ? 4 : 0);
        }
    }
}

// 16 (o) x 8 (k) values from (o, k) on, split in two, in the order of mma's A. B takes eight columns at a time: [0] and [2] are its first, [1] and [3]
// its second.
template <int BO, bool turned> __device__ __forceinline__ void load_fragment(unsigned (&high)[4], unsigned (&low)[4], const T* Xs, int o, int k) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; ++i) {
        const float x = Xs[place<BO, turned>(o + i % 2 * 8 + g, k + i / 2 * 4 + t)];
        high[i] = float_to_tf32(x);
        low[i] = float_to_tf32(x - __uint_as_float(high[i]));
    }
}

// The warp's part of a tile's product.
template <bool a_turned, bool b_turned>
__device__ __forceinline__ void multiply(float (&part)[WM / 16][WN / 8][4], const T* As, const T* Bs, int wm, int wn) {
#pragma unroll 1  // fragments of two steps along k at once would not fit the registers beside two sets of sums
    for (int k = 0; k < BK; k += 8) {
        unsigned b[WN / 16][4], b_low[WN / 16][4];
        for (int j = 0; j < WN / 16; ++j) load_fragment<BN, b_turned>(b[j], b_low[j], Bs, wn + j * 16, k);
        for (int i = 0; i < WM / 16; ++i) {
            unsigned a[4], a_low[4];
            load_fragment<BM, a_turned>(a, a_low, As, wm + i * 16, k);
            for (int j = 0; j < WN / 8; ++j) {
                const unsigned b8[2] = {b[j / 2][j % 2], b[j / 2][j % 2 + 2]}, b8_low[2] = {b_low[j / 2][j % 2], b_low[j / 2][j % 2 + 2]};
                mma_m16n8k8_tf32(part[i][j], a_low, b8);
                mma_m16n8k8_tf32(part[i][j], a, b8_low);
                mma_m16n8k8_tf32(part[i][j], a, b8);
            }
        }
    }
}

// Add the tensor core's sums to those that are rounded to nearest, and clear them.
__device__ __forceinline__ void promote(float (&acc)[WM / 16][WN / 8][4], float (&part)[WM / 16][WN / 8][4]) {
#pragma unroll
    for (int i = 0; i < WM / 16; ++i)
#pragma unroll
        for (int j = 0; j < WN / 8; ++j)
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                acc[i][j][r] += part[i][j][r];
                part[i][j][r] = 0;
            }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    matmul_fwd(const T* __restrict__ A, const T* __restrict__ B, const T* __restrict__ bias, T* __restrict__ extra, T* __restrict__ C, int64_t M, int64_t N,
               int64_t K, int64_t a_m, int64_t a_k, int64_t b_k, int64_t b_n, int64_t bias_n, Dims batch, int64_t batches) {
    extern __shared__ __align__(16) unsigned char memory[];
    T *As = reinterpret_cast<T*>(memory), *Bs = As + STAGES * BK * BM;  // STAGES tiles each
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int wm = warp / (BN / WN) * WM, wn = warp % (BN / WN) * WN;  // where the warp's tile lies in the block's
    const int64_t down = (M + BM - 1) / BM, across = (N + BN - 1) / BN;
    const int64_t top = blockIdx.x / (GROUP * across) * GROUP, at_group = blockIdx.x % (GROUP * across);  // the group's first row of blocks
    const int64_t height = down - top < GROUP ? down - top : GROUP;                                      // the last group may be lower
    const int64_t m0 = (top + at_group % height) * BM, n0 = at_group / height * BN;
    const bool a_turned = a_k == 1 && a_m != 1, b_turned = b_k == 1 && b_n != 1;
    const bool wide = N % 2 == 0 && is_aligned<T, 2>(C);
    for (int64_t z = blockIdx.z; z < batches; z += gridDim.z) {
        int64_t at[2];
        offsets(batch, z, at, 2);
        float acc[WM / 16][WN / 8][4] = {}, part[WM / 16][WN / 8][4] = {};
        for (int t = 0; t < STAGES - 1; ++t) {
            copy_tile<BM>(As + t * BK * BM, A + at[0], a_turned, m0, t * BK, M, K, a_m, a_k);
            copy_tile<BN>(Bs + t * BK * BN, B + at[1], b_turned, n0, t * BK, N, K, b_n, b_k);
            cp_async_commit();
        }
        int stage = 0, next = STAGES - 1;  // which slot is multiplied, and which one is filled meanwhile
        for (int64_t k0 = 0; k0 < K; k0 += BK) {
            cp_async_wait<STAGES - 2>();  // this thread's part of the tile has landed
            __syncthreads();              // everybody's has; and nobody reads the slot of the tile before any more
            copy_tile<BM>(As + next * BK * BM, A + at[0], a_turned, m0, k0 + (STAGES - 1) * BK, M, K, a_m, a_k);
            copy_tile<BN>(Bs + next * BK * BN, B + at[1], b_turned, n0, k0 + (STAGES - 1) * BK, N, K, b_n, b_k);
            cp_async_commit();
            const T *a = As + stage * BK * BM, *b = Bs + stage * BK * BN;
            if (a_turned) b_turned ? multiply<true, true>(part, a, b, wm, wn) : multiply<true, false>(part, a, b, wm, wn);
            else b_turned ? multiply<false, true>(part, a, b, wm, wn) : multiply<false, false>(part, a, b, wm, wn);
            if ((k0 + BK) % PROMOTE == 0) promote(acc, part);
            stage = stage + 1 == STAGES ? 0 : stage + 1;
            next = next + 1 == STAGES ? 0 : next + 1;
        }
        promote(acc, part);
        __syncthreads();  // kept: the next matrix of a batch of more than 65535, larger than any sample, fills slots still read here
#pragma unroll
        for (int i = 0; i < WM / 16; ++i)
#pragma unroll
            for (int j = 0; j < WN / 8; ++j)
#pragma unroll
                for (int r = 0; r < 2; ++r) {  // a lane has two neighbours in each of two rows
                    const int64_t m = m0 + wm + i * 16 + r * 8 + lane / 4, n = n0 + wn + j * 8 + lane % 4 * 2;
                    if (m < M && n < N) {
                        acc_t v[2];
                        for (int q = 0; q < 2; ++q) v[q] = acc[i][j][2 * r + q];
                        store_row<2>(v, bias, bias_n, extra, C, (z * M + m) * N + n, n, N, wide);
                    }
                }
    }
}
