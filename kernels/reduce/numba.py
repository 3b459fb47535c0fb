"""Reductions in Numba: y[a, b] over p and q of x, each axis with a stride of its own. OP says what is done; it and acc_t come with the launch."""
# ruff: noqa: F722, F821

import math

from numba import cuda

FULL = 0xFFFFFFFF
# what it starts from, does with an element, with two partial results, and at the end with n elements
OPS = {
    "Sum": (lambda: acc_t(0), lambda x: acc_t(x), lambda a, b: a + b, lambda a, n: a),
    "Mean": (lambda: acc_t(0), lambda x: acc_t(x), lambda a, b: a + b, lambda a, n: a / acc_t(n)),
    "SquareRoot": (lambda: acc_t(0), lambda x: acc_t(x) * acc_t(x), lambda a, b: a + b, lambda a, n: math.sqrt(a)),
    "Prod": (lambda: acc_t(1), lambda x: acc_t(x), lambda a, b: a * b, lambda a, n: a),
    "Max": (lambda: acc_t(-math.inf), lambda x: acc_t(x), lambda a, b: a if a > b or a != a else b, lambda a, n: a),  # a NaN wins
    "Min": (lambda: acc_t(math.inf), lambda x: acc_t(x), lambda a, b: a if a < b or a != a else b, lambda a, n: a),
    "Count": (lambda: acc_t(0), lambda x: acc_t(x != 0), lambda a, b: a + b, lambda a, n: a),
    "Any": (lambda: acc_t(0), lambda x: acc_t(x != 0), lambda a, b: max(a, b), lambda a, n: a),
    "All": (lambda: acc_t(1), lambda x: acc_t(x != 0), lambda a, b: min(a, b), lambda a, n: a),
}
start, load, merge, finish = (cuda.jit(device=True)(f) for f in OPS[OP])


@cuda.jit
def forward_naive(
    x: "const T*", y: "S*", A: "int64_t", B: "int64_t", P: "int64_t", Q: "int64_t", sa: "int64_t", sb: "int64_t", sp: "int64_t", sq: "int64_t"
):
    """One thread a result, which walks through its elements in order."""
    o = cuda.grid(1)
    if o < A * B:
        at = o // B * sa + o % B * sb
        v = start()
        for p in range(P):
            for q in range(Q):
                v = merge(v, load(x[at + p * sp + q * sq]))
        y[o] = finish(v, P * Q)


@cuda.jit
def forward_shared_tree(
    x: "const T*", y: "S*", A: "int64_t", B: "int64_t", P: "int64_t", Q: "int64_t", sa: "int64_t", sb: "int64_t", sp: "int64_t", sq: "int64_t"
):
    """One block a result: each thread merges every BLOCK-th element, then half of the threads merge with the other half, again and again."""
    parts = cuda.shared.array(BLOCK, acc_t)
    o, tid = cuda.blockIdx.x, cuda.threadIdx.x
    at = o // B * sa + o % B * sb
    v = start()
    for e in range(tid, P * Q, BLOCK):
        v = merge(v, load(x[at + e // Q * sp + e % Q * sq]))
    parts[tid] = v
    cuda.syncthreads()  # every thread's part is there
    half = BLOCK // 2
    while half > 0:
        if tid < half:
            parts[tid] = merge(parts[tid], parts[tid + half])
        cuda.syncthreads()  # this round is complete
        half //= 2
    if tid == 0:
        y[o] = finish(parts[0], P * Q)


@cuda.jit
def forward_warp_row(
    x: "const T*", y: "S*", A: "int64_t", B: "int64_t", P: "int64_t", Q: "int64_t", sa: "int64_t", sb: "int64_t", sp: "int64_t", sq: "int64_t"
):
    """One warp a result: neighbouring lanes read neighbouring elements, then a butterfly of shuffles merges the lanes."""
    o = cuda.blockIdx.x * ROWS + cuda.threadIdx.y
    if o < A * B:  # the whole warp is in or out
        at = o // B * sa + o % B * sb
        v = start()
        for e in range(cuda.threadIdx.x, P * Q, 32):
            v = merge(v, load(x[at + e // Q * sp + e % Q * sq]))
        offset = 16
        while offset > 0:
            v = merge(v, cuda.shfl_xor_sync(FULL, v, offset))
            offset //= 2
        if cuda.threadIdx.x == 0:
            y[o] = finish(v, P * Q)
