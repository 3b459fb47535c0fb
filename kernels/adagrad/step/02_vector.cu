// 02_vector: 16 bytes a load and a store.
//
// Computes   g = +-grad + weight_decay*p; s += g*g; p -= lr/(1 + (t - 1)*lr_decay) * g / (sqrt(s) + eps)
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      8*n; n elements in all
// Traffic    5*sizeof(T)*n B; that is the floor (p, grad, s read; p, s written)
//            Besides, each thread asks for its chunk's row of the table and the 4 options: 96*BLOCK B a chunk, from cache
// Intensity  8/(5*sizeof(T)) FLOP/B
// Since 01   a thread moves 16 bytes of each array at a time: fewer instructions, more bytes in flight. A chunk that does not start at a
//            multiple of 16 bytes in every array, and the rest of a chunk, go one by one
// Numerics   fp32 (fp64 for double); step count and options in device memory
// Source     as 01; vector loads: Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"
#include "multi_tensor.cuh"

#define WIDE (16 / int(sizeof(T)))
typedef Vec<T, WIDE> Wide;

struct Factors {
    acc_t size, eps, decay;
};

__device__ __forceinline__ void update(const Factors& f, T& p, T grad, T& sum) {
    const acc_t x = p;
    const acc_t g = (MAXIMIZE ? -acc_t(grad) : acc_t(grad)) + f.decay * x;
    const acc_t s = acc_t(sum) + g * g;
    sum = T(s);
    p = T(x - f.size * (g / (sqrt_(s) + f.eps)));
}

// hyper: lr, lr_decay, eps, weight_decay. Only the type of `like` counts.
extern "C" __global__ void adagrad_step(const T* like, const int64_t* __restrict__ table, const double* __restrict__ hyper) {
    __shared__ acc_t size;
    const Chunk chunk = chunk_of(table);
    if (threadIdx.x == 0) size = acc_t(hyper[0] / (1.0 + (advance(chunk) - 1.0) * hyper[1]));
    __syncthreads();
    const Factors f = {size, acc_t(hyper[2]), acc_t(hyper[3])};
    const bool aligned = ((chunk.p | chunk.g | chunk.state[0]) & 15) == 0;
    const int64_t wide = aligned ? chunk.elements / WIDE : 0;
    for (int64_t i = threadIdx.x; i < wide; i += BLOCK) {
        Wide p = ((Wide*)chunk.p)[i], sum = ((Wide*)chunk.state[0])[i];
        const Wide g = ((const Wide*)chunk.g)[i];
        for (int k = 0; k < WIDE; ++k) update(f, p.v[k], g.v[k], sum.v[k]);
        ((Wide*)chunk.p)[i] = p;
        ((Wide*)chunk.state[0])[i] = sum;
    }
    for (int64_t i = wide * WIDE + threadIdx.x; i < chunk.elements; i += BLOCK)
        update(f, ((T*)chunk.p)[i], ((const T*)chunk.g)[i], ((T*)chunk.state[0])[i]);
}
