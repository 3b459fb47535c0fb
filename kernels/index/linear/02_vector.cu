// 02_vector: a contiguous index needs no arithmetic on its own places; two neighbours a thread, 16 bytes of line at a time.
//
// Computes   line[i] = line[i] * n + at, at = index[i] (+ n where it is negative and wraps = 1); line starts at 0 where first = 1; index contiguous
// Launch     grid ceil(size/(2*BLOCK)), block BLOCK
// FLOPs      0
// Traffic    size * (sizeof(T) + 16) B, where first = 1 size * (sizeof(T) + 8) B; that is the floor
// Since 01   no division an axis; half the instructions for the same bytes
// Numerics   exact; an index outside [-n, n), or [0, n) where wraps = 0, sets the flag and counts as 0, so that what reads line stays inside the memory
// Source     Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"

__device__ __forceinline__ int64_t checked(int64_t v, int64_t n, int wraps, int32_t* flag) {
    if (v < (wraps ? -n : 0) || v >= n) {  // kept: a wrong index is the caller's error, and tests/test_index.py makes it
        atomicMax(flag, 2);  // gpudl._device.FLAGS
        v = 0;
    }
    return v < 0 ? v + n : v;
}

extern "C" __global__ void index_linear(const T* __restrict__ index, int64_t* __restrict__ line, int64_t size, int64_t n, int wraps, int first,
                                        int32_t* __restrict__ flag) {
    const int64_t i = (blockIdx.x * int64_t(BLOCK) + threadIdx.x) * 2;
    if (i + 1 < size && is_aligned<T, 2>(index)) {
        const Vec<T, 2> v = *reinterpret_cast<const Vec<T, 2>*>(index + i);
        Vec<int64_t, 2> to = {{0, 0}};
        if (!first) to = *reinterpret_cast<const Vec<int64_t, 2>*>(line + i);
        for (int k = 0; k < 2; ++k) to.v[k] = to.v[k] * n + checked(int64_t(v.v[k]), n, wraps, flag);
        *reinterpret_cast<Vec<int64_t, 2>*>(line + i) = to;
    } else {
        for (int64_t j = i; j < i + 2 && j < size; ++j) line[j] = (first ? 0 : line[j] * n) + checked(int64_t(index[j]), n, wraps, flag);
    }
}
