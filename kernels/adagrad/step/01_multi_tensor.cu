// 01_multi_tensor: every parameter of a group in one launch; a table says where each chunk of each tensor lies.
//
// Computes   g = +-grad + weight_decay*p; s += g*g; p -= lr/(1 + (t - 1)*lr_decay) * g / (sqrt(s) + eps)
// Launch     grid chunks, block BLOCK; a block updates one chunk of at most CHUNK elements
// FLOPs      8*n; n elements in all
// Traffic    5*sizeof(T)*n B; that is the floor (p, grad, s read; p, s written)
//            Besides, each thread asks for its chunk's row of the table and the 4 options: 96*BLOCK B a chunk, from cache
// Numerics   fp32 (fp64 for double); step count and options in device memory
// Source     Duchi, Hazan, Singer 2011
#include "common.cuh"
#include "multi_tensor.cuh"

// hyper: lr, lr_decay, eps, weight_decay. Only the type of `like` counts.
extern "C" __global__ void adagrad_step(const T* like, const int64_t* __restrict__ table, const double* __restrict__ hyper) {
    __shared__ acc_t size;
    const Chunk chunk = chunk_of(table);
    if (threadIdx.x == 0) size = acc_t(hyper[0] / (1.0 + (advance(chunk) - 1.0) * hyper[1]));
    __syncthreads();
    const acc_t eps = hyper[2], decay = hyper[3];
    T* p = (T*)chunk.p;
    const T* grad = (const T*)chunk.g;
    T* sums = (T*)chunk.state[0];
    for (int64_t i = threadIdx.x; i < chunk.elements; i += BLOCK) {
        const acc_t x = p[i];
        const acc_t g = (MAXIMIZE ? -acc_t(grad[i]) : acc_t(grad[i])) + decay * x;
        const acc_t s = acc_t(sums[i]) + g * g;
        sums[i] = T(s);
        p[i] = T(x - size * (g / (sqrt_(s) + eps)));
    }
}
