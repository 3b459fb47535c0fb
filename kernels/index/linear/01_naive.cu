// 01_naive: one thread an index: checked, counted from the front, and joined with the indices of the axes before it.
//
// Computes   line[i] = line[i] * n + at, at = index[i] (+ n where it is negative and wraps = 1); line starts at 0 where first = 1; index of any strides
// Launch     grid ceil(size/BLOCK), block BLOCK
// FLOPs      0
// Traffic    size * (sizeof(T) + 16) B, 8 less where first = 1
// Numerics   exact; an index outside [-n, n), or [0, n) where wraps = 0, sets the flag and counts as 0, so that what reads line stays inside the memory
#include "common.cuh"

extern "C" __global__ void index_linear(const T* __restrict__ index, int64_t* __restrict__ line, Dims dims, int64_t size, int64_t n, int wraps,
                                        int first, int32_t* __restrict__ flag) {
    const int64_t i = blockIdx.x * int64_t(BLOCK) + threadIdx.x;
    if (i >= size) return;
    int64_t at[1];
    offsets(dims, i, at, 1);
    int64_t v = int64_t(index[at[0]]);
    if (v < (wraps ? -n : 0) || v >= n) {  // kept: a wrong index is the caller's error, and tests/test_index.py makes it
        atomicMax(flag, 2);  // gpudl._device.FLAGS
        v = 0;
    }
    line[i] = (first ? 0 : line[i] * n) + (v < 0 ? v + n : v);
}
