// 02_vector: 16 bytes a load and a store.
//
// Computes   g = +-grad + weight_decay*p; v = alpha*v + (1 - alpha)*g*g; d = sqrt(v) + eps, CENTERED: a += (1 - alpha)*(g - a),
//            d = sqrt(v - a*a) + eps; MOMENTUM: buf = momentum*buf + g/d, p -= lr*buf, else p -= lr*g/d
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      10*n; n elements in all
// Traffic    5*sizeof(T)*n B, and 2*sizeof(T)*n B more for each of MOMENTUM and CENTERED; that is the floor
//            Besides, each thread asks for its chunk's row of the table and the 5 options: 104*BLOCK B a chunk, from cache
// Intensity  10/(5*sizeof(T)) FLOP/B
// Since 01   a thread moves 16 bytes of each array at a time: fewer instructions, more bytes in flight. A chunk that does not start at a
//            multiple of 16 bytes in every array, and the rest of a chunk, go one by one
// Numerics   fp32 (fp64 for double); step count and options in device memory
// Source     as 01; vector loads: Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"
#include "multi_tensor.cuh"

#define WIDE (16 / int(sizeof(T)))
typedef Vec<T, WIDE> Wide;

struct Factors {
    acc_t lr, alpha, rest, eps, decay, momentum;
};

__device__ __forceinline__ void update(const Factors& f, T& p, T grad, T& square, T* buf, T* average) {
    const acc_t x = p;
    const acc_t g = (MAXIMIZE ? -acc_t(grad) : acc_t(grad)) + f.decay * x;
    const acc_t v = f.alpha * acc_t(square) + f.rest * (g * g);
    square = T(v);
    acc_t spread = v;
    if (CENTERED) {
        const acc_t mean = acc_t(*average) + f.rest * (g - acc_t(*average));
        *average = T(mean);
        spread = v - mean * mean;
    }
    acc_t d = g / (sqrt_(spread) + f.eps);
    if (MOMENTUM) {
        d += f.momentum * acc_t(*buf);
        *buf = T(d);
    }
    p = T(x - f.lr * d);
}

// hyper: lr, alpha, eps, weight_decay, momentum. Only the type of `like` counts.
extern "C" __global__ void rmsprop_step(const T* like, const int64_t* __restrict__ table, const double* __restrict__ hyper) {
    const Chunk chunk = chunk_of(table);
    if (threadIdx.x == 0) advance(chunk);
    const Factors f = {acc_t(hyper[0]), acc_t(hyper[1]), acc_t(1.0 - hyper[1]), acc_t(hyper[2]), acc_t(hyper[3]), acc_t(hyper[4])};
    const int64_t bufs = chunk.state[1], averages = chunk.state[1 + MOMENTUM];
    const bool aligned = ((chunk.p | chunk.g | chunk.state[0] | chunk.state[1] | chunk.state[2]) & 15) == 0;
    const int64_t wide = aligned ? chunk.elements / WIDE : 0;
    for (int64_t i = threadIdx.x; i < wide; i += BLOCK) {
        Wide p = ((Wide*)chunk.p)[i], square = ((Wide*)chunk.state[0])[i], buf, average;
        const Wide g = ((const Wide*)chunk.g)[i];
        if (MOMENTUM) buf = ((Wide*)bufs)[i];
        if (CENTERED) average = ((Wide*)averages)[i];
        for (int k = 0; k < WIDE; ++k) update(f, p.v[k], g.v[k], square.v[k], &buf.v[k], &average.v[k]);
        ((Wide*)chunk.p)[i] = p;
        ((Wide*)chunk.state[0])[i] = square;
        if (MOMENTUM) ((Wide*)bufs)[i] = buf;
        if (CENTERED) ((Wide*)averages)[i] = average;
    }
    for (int64_t i = wide * WIDE + threadIdx.x; i < chunk.elements; i += BLOCK)
        update(f, ((T*)chunk.p)[i], ((const T*)chunk.g)[i], ((T*)chunk.state[0])[i], (T*)bufs + i, (T*)averages + i);
}
