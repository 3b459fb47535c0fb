// accumulate: C = sum over pairs (i, j) of A_i @ B_j on tensor cores, one warp a 16 x 8 tile, with or without promotion to registers.
//
// The parts are given as float and hold values that the tensor core's type has exactly. Every `promote` of K the accumulator is added to a
// float sum by an ordinary addition and cleared; 0 lets the tensor core add over all of K. With `own` the first pair has an accumulator of its
// own, and the others share one that is never promoted and is multiplied by `scale` at the end.
#include "ptx.cuh"

enum { TF32, BF16, FP16 };

template <int kind> __device__ unsigned pack(const float* p, long long step) {
    if (kind == TF32) return __float_as_uint(p[0]);
    const float low = p[0], high = p[step];
    if (kind == BF16) return (__float_as_uint(low) >> 16) | (__float_as_uint(high) & 0xffff0000u);
    return unsigned(float_to_half(low)) | unsigned(float_to_half(high)) << 16;
}

template <int kind> __device__ void tile(const float* A, const float* B, float* C, const int* pairs, int count, int M, int N, int K, int promote, int own, float scale) {
    constexpr int depth = kind == TF32 ? 8 : 16, two = kind == TF32 ? 1 : 2;
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    const int row = blockIdx.y * 16, column = blockIdx.x * 8;
    float sum[4] = {}, main_[4] = {}, rest[4] = {};
    for (int k = 0; k < K; k += depth) {
        for (int p = 0; p < count; ++p) {
            const float* a = A + (long long)pairs[2 * p] * M * K + (long long)row * K + k;
            const float* b = B + (long long)pairs[2 * p + 1] * K * N + (long long)k * N + column;
            unsigned fa[4], fb[2];
            for (int i = 0; i < 4; ++i) fa[i] = pack<kind>(a + (long long)(g + 8 * (i % 2)) * K + two * t + depth / 2 * (i / 2), 1);
            for (int i = 0; i < 2; ++i) fb[i] = pack<kind>(b + (long long)(two * t + depth / 2 * i) * N + g, N);
            float (&c)[4] = own && p > 0 ? rest : main_;
            if (kind == TF32) mma_m16n8k8_tf32(c, fa, fb);
            else if (kind == BF16) mma_m16n8k16_bf16(c, fa, fb);
            else mma_m16n8k16_f16(c, fa, fb);
        }
        if (promote && (k + depth) % promote == 0)
            for (int i = 0; i < 4; ++i) {
                sum[i] += main_[i];
                main_[i] = 0;
            }
    }
    for (int i = 0; i < 4; ++i) C[(long long)(row + g + 8 * (i / 2)) * N + column + 2 * t + i % 2] = (sum[i] + main_[i]) + rest[i] * scale;
}

extern "C" __global__ void accumulate_tf32(const float* A, const float* B, float* C, const int* pairs, int count, int M, int N, int K, int promote, int own, float scale) {
    tile<TF32>(A, B, C, pairs, count, M, N, K, promote, own, scale);
}
extern "C" __global__ void accumulate_bf16(const float* A, const float* B, float* C, const int* pairs, int count, int M, int N, int K, int promote, int own, float scale) {
    tile<BF16>(A, B, C, pairs, count, M, N, K, promote, own, scale);
}
extern "C" __global__ void accumulate_fp16(const float* A, const float* B, float* C, const int* pairs, int count, int M, int N, int K, int promote, int own, float scale) {
    tile<FP16>(A, B, C, pairs, count, M, N, K, promote, own, scale);
}
