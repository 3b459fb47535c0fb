// 07_two_pass_columns: the columns of 05 with the reduced axes cut into pieces, for a tall matrix with few columns.
//
// Computes   y[a, b] = finish(merge over p, q of load(x[a, b, p, q])); x of any strides (sa, sb, sp, sq), y (A, B); OP says what is done
// Launch     reduce_parts: grid (A*ceil(B/32), pieces), block (32, ROWS), static smem 32*ROWS*sizeof(acc_t) B;
//            reduce_merge: grid ceil(A*B/BLOCK), block BLOCK
// FLOPs      A*B*P*Q
// Traffic    sizeof(T)*A*B*P*Q + 2*sizeof(acc_t)*A*B*pieces + sizeof(S)*A*B B; coalesced where sb = 1
// Since 06   the lanes lie along the kept axis as in 05
// Numerics   fp32 (fp64 for double, int64 for integers); errors grow with P*Q/(pieces*ROWS) + pieces; repeatable bit for bit
// Source     05 and 06 together
#include "reduce/reduce.cuh"

extern "C" __global__ void reduce_parts(const T* __restrict__ x, acc_t* __restrict__ parts, int64_t A, int64_t B, int64_t P, int64_t Q,
                                        int64_t sa, int64_t sb, int64_t sp, int64_t sq) {
    __shared__ acc_t part[ROWS][32];
    const int64_t tiles = (B + 31) / 32, a = blockIdx.x / tiles, b = blockIdx.x % tiles * 32 + threadIdx.x, R = P * Q;
    const int64_t length = (R + gridDim.y - 1) / gridDim.y, first = blockIdx.y * length, last = first + length < R ? first + length : R;
    acc_t v = OP::start();
    if (b < B) {
        x += a * sa + b * sb;
        const int64_t step_p = ROWS / Q, step_q = ROWS % Q;
        int64_t p = (first + threadIdx.y) / Q, q = (first + threadIdx.y) % Q;
        for (int64_t r = first + threadIdx.y; r < last; r += ROWS) {
            v = OP::merge(v, OP::load(x[p * sp + q * sq]));
            p += step_p;
            q += step_q;
            if (q >= Q) {
                q -= Q;
                ++p;
            }
        }
    }
    part[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    if (threadIdx.y == 0 && b < B) {
        for (int k = 1; k < ROWS; ++k) v = OP::merge(v, part[k][threadIdx.x]);
        parts[(blockIdx.y * A + a) * B + b] = v;
    }
}

extern "C" __global__ void reduce_merge(const acc_t* __restrict__ parts, S* __restrict__ y, int64_t results, int64_t R, int64_t pieces) {
    const int64_t o = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (o >= results) return;
    acc_t v = parts[o];
    for (int64_t k = 1; k < pieces; ++k) v = OP::merge(v, parts[k * results + o]);
    y[o] = static_cast<S>(OP::finish(v, R));
}
