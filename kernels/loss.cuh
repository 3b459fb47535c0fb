// loss.cuh: what reduced losses share. Every block leaves one partial sum; one block then adds them in a fixed order, so that the
// result is repeatable bit for bit (atomics would add in the order of arrival).
#pragma once

#define NONE 0
#define MEAN 1
#define SUM 2

// The sum of `count` values by one block; every thread gets it.
__device__ __forceinline__ acc_t ordered_sum(const acc_t* values, int64_t count, acc_t* smem) {
    acc_t sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += values[i];
    return block_sum(sum, smem);
}
