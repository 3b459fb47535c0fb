// 01_multi_tensor: every parameter of a group in one launch; a table says where each chunk of each tensor lies.
//
// Computes   g = +-grad + weight_decay*p (DECOUPLED: p *= 1 - lr*weight_decay); m += (1 - b1)*(g - m); v = b2*v + (1 - b2)*g*g;
//            p -= lr/(1 - b1^t) * m / (sqrt(v)/sqrt(1 - b2^t) + eps); AMSGRAD: the largest v so far in place of v
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      16*n; n elements in all
// Traffic    7*sizeof(T)*n B, AMSGRAD 9*sizeof(T)*n B; that is the floor (p, grad, m, v read; p, m, v written)
//            Besides, each thread asks for its chunk's row of the table and the 5 options: 104*BLOCK B a chunk, from cache
// Intensity  16/(7*sizeof(T)) FLOP/B
// Numerics   fp32 (fp64 for double); the two bias corrections in fp64, once a block; step count and options in device memory
// Source     Kingma & Ba 2014, arXiv:1412.6980; Loshchilov & Hutter 2017, arXiv:1711.05101; one launch over a list of tensors: NVIDIA
//            Apex's multi-tensor apply (the idea; this code is our own)
#include "common.cuh"
#include "multi_tensor.cuh"

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
    const acc_t size = factors[0], correction = factors[1];
    const acc_t rest1 = 1.0 - hyper[1], b2 = hyper[2], rest2 = 1.0 - hyper[2], eps = hyper[3];
    const acc_t decay = hyper[4], shrink = 1.0 - hyper[0] * hyper[4];
    T* p = (T*)chunk.p;
    const T* grad = (const T*)chunk.g;
    T* ms = (T*)chunk.state[0];
    T* vs = (T*)chunk.state[1];
    for (int64_t i = threadIdx.x; i < chunk.elements; i += BLOCK) {
        acc_t x = p[i], g = MAXIMIZE ? -acc_t(grad[i]) : acc_t(grad[i]);
        if (DECOUPLED) x *= shrink;
        else g += decay * x;
        acc_t m = ms[i], v = vs[i];
        m += rest1 * (g - m);
        v = b2 * v + rest2 * (g * g);
        ms[i] = T(m);
        vs[i] = T(v);
        if (AMSGRAD) {
            T* highest = (T*)chunk.state[2];
            v = nan_max(acc_t(highest[i]), v);
            highest[i] = T(v);
        }
        p[i] = T(x - size * (m / (sqrt_(v) / correction + eps)));
    }
}
