// 01_multi_tensor: every parameter of a group in one launch; a table says where each chunk of each tensor lies.
//
// Computes   g = +-grad + weight_decay*p; v = alpha*v + (1 - alpha)*g*g; d = sqrt(v) + eps, CENTERED: a += (1 - alpha)*(g - a),
//            d = sqrt(v - a*a) + eps; MOMENTUM: buf = momentum*buf + g/d, p -= lr*buf, else p -= lr*g/d
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      10*n; n elements in all
// Traffic    5*sizeof(T)*n B, and 2*sizeof(T)*n B more for each of MOMENTUM and CENTERED; that is the floor
//            Besides, each thread asks for its chunk's row of the table and the 5 options: 104*BLOCK B a chunk, from cache
// Numerics   fp32 (fp64 for double); step count and options in device memory
// Source     Tieleman & Hinton 2012, lecture 6.5; Graves 2013, arXiv:1308.0850
#include "common.cuh"
#include "multi_tensor.cuh"

// hyper: lr, alpha, eps, weight_decay, momentum. Only the type of `like` counts.
extern "C" __global__ void rmsprop_step(const T* like, const int64_t* __restrict__ table, const double* __restrict__ hyper) {
    const Chunk chunk = chunk_of(table);
    if (threadIdx.x == 0) advance(chunk);
    const acc_t lr = hyper[0], alpha = hyper[1], rest = 1.0 - hyper[1], eps = hyper[2], decay = hyper[3], momentum = hyper[4];
    T* p = (T*)chunk.p;
    const T* grad = (const T*)chunk.g;
    T* vs = (T*)chunk.state[0];
    for (int64_t i = threadIdx.x; i < chunk.elements; i += BLOCK) {
        const acc_t x = p[i];
        const acc_t g = (MAXIMIZE ? -acc_t(grad[i]) : acc_t(grad[i])) + decay * x;
        const acc_t v = alpha * acc_t(vs[i]) + rest * (g * g);
        vs[i] = T(v);
        acc_t spread = v;
        if (CENTERED) {
            T* means = (T*)chunk.state[1 + MOMENTUM];
            const acc_t mean = acc_t(means[i]) + rest * (g - acc_t(means[i]));
            means[i] = T(mean);
            spread = v - mean * mean;
        }
        acc_t d = g / (sqrt_(spread) + eps);
        if (MOMENTUM) {
            T* buf = (T*)chunk.state[1];
            d += momentum * acc_t(buf[i]);
            buf[i] = T(d);
        }
        p[i] = T(x - lr * d);
    }
}
