// 04_two_pass: many blocks share one result; a second launch picks among their candidates.
//
// Computes   index[a, b] = argmax over q of x[a, q, b] (argmin with OP=Min), y its value; x of any strides (sa, sb, sq); Q >= 1
// Launch     parts: grid (A*B, pieces), block BLOCK, static smem BLOCK/32*(sizeof(acc_t) + 8) B; merge: grid A*B, block 32
// FLOPs      A*B*Q
// Traffic    sizeof(T)*A*B*Q + (sizeof(T) + 8)*A*B B, which is the floor, where sq = 1; 2*(sizeof(acc_t) + 8)*A*B*pieces B of candidates
// Since 03   the whole GPU works on one row
// Numerics   exact; of equals the first, NaN before every number, as NumPy: the order of the candidates does not matter
// Source     Harris 2007, "Optimizing Parallel Reduction in CUDA" (NVIDIA)
#include "argmax/pick.cuh"

extern "C" __global__ void argmax_parts(const T* __restrict__ x, acc_t* __restrict__ values, int64_t* __restrict__ places_of, int64_t B, int64_t Q,
                                        int64_t sa, int64_t sb, int64_t sq) {
    __shared__ acc_t bests[BLOCK / 32];
    __shared__ int64_t places[BLOCK / 32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int64_t o = blockIdx.x;
    x += o / B * sa + o % B * sb;
    acc_t best = 0;  // shuffles move float, double and 64-bit integers; every T fits into one of them
    int64_t at = -1;
    for (int64_t q = blockIdx.y * int64_t(BLOCK) + threadIdx.x; q < Q; q += gridDim.y * int64_t(BLOCK)) {
        const T v = x[q * sq];
        if (at < 0 || before(v, q, T(best), at)) {
            best = acc_t(v);
            at = q;
        }
    }
    warp_pick(best, at);
    if (lane == 0) {
        bests[warp] = best;
        places[warp] = at;
    }
    __syncthreads();
    if (warp > 0) return;  // no barrier follows
    best = lane < BLOCK / 32 ? bests[lane] : acc_t(0);
    at = lane < BLOCK / 32 ? places[lane] : -1;
    warp_pick(best, at);
    if (lane == 0) {
        values[o * gridDim.y + blockIdx.y] = best;
        places_of[o * gridDim.y + blockIdx.y] = at;
    }
}

extern "C" __global__ void argmax_merge(const acc_t* __restrict__ values, const int64_t* __restrict__ places_of, T* __restrict__ y,
                                        int64_t* __restrict__ index, int64_t pieces) {
    const int64_t o = blockIdx.x;
    acc_t best = 0;
    int64_t at = -1;
    for (int64_t k = threadIdx.x; k < pieces; k += 32) {
        const acc_t v = values[o * pieces + k];
        const int64_t i = places_of[o * pieces + k];
        if (i >= 0 && (at < 0 || before(T(v), i, T(best), at))) {
            best = v;
            at = i;
        }
    }
    warp_pick(best, at);
    if (threadIdx.x == 0) {
        y[o] = T(best);
        index[o] = at;
    }
}
