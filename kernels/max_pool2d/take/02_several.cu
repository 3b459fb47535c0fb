// 02_several: one thread four neighbouring results, whose gathers are in flight together.
//
// Computes   y[m, p, q] = x[m, place of the maximum of window (p, q)];
//            x (M, H, W), at and y (M, P, Q) contiguous; at: places h*W + w (int64) or numbers within the window (uint8)
// Launch     grid ceil(M*P*Q/(4*BLOCK)), block BLOCK
// FLOPs      0
// Traffic    (2*sizeof(T) + sizeof(I))*M*P*Q B
// Intensity  0
// Since 01   at and y move by up to 16 bytes an access; four loads of x wait together, not one after another
// Numerics   exact
// Source     the transpose of max_pool2d.backward
#include "pool/window.cuh"

// Four neighbours by accesses of at most 16 bytes.
template <typename X> struct Four {
    static constexpr int PART = sizeof(X) > 4 ? 16 / sizeof(X) : 4;
    Vec<X, PART> part[4 / PART];
    __device__ __forceinline__ X& operator[](int k) { return part[k / PART].v[k % PART]; }
};

extern "C" __global__ void max_pool2d_take(const T* __restrict__ x, const I* __restrict__ at, T* __restrict__ y, int64_t M, int H, int W,
                                           int P, int Q, int R, int S, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h,
                                           int dilation_w) {
    const int64_t first = (blockIdx.x * int64_t(BLOCK) + threadIdx.x) * 4, size = M * P * Q;
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h}, cols{W, Q, S, stride_w, pad_w, dilation_w};
    if (first + 4 <= size) {
        Four<I> number;
        Four<T> out;
        #pragma unroll
        for (int k = 0; k < 4 / Four<I>::PART; ++k) number.part[k] = reinterpret_cast<const Vec<I, Four<I>::PART>*>(at + first)[k];
        #pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int64_t i = first + k;
            out[k] = x[i / (int64_t(P) * Q) * H * W + place(number[k], rows, cols, i / Q % P, i % Q)];
        }
        #pragma unroll
        for (int k = 0; k < 4 / Four<T>::PART; ++k) reinterpret_cast<Vec<T, Four<T>::PART>*>(y + first)[k] = out.part[k];
    } else {
        for (int64_t i = first; i < size; ++i) y[i] = x[i / (int64_t(P) * Q) * H * W + place(at[i], rows, cols, i / Q % P, i % Q)];
    }
}
