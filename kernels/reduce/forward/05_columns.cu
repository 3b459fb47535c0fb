// 05_columns: a warp covers 32 neighbouring results, for a reduction over leading axes (the bias gradient).
//
// Computes   y[a, b] = finish(merge over p, q of load(x[a, b, p, q])); x of any strides (sa, sb, sp, sq), y (A, B); OP says what is done
// Launch     grid A*ceil(B/32), block (32, ROWS), static smem 32*ROWS*sizeof(acc_t) B
// FLOPs      A*B*P*Q
// Traffic    sizeof(T)*A*B*P*Q + sizeof(S)*A*B B, which is the floor, where sb = 1
// Since 04   the lanes lie along the kept axis, which is the one that is contiguous here; the warps of a block share the reduced axes
// Numerics   fp32 (fp64 for double, int64 for integers); ROWS partial results, merged in order; repeatable bit for bit
// Source     the layout argument of Harris 2007, "Optimizing Parallel Reduction in CUDA" (NVIDIA), turned by 90 degrees
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_fwd(const T* __restrict__ x, S* __restrict__ y, int64_t A, int64_t B, int64_t P, int64_t Q, int64_t sa,
                                      int64_t sb, int64_t sp, int64_t sq) {
    __shared__ acc_t part[ROWS][32];
    const int64_t tiles = (B + 31) / 32, a = blockIdx.x / tiles, b = blockIdx.x % tiles * 32 + threadIdx.x;
    acc_t v = OP::start();
    if (b < B) {
        x += a * sa + b * sb;
        const int64_t step_p = ROWS / Q, step_q = ROWS % Q;
        int64_t p = threadIdx.y / Q, q = threadIdx.y % Q;
        while (p < P) {
            v = OP::merge(v, OP::load(x[p * sp + q * sq]));
            p += step_p;
            q += step_q;
            if (q >= Q) {
                q -= Q;
                ++p;
            }
        }
    }
    part[threadIdx.y][threadIdx.x] = v;  // lanes of a warp write neighbouring words: no bank conflict
    __syncthreads();
    if (threadIdx.y == 0 && b < B) {
        for (int k = 1; k < ROWS; ++k) v = OP::merge(v, part[k][threadIdx.x]);
        y[a * B + b] = static_cast<S>(OP::finish(v, P * Q));
    }
}
