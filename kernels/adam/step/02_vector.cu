// 02_vector: 16 bytes a load and a store.
//
// Computes   g = +-grad + weight_decay*p (DECOUPLED: p *= 1 - lr*weight_decay); m += (1 - b1)*(g - m); v = b2*v + (1 - b2)*g*g;
//            p -= lr/(1 - b1^t) * m / (sqrt(v)/sqrt(1 - b2^t) + eps); AMSGRAD: the largest v so far in place of v
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      16*n; n elements in all
// Traffic    7*sizeof(T)*n B, AMSGRAD 9*sizeof(T)*n B; that is the floor (p, grad, m, v read; p, m, v written)
//            Besides, each thread asks for its chunk's row of the table and the 5 options: 104*BLOCK B a chunk, from cache
// Intensity  16/(7*sizeof(T)) FLOP/B
// Since 01   a thread moves 16 bytes of each array at a time: fewer instructions, more bytes in flight. A chunk that does not start at a
//            multiple of 16 bytes in every array, and the rest of a chunk, go one by one
// Numerics   fp32 (fp64 for double); the two bias corrections in fp64, once a block; step count and options in device memory
// Source     as 01; vector loads: Luitjens 2013, "CUDA Pro Tip: Increase Performance with Vectorized Memory Access" (NVIDIA)
#include "common.cuh"
#include "multi_tensor.cuh"

#define WIDE (16 / int(sizeof(T)))
typedef Vec<T, WIDE> Wide;

struct Factors {
    acc_t size, correction, rest1, b2, rest2, eps, decay, shrink;
};

__device__ __forceinline__ void update(const Factors& f, T& p, T grad, T& ms, T& vs, T* highest) {
    acc_t x = p, g = MAXIMIZE ? -acc_t(grad) : acc_t(grad);
    if (DECOUPLED) x *= f.shrink;
    else g += f.decay * x;
    acc_t m = ms, v = vs;
    m += f.rest1 * (g - m);
    v = f.b2 * v + f.rest2 * (g * g);
    ms = T(m);
    vs = T(v);
    if (AMSGRAD) {
        v = nan_max(acc_t(*highest), v);
        *highest = T(v);
    }
    p = T(x - f.size * (m / (sqrt_(v) / f.correction + f.eps)));
}

// hyper: lr, beta1, beta2, eps, weight_decay. Only the type of `like` counts.
extern "C" __global__ void adam_step(const T* like, const int64_t* __restrict__ table, const double* __restrict__ hyper) {
    __shared__ acc_t factors[2];
    const Chunk chunk = chunk_of(table);
    if (threadIdx.x == 0) {  // fp64 powers are slow: one thread takes them for the block
        const double t = advance(chunk);
        factors[0] = acc_t(hyper[0] / (1.0 - pow(hyper[1], t)));
        factors[1] = acc_t(sqrt(1.0 - pow(hyper[2], t)));
    }
    __syncthreads();
    const Factors f = {factors[0], factors[1], acc_t(1.0 - hyper[1]), acc_t(hyper[2]), acc_t(1.0 - hyper[2]), acc_t(hyper[3]),
                       acc_t(hyper[4]), acc_t(1.0 - hyper[0] * hyper[4])};
    const bool aligned = ((chunk.p | chunk.g | chunk.state[0] | chunk.state[1] | chunk.state[2]) & 15) == 0;
    const int64_t wide = aligned ? chunk.elements / WIDE : 0;
    for (int64_t i = threadIdx.x; i < wide; i += BLOCK) {
        Wide p = ((Wide*)chunk.p)[i], m = ((Wide*)chunk.state[0])[i], v = ((Wide*)chunk.state[1])[i], highest;
        const Wide g = ((const Wide*)chunk.g)[i];
        if (AMSGRAD) highest = ((Wide*)chunk.state[2])[i];
        for (int k = 0; k < WIDE; ++k) update(f, p.v[k], g.v[k], m.v[k], v.v[k], &highest.v[k]);
        ((Wide*)chunk.p)[i] = p;
        ((Wide*)chunk.state[0])[i] = m;
        ((Wide*)chunk.state[1])[i] = v;
        if (AMSGRAD) ((Wide*)chunk.state[2])[i] = highest;
    }
    for (int64_t i = wide * WIDE + threadIdx.x; i < chunk.elements; i += BLOCK)
        update(f, ((T*)chunk.p)[i], ((const T*)chunk.g)[i], ((T*)chunk.state[0])[i], ((T*)chunk.state[1])[i], (T*)chunk.state[2] + i);
}
