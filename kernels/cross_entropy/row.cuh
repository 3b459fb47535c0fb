// row.cuh: what every rung does alike with a row once it has its maximum and its sum of exponentials.
//
// a[c] says how much of class c is wanted: weight[c] * ((1 - smoothing)*[c == label] + smoothing/C), or for PROBS (the target holds probabilities,
// not labels, so its type L is another) with target[c] in place of [c == label].
#pragma once
#include "common.cuh"
#include "loss.cuh"

// A row: where its logits begin (class c lies D elements after class c - 1), and what is wanted of it.
struct Row {
    const T* x;
    const L* target;  // PROBS: the row's first probability; else the row's label
    const S* weight;
    int64_t C, D;
    acc_t keep, spread;
    int weighted;

    __device__ __forceinline__ Row(const T* x, const L* target, const S* weight, int64_t m, int64_t C, int64_t D, double smoothing, int weighted)
        : x(x + (m / D * C * D + m % D)), target(target + (PROBS ? m / D * C * D + m % D : m)), weight(weight), C(C), D(D), keep(1 - smoothing),
          spread(smoothing / C), weighted(weighted) {}
    __device__ __forceinline__ acc_t logit(int64_t c) const { return acc_t(x[c * D]); }
    __device__ __forceinline__ acc_t scale(int64_t c) const { return weighted ? acc_t(weight[c]) : acc_t(1); }
};

// What one of `threads` threads adds to its row's loss, -sum_c a[c] * (x[c] - top - log_sum), and to the sum that a mean divides by. A label outside
// [0, C) that is not `ignore` is reported in `flag` (code 1) and counts as ignored. log_sum - (x - top), so that large logits keep their digits.
__device__ __forceinline__ void add_loss(const Row& row, acc_t top, acc_t log_sum, int64_t thread, int threads, int64_t ignore, int32_t* flag, acc_t& value,
                                         acc_t& share) {
#if PROBS
    for (int64_t c = thread; c < row.C; c += threads)
        value += row.scale(c) * (acc_t(row.target[c * row.D]) * row.keep + row.spread) * (log_sum - (row.logit(c) - top));
    if (thread == 0) share += 1;
#else
    if (thread != 0 && !(row.spread > 0)) return;  // the label's logit is all there is
    const int64_t t = *row.target;
    if (t == ignore) return;
    if (t < 0 || t >= row.C) {
        if (thread == 0) atomicMax(flag, 1);
        return;
    }
    if (thread == 0) {
        share += row.scale(t);
        value += row.keep * row.scale(t) * (log_sum - (row.logit(t) - top));
    }
    if (row.spread > 0)
        for (int64_t c = thread; c < row.C; c += threads) value += row.spread * row.scale(c) * (log_sum - (row.logit(c) - top));
#endif
}

// This thread's part of A = sum_c a[c]. Without PROBS also the label t and whether the row counts.
__device__ __forceinline__ acc_t add_wanted(const Row& row, int64_t thread, int threads, int64_t ignore, int64_t& t, bool& counts) {
    acc_t A = 0;
#if PROBS
    t = -1;
    counts = true;
    for (int64_t c = thread; c < row.C; c += threads) A += row.scale(c) * (acc_t(row.target[c * row.D]) * row.keep + row.spread);
#else
    t = *row.target;
    counts = t != ignore && t >= 0 && t < row.C;
    if (!counts) return A;
    if (thread == 0) A = row.keep * row.scale(t);
    if (row.spread > 0)
        for (int64_t c = thread; c < row.C; c += threads) A += row.spread * row.scale(c);
#endif
    return A;
}

// dx[c] before the factor g, from z = x[c] - top.
__device__ __forceinline__ acc_t gradient(const Row& row, int64_t c, int64_t t, acc_t z, acc_t A, acc_t inverse) {
    const acc_t wanted = PROBS ? acc_t(row.target[PROBS ? c * row.D : 0]) * row.keep : c == t ? row.keep : acc_t(0);
    return A * (exp_(z) * inverse) - row.scale(c) * (wanted + row.spread);
}

// The factor of a row's gradients.
__device__ __forceinline__ acc_t factor(const T* dy, const acc_t* total, int64_t m, int reduction) {
    return reduction == NONE ? acc_t(dy[m]) : reduction == SUM ? acc_t(dy[0]) : acc_t(dy[0]) / *total;
}

// One block of `threads` adds what the blocks before it left: values, then shares.
__device__ __forceinline__ void finish(const acc_t* partial, T* loss, acc_t* total, int64_t blocks, int reduction) {
    __shared__ acc_t smem[32];
    const acc_t value = ordered_sum(partial, blocks, smem), share = ordered_sum(partial + blocks, blocks, smem);
    if (threadIdx.x == 0) {
        *total = share;
        *loss = T(reduction == MEAN ? value / share : value);
    }
}
