// 01_naive: one thread a result, which walks through its elements in order.
//
// Computes   index[a, b] = argmax over q of x[a, q, b] (argmin with OP=Min), y its value; x of any strides (sa, sb, sq); Q >= 1
// Launch     grid ceil(A*B/BLOCK), block BLOCK
// FLOPs      A*B*Q
// Traffic    sizeof(T)*A*B*Q + (sizeof(T) + 8)*A*B B, which is the floor; 32 B a load where neighbouring results are far apart (sb > 1)
// Numerics   exact; of equals the first, NaN before every number, as NumPy
// Source     the definition
#include "argmax/pick.cuh"

extern "C" __global__ void argmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t* __restrict__ index, int64_t A, int64_t B, int64_t Q,
                                      int64_t sa, int64_t sb, int64_t sq) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o >= A * B) return;
    x += o / B * sa + o % B * sb;
    T best = x[0];
    int64_t at = 0;
    for (int64_t q = 1; q < Q; ++q) {
        const T v = x[q * sq];
        if (before(v, q, best, at)) {
            best = v;
            at = q;
        }
    }
    y[o] = best;
    index[o] = at;
}
