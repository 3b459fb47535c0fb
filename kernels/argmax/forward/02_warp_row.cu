// 02_warp_row: one warp a result; the lanes' candidates meet in a butterfly of shuffles.
//
// Computes   index[a, b] = argmax over q of x[a, q, b] (argmin with OP=Min), y its value; x of any strides (sa, sb, sq); Q >= 1
// Launch     grid ceil(A*B/ROWS), block (32, ROWS): a warp a result
// FLOPs      A*B*Q
// Traffic    sizeof(T)*A*B*Q + (sizeof(T) + 8)*A*B B, which is the floor, where sq = 1
// Since 01   the lanes share a result: coalesced loads along the row
// Numerics   exact; of equals the first, NaN before every number, as NumPy: the order of the candidates does not matter
// Source     Luitjens 2014, "Faster Parallel Reductions on Kepler" (NVIDIA)
#include "argmax/pick.cuh"

extern "C" __global__ void argmax_fwd(const T* __restrict__ x, T* __restrict__ y, int64_t* __restrict__ index, int64_t A, int64_t B, int64_t Q,
                                      int64_t sa, int64_t sb, int64_t sq) {
    const int64_t o = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (o >= A * B) return;  // the whole warp leaves together
    x += o / B * sa + o % B * sb;
    acc_t best = 0;  // shuffles move float, double and 64-bit integers; every T fits into one of them
    int64_t at = -1;
    for (int64_t q = threadIdx.x; q < Q; q += 32) {
        const T v = x[q * sq];
        if (at < 0 || before(v, q, T(best), at)) {
            best = acc_t(v);
            at = q;
        }
    }
    warp_pick(best, at);
    if (threadIdx.x == 0) {
        y[o] = T(best);
        index[o] = at;
    }
}
