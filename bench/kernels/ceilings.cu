// ceilings: what the machine can do at most. Copy, multiply-adds, tensor cores by mma.sync, and an empty kernel.
#include "ptx.cuh"

// Four loads of 16 bytes in flight per thread before the first store: 8 bytes a thread do not fill the memory system.
extern "C" __global__ void ceiling_copy(const uint4* __restrict__ x, uint4* __restrict__ y, long long n) {
    const long long step = (long long)gridDim.x * blockDim.x;
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + 3 * step < n; i += 4 * step) {
        const uint4 a = x[i], b = x[i + step], c = x[i + 2 * step], d = x[i + 3 * step];
        y[i] = a;
        y[i + step] = b;
        y[i + 2 * step] = c;
        y[i + 3 * step] = d;
    }
    for (; i < n; i += step) y[i] = x[i];
}

// Eight chains of dependent multiply-adds a thread; the sum is written, so that nothing can be left out.
extern "C" __global__ void ceiling_fma(float* out, float x, float y, int rounds) {
    float s[8];
    for (int k = 0; k < 8; ++k) s[k] = threadIdx.x * 0.001f + k;
    for (int i = 0; i < rounds; ++i) {
#pragma unroll
        for (int u = 0; u < 16; ++u) {
#pragma unroll
            for (int k = 0; k < 8; ++k) s[k] = fmaf(s[k], x, y);
        }
    }
    float total = 0;
    for (int k = 0; k < 8; ++k) total += s[k];
    out[(long long)blockIdx.x * blockDim.x + threadIdx.x] = total;
}

#if defined(GPUDL_EMULATOR) || __CUDA_ARCH__ >= 800  // before, there is no mma of these types
// Four independent accumulators a warp; operands are not zero: zeros use less power and run faster.
template <bool bf16> __device__ void mma_rate(float* out, int rounds) {
    float c[4][4] = {};
    unsigned a[4], b[2];
    for (int k = 0; k < 4; ++k) a[k] = 0x3f803f00u + 0x00100010u * ((threadIdx.x + k) & 7);
    for (int k = 0; k < 2; ++k) b[k] = 0xbf003f40u + 0x00100010u * ((threadIdx.x + k) & 7);
    for (int i = 0; i < rounds; ++i) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (bf16) mma_m16n8k16_bf16(c[k], a, b);
            else mma_m16n8k8_tf32(c[k], a, b);
        }
    }
    float total = 0;
    for (int k = 0; k < 4; ++k)
        for (int j = 0; j < 4; ++j) total += c[k][j];
    out[(long long)blockIdx.x * blockDim.x + threadIdx.x] = total;
}

extern "C" __global__ void ceiling_mma_bf16(float* out, int rounds) { mma_rate<true>(out, rounds); }
extern "C" __global__ void ceiling_mma_tf32(float* out, int rounds) { mma_rate<false>(out, rounds); }
#endif

extern "C" __global__ void ceiling_empty(int* counter) {
    if (threadIdx.x == 0) counter[blockIdx.x] += 1;  // dependent on the launch before, as the kernels of a step are
}
