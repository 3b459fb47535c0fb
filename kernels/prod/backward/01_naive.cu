// 01_naive: one thread a result: a walk up writes the product of what lies before, a walk down multiplies by what lies behind.
//
// Computes   dx[m, r] = dy[m] * product over s != r of x[m, s]; x, dx (M, R), dy (M); right with zeros in x, where dy*y/x is not
// Launch     grid ceil(M/BLOCK), block BLOCK
// FLOPs      4*M*R
// Traffic    5*sizeof(T)*M*R B requested (x twice, dx written twice and read once); floor 2*sizeof(T)*M*R B
// Numerics   fp32 (fp64 for double) products; the product of what lies before is rounded to T in between
// Source     the definition
#include "common.cuh"

extern "C" __global__ void prod_bwd(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, int64_t M, int64_t R) {
    const int64_t m = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (m >= M) return;
    x += m * R;
    dx += m * R;
    acc_t product = 1;
    for (int64_t r = 0; r < R; ++r) {
        dx[r] = T(product);
        product *= acc_t(x[r]);
    }
    product = acc_t(dy[m]);
    for (int64_t r = R - 1; r >= 0; --r) {
        dx[r] = T(acc_t(dx[r]) * product);
        product *= acc_t(x[r]);
    }
}
