// 01_multi_tensor: every parameter of a group in one launch; a table says where each chunk of each tensor lies.
//
// Computes   g = +-grad + weight_decay*p; buf = momentum*buf + (1 - dampening)*g (first: buf = g); p -= lr*(buf, or g + momentum*buf)
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      4*n, with momentum 7*n; n elements in all
// Traffic    3*sizeof(T)*n B, with momentum 5*sizeof(T)*n B; that is the floor (p, grad and buf read; p and buf written)
//            Besides, each thread asks for its chunk's row of the table and the 4 options: 96*BLOCK B a chunk, from cache
// Intensity  4/(3*sizeof(T)) FLOP/B
// Numerics   fp32 (fp64 for double); the options are read from device memory, so that a captured launch follows them
// Source     one launch over a list of tensors: NVIDIA Apex's multi-tensor apply (the idea; this code is our own)
#include "common.cuh"
#include "multi_tensor.cuh"

// hyper: lr, momentum, dampening, weight_decay. Only the type of `like` counts.
extern "C" __global__ void sgd_step(const T* like, const int64_t* __restrict__ table, const double* __restrict__ hyper) {
    const Chunk chunk = chunk_of(table);
    T* p = (T*)chunk.p;
    const T* grad = (const T*)chunk.g;
    const acc_t lr = hyper[0], momentum = hyper[1], keep = 1.0 - hyper[2], decay = hyper[3];
    for (int64_t i = threadIdx.x; i < chunk.elements; i += BLOCK) {
        const acc_t x = p[i];
        acc_t g = (MAXIMIZE ? -acc_t(grad[i]) : acc_t(grad[i])) + decay * x;
        if (MOMENTUM) {
            T* buf = (T*)chunk.state[0];
            const acc_t b = chunk.first ? g : momentum * acc_t(buf[i]) + keep * g;
            buf[i] = T(b);
            g = NESTEROV ? g + momentum * b : b;
        }
        p[i] = T(x - lr * g);
    }
}
