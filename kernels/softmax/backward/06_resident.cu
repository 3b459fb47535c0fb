// 06_resident: rows of dy and y that are too long for registers stay in shared memory.
//
// Computes   dx[m, j] = y[m, j] * (dy[m, j] - sum_j dy[m, j] * y[m, j]); dy, y, dx (M, N);
//            2*sizeof(T)*N as much as a block can have
// Launch     grid M, block BLOCK, dynamic smem 2*sizeof(T)*N B, static smem 32*sizeof(acc_t) B
// FLOPs      4*M*N
// Traffic    3*sizeof(T)*M*N B; that is the floor
// Intensity  4/(3*sizeof(T)) FLOP/B
// Since 05   rows of tens of thousands of values are read once
// Numerics   fp32 (fp64 for double); thread-strided partial sums, a butterfly in each warp, another over the warps: repeatable bit for bit
// Source     the derivative of the definition; only the output y is needed
#include "common.cuh"

extern "C" __global__ void softmax_bwd(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t M, int64_t N) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* gs = reinterpret_cast<T*>(memory);  // each value is written and read by one thread alone: no barrier for it
    T* ys = gs + N;
    __shared__ acc_t smem[32];
    const int tid = threadIdx.x;
    dy += blockIdx.x * N;
    y += blockIdx.x * N;
    dx += blockIdx.x * N;
    acc_t dot = 0;
    for (int64_t j = tid; j < N; j += BLOCK) {
        const T g = dy[j], v = y[j];
        gs[j] = g;
        ys[j] = v;
        dot += acc_t(g) * acc_t(v);
    }
    dot = block_sum(dot, smem);
    for (int64_t j = tid; j < N; j += BLOCK) dx[j] = T(acc_t(ys[j]) * (acc_t(gs[j]) - dot));
}
