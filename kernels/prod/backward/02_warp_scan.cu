// 02_warp_scan: one warp a result; running products of 32 neighbours by shuffles.
//
// Computes   dx[m, r] = dy[m] * product over s != r of x[m, s]; x, dx (M, R), dy (M); right with zeros in x, where dy*y/x is not
// Launch     grid ceil(M/ROWS), block (32, ROWS): a warp a result
// FLOPs      12*M*R
// Traffic    5*sizeof(T)*M*R B requested (x twice, dx written twice and read once); floor 2*sizeof(T)*M*R B
// Since 01   neighbouring lanes read and write neighbours, and a row of R takes 2*R/32 steps in place of 2*R; the price is five shuffles a step
// Numerics   fp32 (fp64 for double) products, in a tree of fixed shape; what lies before is rounded to T in between; repeatable bit for bit
// Source     Hillis & Steele 1986, doi:10.1145/7902.7903 (running results in log2 steps)
#include "common.cuh"

// The product of this lane's v and those of all lanes before (UP) or behind it.
template <bool UP> __device__ __forceinline__ acc_t running(acc_t v, int lane) {
    for (int offset = 1; offset < 32; offset <<= 1) {
        const acc_t other = UP ? __shfl_up_sync(FULL, v, offset) : __shfl_down_sync(FULL, v, offset);
        if (UP ? lane >= offset : lane + offset < 32) v *= other;
    }
    return v;
}

extern "C" __global__ void prod_bwd(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, int64_t M, int64_t R) {
    const int64_t m = blockIdx.x * int64_t(ROWS) + threadIdx.y;
    if (m >= M) return;  // the whole warp leaves together
    const int lane = threadIdx.x;
    x += m * R;
    dx += m * R;
    const int64_t last = (R - 1) / 32 * 32;
    acc_t product = 1;
    for (int64_t r = lane; r - lane <= last; r += 32) {
        const acc_t upto = running<true>(r < R ? acc_t(x[r]) : acc_t(1), lane), before = __shfl_up_sync(FULL, upto, 1);
        if (r < R) dx[r] = T(product * (lane ? before : acc_t(1)));
        product *= __shfl_sync(FULL, upto, 31);
    }
    product = acc_t(dy[m]);
    for (int64_t r = last + lane; r >= 0; r -= 32) {  // each lane reads back what it has written itself
        const acc_t from = running<false>(r < R ? acc_t(x[r]) : acc_t(1), lane), behind = __shfl_down_sync(FULL, from, 1);
        if (r < R) dx[r] = T(acc_t(dx[r]) * product * (lane < 31 ? behind : acc_t(1)));
        product *= __shfl_sync(FULL, from, 0);
    }
}
