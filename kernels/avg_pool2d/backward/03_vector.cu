// 03_vector: windows that lie side by side: one thread 16 bytes of dx, and the windows above them.
//
// Computes   dx[m, h, w] = sum of dy[m, p, q] / count over the windows that cover (h, w); dy (M, P, Q), dx (M, H, W) contiguous;
//            S = stride_w a divisor of V = 16 / sizeof(T), W a multiple of V, no padding along a row
// Launch     grid ceil(M*H*W/(V*BLOCK)), block BLOCK
// FLOPs      2*M*P*Q*R
// Traffic    sizeof(T)*M*P*Q*R + sizeof(T)*M*H*W B
// Since 02   the V/S windows of a row are one load, divided once for all their columns; dx leaves by 16 bytes
// Numerics   fp32 (fp64 for double), summed in order of p, q: repeatable bit for bit
// Source     the textbook definition as a gather
#include "avg_pool2d/average.cuh"

constexpr int V = 16 / sizeof(T);

// WIDTH is S: a constant, so that every index below is one and all values stay in registers.
template <int WIDTH>
__device__ __forceinline__ void windows(const T* dy, T* dx, int64_t M, int H, int W, int P, int Q, int R, int stride_h, int pad_h, bool include, int64_t divisor) {
    constexpr int results = V / WIDTH;
    const Axis rows{H, P, R, stride_h, pad_h, 1}, cols{W, Q, WIDTH, WIDTH, 0, 1};
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x, groups = W / V;
    if (i >= M * H * groups) return;
    const int64_t g = i % groups, h = i / groups % H, m = i / (groups * H);
    acc_t sum[results];
    #pragma unroll
    for (int k = 0; k < results; ++k) sum[k] = 0;
    for (int64_t p = rows.low(h); p < rows.high(h); ++p) {
        const Vec<T, results> grad = reinterpret_cast<const Vec<T, results>*>(dy)[(m * P + p) * Q / results + g];
        const acc_t area = acc_t(count(rows, cols, p, g * results, include, divisor));  // the same for every window of a row
        #pragma unroll
        for (int k = 0; k < results; ++k) sum[k] += acc_t(grad.v[k]) / area;
    }
    Vec<T, V> out;
    #pragma unroll
    for (int k = 0; k < V; ++k) out.v[k] = T(sum[k / WIDTH]);
    reinterpret_cast<Vec<T, V>*>(dx)[i] = out;
}

extern "C" __global__ void avg_pool2d_bwd(const T* __restrict__ dy, T* __restrict__ dx, int64_t M, int H, int W, int P, int Q, int R, int S,
                                          int stride_h, int pad_h, bool include, int64_t divisor) {
    if (S == 1) windows<1>(dy, dx, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
    if (S == 2) windows<2>(dy, dx, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
    if (S == V && V > 2) windows<V>(dy, dx, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
    if (S == V / 2 && V > 4) windows<V / 2>(dy, dx, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
}
