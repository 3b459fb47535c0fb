// 02_several: one thread PER results, BLOCK apart, whose gathers are in flight together.
//
// Computes   y[m, p, q] = x[m, place of the maximum of window (p, q)];
//            x (M, H, W), at and y (M, P, Q) contiguous; at: places h*W + w (int64) or numbers within the window (uint8)
// Launch     grid ceil(M*P*Q/(PER*BLOCK)), block BLOCK
// FLOPs      0
// Traffic    (2*sizeof(T) + sizeof(I))*M*P*Q B
// Intensity  0
// Since 01   a gather needs its place first: two trips to memory, one after the other. PER places travel together, then PER elements of x do;
//            lanes stay neighbours (four results in a row a thread would spread each gather of the warp over four times the sectors)
// Numerics   exact
// Source     the transpose of max_pool2d.backward
#include "pool/window.cuh"

extern "C" __global__ void max_pool2d_take(const T* __restrict__ x, const I* __restrict__ at, T* __restrict__ y, int64_t M, int H, int W,
                                           int P, int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                           int dilation_w) {
    const int64_t first = blockIdx.x * int64_t(BLOCK) * PER + threadIdx.x, size = M * P * Q;
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h}, cols{W, Q, S, stride_w, pad_w, dilation_w};
    I number[PER];
    T value[PER];
    #pragma unroll
    for (int k = 0; k < PER; ++k)
        if (first + k * BLOCK < size) number[k] = at[first + k * BLOCK];
    #pragma unroll
    for (int k = 0; k < PER; ++k) {
        const int64_t i = first + k * BLOCK;
        if (i < size) value[k] = x[i / (int64_t(P) * Q) * H * W + place(number[k], rows, cols, i / Q % P, i % Q)];
    }
    #pragma unroll
    for (int k = 0; k < PER; ++k)
        if (first + k * BLOCK < size) y[first + k * BLOCK] = value[k];
}
