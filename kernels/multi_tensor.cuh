// multi_tensor.cuh: the table by which one launch updates many tensors (gpudl/optim/_optimizer.py writes it).
//
// One row a chunk, one block a row: where the chunk of the parameter, its gradient and up to three states begin (0: absent), where the
// chunk's own step count lies, how many elements the chunk has, and whether this is the first update. A count a chunk, not a tensor,
// because each block advances its own: no block reads what another one writes.
#pragma once

struct Chunk {
    int64_t p, g, state[3], count, elements, first;
};

__device__ __forceinline__ Chunk chunk_of(const int64_t* table) {
    const int64_t* row = table + blockIdx.x * int64_t(8);
    return {row[0], row[1], {row[2], row[3], row[4]}, row[5], row[6], row[7]};
}

// Thread 0 counts the update; what it returns is the number of this update, from 1.
__device__ __forceinline__ double advance(const Chunk& chunk) {
    float* count = (float*)chunk.count;
    *count += 1.0f;
    return *count;
}
