// 02_vector: 16 bytes a load and a store.
//
// Computes   g = +-grad + weight_decay*p; buf = momentum*buf + (1 - dampening)*g (first: buf = g); p -= lr*(buf, or g + momentum*buf)
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      4*n, with momentum 7*n; n elements in all
// Traffic    3*sizeof(T)*n B, with momentum 5*sizeof(T)*n B; that is the floor (p, grad and buf read; p and buf written)
//            Besides, each thread asks for its chunk's row of the table and the 4 options: 96*BLOCK B a chunk, from cache
// Intensity  4/(3*sizeof(T)) FLOP/B
// Since 01   a thread moves 16 bytes of each array at a time: fewer instructions, more bytes in flight. A chunk that does not start at a
//            multiple of 16 bytes in every array, and the rest of a chunk, go one by one
// Numerics   fp32 (fp64 for double); the options are read from device memory, so that a captured launch follows them
// Source     as 01; vector loads: Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"
#include "multi_tensor.cuh"

#define WIDE (16 / int(sizeof(T)))
typedef Vec<T, WIDE> Wide;

struct Factors {
    acc_t lr, momentum, keep, decay;
    bool first;
};

__device__ __forceinline__ void update(const Factors& f, T& p, T grad, T* buf) {
    const acc_t x = p;
    acc_t g = (MAXIMIZE ? -acc_t(grad) : acc_t(grad)) + f.decay * x;
    if (MOMENTUM) {
        const acc_t b = f.first ? g : f.momentum * acc_t(*buf) + f.keep * g;
        *buf = T(b);
        g = NESTEROV ? g + f.momentum * b : b;
    }
    p = T(x - f.lr * g);
}

// hyper: lr, momentum, dampening, weight_decay. Only the type of `like` counts.
extern "C" __global__ void sgd_step(const T* like, const int64_t* __restrict__ table, const double* __restrict__ hyper) {
    const Chunk chunk = chunk_of(table);
    const Factors f = {acc_t(hyper[0]), acc_t(hyper[1]), acc_t(1.0 - hyper[2]), acc_t(hyper[3]), chunk.first != 0};
    const bool aligned = ((chunk.p | chunk.g | chunk.state[0]) & 15) == 0;
    const int64_t wide = aligned ? chunk.elements / WIDE : 0;
    for (int64_t i = threadIdx.x; i < wide; i += BLOCK) {
        Wide p = ((Wide*)chunk.p)[i], buf;
        const Wide g = ((const Wide*)chunk.g)[i];
        if (MOMENTUM) buf = ((Wide*)chunk.state[0])[i];
        for (int k = 0; k < WIDE; ++k) update(f, p.v[k], g.v[k], &buf.v[k]);
        ((Wide*)chunk.p)[i] = p;
        if (MOMENTUM) ((Wide*)chunk.state[0])[i] = buf;
    }
    for (int64_t i = wide * WIDE + threadIdx.x; i < chunk.elements; i += BLOCK)
        update(f, ((T*)chunk.p)[i], ((const T*)chunk.g)[i], (T*)chunk.state[0] + i);
}
