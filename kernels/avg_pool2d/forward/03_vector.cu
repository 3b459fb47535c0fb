// 03_vector: windows that lie side by side: one thread 16 bytes of each row, and the results that these hold.
//
// Computes   y[m, p, q] = sum of x[m, h, w] over window (p, q) inside the image / its count;
//            x (M, H, W), y (M, P, Q) contiguous, M = N*C; S = stride_w a divisor of V = 16 / sizeof(T), W a multiple of V, no padding along a row
// Launch     grid ceil(M*P*W/(V*BLOCK)), block BLOCK
// FLOPs      M*P*Q*R*S
// Traffic    sizeof(T)*M*P*Q*(R*S + 1) B; with R <= stride_h that is the floor
// Since 01   a row's 16 bytes are one load and hold V/S results, which leave as one store; in 01 a load has holes of (S - 1)*sizeof(T) B
// Numerics   fp32 (fp64 for double), summed in order of h, w
// Source     the textbook definition; counts as PyTorch's
#include "avg_pool2d/average.cuh"

constexpr int V = 16 / sizeof(T);

// WIDTH is S: a constant, so that every index below is one and all values stay in registers.
template <int WIDTH>
__device__ __forceinline__ void windows(const T* x, T* y, int64_t M, int H, int W, int P, int Q, int R, int stride_h, int pad_h, bool include, int64_t divisor) {
    constexpr int results = V / WIDTH;
    const Axis rows{H, P, R, stride_h, pad_h, 1}, cols{W, Q, WIDTH, WIDTH, 0, 1};
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x, groups = W / V;
    if (i >= M * P * groups) return;
    const int64_t g = i % groups, p = i / groups % P, m = i / (groups * P);
    acc_t sum[results];
    #pragma unroll
    for (int k = 0; k < results; ++k) sum[k] = 0;
    for (int64_t h = rows.first(p); h < rows.last(p) && h < H; ++h)
        if (h >= 0) {
            const Vec<T, V> row = reinterpret_cast<const Vec<T, V>*>(x + (m * H + h) * W)[g];
            #pragma unroll
            for (int k = 0; k < V; ++k) sum[k / WIDTH] += acc_t(row.v[k]);
        }
    const acc_t area = acc_t(count(rows, cols, p, g * results, include, divisor));  // the same for every window of a row
    Vec<T, results> out;
    #pragma unroll
    for (int k = 0; k < results; ++k) out.v[k] = T(sum[k] / area);
    reinterpret_cast<Vec<T, results>*>(y)[i] = out;
}

extern "C" __global__ void avg_pool2d_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t M, int H, int W, int P, int Q, int R, int S,
                                          int stride_h, int pad_h, bool include, int64_t divisor) {
    if (S == 1) windows<1>(x, y, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
    if (S == 2) windows<2>(x, y, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
    if (S == V && V > 2) windows<V>(x, y, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
    if (S == V / 2 && V > 4) windows<V / 2>(x, y, M, H, W, P, Q, R, stride_h, pad_h, include, divisor);
}
