// 03_vector: windows that lie side by side: one thread 16 bytes of dx, and the windows above them.
//
// Computes   dx[m, h, w] = sum of dy[m, p, q] over the windows whose maximum lies at (h, w);
//            dy and at (M, P, Q), dx (M, H, W) contiguous; at: numbers within the window (uint8); S = stride_w a divisor of V = 16 / sizeof(T),
//            W a multiple of V, no padding or dilation along a row
// Launch     grid ceil(M*H*W/(V*BLOCK)), block BLOCK
// FLOPs      M*P*Q
// Traffic    (sizeof(T) + 1)*M*P*Q*R + sizeof(T)*M*H*W B
// Since 02   the V/S windows of a row are one load of at and one of dy, asked once for all their columns; dx leaves by 16 bytes
// Numerics   fp32 (fp64 for double), summed in order of p, q: repeatable bit for bit
// Source     the textbook definition as a gather
#include "pool/window.cuh"

constexpr int V = 16 / sizeof(T);

// WIDTH is S: a constant, so that every index below is one and all values stay in registers.
template <int WIDTH>
__device__ __forceinline__ void windows(const T* dy, const uint8_t* at, T* dx, int64_t M, int H, int W, int P, int Q, int R, int stride_h, int pad_h,
                                        int dilation_h) {
    constexpr int results = V / WIDTH;
    const Axis rows{H, P, R, stride_h, pad_h, dilation_h};
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x, groups = W / V;
    if (i >= M * H * groups) return;
    const int64_t g = i % groups, h = i / groups % H, m = i / (groups * H);
    acc_t sum[V];
    #pragma unroll
    for (int k = 0; k < V; ++k) sum[k] = 0;
    for (int64_t p = rows.low(h); p < rows.high(h); ++p) {
        const int64_t from = (m * P + p) * Q / results + g;
        const Vec<T, results> grad = reinterpret_cast<const Vec<T, results>*>(dy)[from];
        const Vec<uint8_t, results> number = reinterpret_cast<const Vec<uint8_t, results>*>(at)[from];
        const int below = int(h - rows.first(p));
        if (below % dilation_h) continue;  // the window steps over this row
        #pragma unroll
        for (int k = 0; k < V; ++k)
            if (number.v[k / WIDTH] == below / dilation_h * WIDTH + k % WIDTH) sum[k] += acc_t(grad.v[k / WIDTH]);
    }
    Vec<T, V> out;
    #pragma unroll
    for (int k = 0; k < V; ++k) out.v[k] = T(sum[k]);
    reinterpret_cast<Vec<T, V>*>(dx)[i] = out;
}

extern "C" __global__ void max_pool2d_bwd(const T* __restrict__ dy, const uint8_t* __restrict__ at, T* __restrict__ dx, int64_t M, int H, int W,
                                          int P, int Q, int R, int S, int stride_h, int pad_h, int dilation_h) {
    if (S == 1) windows<1>(dy, at, dx, M, H, W, P, Q, R, stride_h, pad_h, dilation_h);
    if (S == 2) windows<2>(dy, at, dx, M, H, W, P, Q, R, stride_h, pad_h, dilation_h);
    if (S == V && V > 2) windows<V>(dy, at, dx, M, H, W, P, Q, R, stride_h, pad_h, dilation_h);
    if (S == V / 2 && V > 4) windows<V / 2>(dy, at, dx, M, H, W, P, Q, R, stride_h, pad_h, dilation_h);
}
