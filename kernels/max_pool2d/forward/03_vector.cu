// 03_vector: windows that lie side by side: one thread 16 bytes of each row, and the results that these hold.
//
// Computes   y[m, p, q] = max x[m, h, w] over window (p, q) inside the image, and at its number r*S + s within the window (the first of equal ones; a NaN wins);
//            x (M, H, W), y and at (M, P, Q) contiguous, M = N*C; S = stride_w a divisor of V = 16 / sizeof(T), W a multiple of V, no padding or
//            dilation along a row; windows of at most 256 elements
// Launch     grid ceil(M*P*W/(V*BLOCK)), block BLOCK
// FLOPs      M*P*Q*R*S comparisons
// Traffic    sizeof(T)*M*P*Q*R*S + (sizeof(T) + 1)*M*P*Q B; with R <= stride_h that is the floor
// Since 02   a row's 16 bytes are one load and hold V/S results, which leave as one store; in 02 a load has holes of (S - 1)*sizeof(T) B
// Numerics   exact: the result is one of the inputs
// Source     the textbook definition; ties and NaN as PyTorch's
#include "pool/window.cuh"

constexpr int V = 16 / sizeof(T);

// WIDTH is S: a constant, so that every index below is one and all values stay in registers.
template <int WIDTH>
__device__ __forceinline__ void windows(const T* x, T* y, uint8_t* at, int64_t M, int H, int W, int P, int R, int stride_h, int pad_h, int dilation_h) {
    constexpr int results = V / WIDTH;
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x, groups = W / V;
    if (i >= M * P * groups) return;
    const int64_t g = i % groups, p = i / groups % P, m = i / (groups * P), top = p * stride_h - pad_h;
    acc_t hi[results];
    int best[results];  // the first element inside the image, even if it is -inf
    #pragma unroll
    for (int k = 0; k < results; ++k) hi[k] = -INF, best[k] = -1;
    for (int r = 0; r < R; ++r) {
        const int64_t h = top + int64_t(r) * dilation_h;
        if (h < 0 || h >= H) continue;
        const Vec<T, V> row = reinterpret_cast<const Vec<T, V>*>(x + (m * H + h) * W)[g];
        #pragma unroll
        for (int k = 0; k < V; ++k) {
            const acc_t value = acc_t(row.v[k]);
            if (value > hi[k / WIDTH] || value != value || best[k / WIDTH] < 0) {
                hi[k / WIDTH] = value;
                best[k / WIDTH] = r * WIDTH + k % WIDTH;
            }
        }
    }
    Vec<T, results> out;
    Vec<uint8_t, results> places;
    #pragma unroll
    for (int k = 0; k < results; ++k) out.v[k] = T(hi[k]), places.v[k] = uint8_t(best[k]);
    reinterpret_cast<Vec<T, results>*>(y)[i] = out;  // Q = groups * results, so result number i * results is the first of thread i
    reinterpret_cast<Vec<uint8_t, results>*>(at)[i] = places;
}

extern "C" __global__ void max_pool2d_fwd(const T* __restrict__ x, T* __restrict__ y, uint8_t* __restrict__ at, int64_t M, int H, int W, int P,
                                          int R, int S, int stride_h, int pad_h, int dilation_h) {
    if (S == 1) windows<1>(x, y, at, M, H, W, P, R, stride_h, pad_h, dilation_h);
    if (S == 2) windows<2>(x, y, at, M, H, W, P, R, stride_h, pad_h, dilation_h);
    if (S == V && V > 2) windows<V>(x, y, at, M, H, W, P, R, stride_h, pad_h, dilation_h);
    if (S == V / 2 && V > 4) windows<V / 2>(x, y, at, M, H, W, P, R, stride_h, pad_h, dilation_h);
}
