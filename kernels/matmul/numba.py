"""Matrix products in Numba: the first ideas of the ladder, for one matrix a launch. Annotations are the C types of the .cu files' parameters.

TILE, BM, ..., BIAS, ACT, T and acc_t are globals that the launch gives; Numba compiles them as constants.
"""
# ruff: noqa: F722, F821

import math

from numba import cuda

PAD, PAD_M, PAD_N = TILE + 1, BM + 1, BN + 1  # one more column: a tile that is stored turned meets no bank twice
ROWS, COLS = BM // TM, BN // TN
THREADS = ROWS * COLS


@cuda.jit(device=True)
def identity(v):
    return v


@cuda.jit(device=True)
def relu(v):
    return acc_t(0) if v <= 0 else v  # keeps a NaN


@cuda.jit(device=True)
def sigmoid(v):
    e = math.exp(v if v < 0 else -v)  # never overflows
    return (e if v < 0 else acc_t(1)) / (acc_t(1) + e)


@cuda.jit(device=True)
def hyperbolic_tangent(v):
    return math.tanh(v)


act = {"identity": identity, "relu": relu, "sigmoid": sigmoid, "hyperbolic_tangent": hyperbolic_tangent}[ACT]


@cuda.jit
def forward_naive(
    A: "const T*", B: "const T*", bias: "const T*", extra: "T*", C: "T*", M: "int64_t", N: "int64_t", K: "int64_t",
    a_m: "int64_t", a_k: "int64_t", b_k: "int64_t", b_n: "int64_t", bias_n: "int64_t",
):  # fmt: skip
    """One thread an element of C, neighbouring threads down a column."""
    i = cuda.grid(1)
    if i < M * N:
        m, n = i % M, i // M
        acc = acc_t(0)
        for k in range(K):
            acc += acc_t(A[m * a_m + k * a_k]) * acc_t(B[k * b_k + n * b_n])
        if BIAS:
            acc += acc_t(bias[n * bias_n])
        C[m * N + n] = act(acc)


@cuda.jit
def forward_shared_tile(
    A: "const T*", B: "const T*", bias: "const T*", extra: "T*", C: "T*", M: "int64_t", N: "int64_t", K: "int64_t",
    a_m: "int64_t", a_k: "int64_t", b_k: "int64_t", b_n: "int64_t", bias_n: "int64_t",
):  # fmt: skip
    """A block brings TILE x TILE pieces of A and B to shared memory, and each value is read from there TILE times."""
    As = cuda.shared.array((TILE, PAD), acc_t)
    Bs = cuda.shared.array((TILE, PAD), acc_t)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    across = (N + TILE - 1) // TILE
    m0, n0 = cuda.blockIdx.x // across * TILE, cuda.blockIdx.x % across * TILE
    m, n = m0 + y, n0 + x
    acc = acc_t(0)
    for k0 in range(0, K, TILE):
        As[y, x] = acc_t(A[m * a_m + (k0 + x) * a_k]) if m < M and k0 + x < K else acc_t(0)
        Bs[y, x] = acc_t(B[(k0 + y) * b_k + n * b_n]) if k0 + y < K and n < N else acc_t(0)
        cuda.syncthreads()  # the tiles are complete
        for k in range(TILE):
            acc += As[y, k] * Bs[k, x]
        cuda.syncthreads()  # and read, before the next ones overwrite them
    if m < M and n < N:
        if BIAS:
            acc += acc_t(bias[n * bias_n])
        C[m * N + n] = act(acc)


@cuda.jit
def forward_thread_tile(
    A: "const T*", B: "const T*", bias: "const T*", extra: "T*", C: "T*", M: "int64_t", N: "int64_t", K: "int64_t",
    a_m: "int64_t", a_k: "int64_t", b_k: "int64_t", b_n: "int64_t", bias_n: "int64_t",
):  # fmt: skip
    """Each thread keeps a TM x TN patch of C in registers."""
    As = cuda.shared.array((BK, PAD_M), acc_t)
    Bs = cuda.shared.array((BK, PAD_N), acc_t)
    acc = cuda.local.array((TM, TN), acc_t)
    tid = cuda.threadIdx.x
    x, y = tid % COLS, tid // COLS
    across = (N + BN - 1) // BN
    m0, n0 = cuda.blockIdx.x // across * BM, cuda.blockIdx.x % across * BN
    for i in range(TM):
        for j in range(TN):
            acc[i, j] = acc_t(0)
    for k0 in range(0, K, BK):
        for e in range(tid, BM * BK, THREADS):
            m, k = e // BK, e % BK
            As[k, m] = acc_t(A[(m0 + m) * a_m + (k0 + k) * a_k]) if m0 + m < M and k0 + k < K else acc_t(0)
        for e in range(tid, BK * BN, THREADS):
            k, n = e // BN, e % BN
            Bs[k, n] = acc_t(B[(k0 + k) * b_k + (n0 + n) * b_n]) if k0 + k < K and n0 + n < N else acc_t(0)
        cuda.syncthreads()  # the tiles are complete
        for k in range(BK):
            for i in range(TM):
                a = As[k, y + i * ROWS]
                for j in range(TN):
                    acc[i, j] += a * Bs[k, x + j * COLS]
        cuda.syncthreads()  # and read, before the next ones overwrite them
    for i in range(TM):
        for j in range(TN):
            m, n = m0 + y + i * ROWS, n0 + x + j * COLS
            if m < M and n < N:
                v = acc[i, j]
                if BIAS:
                    v += acc_t(bias[n * bias_n])
                C[m * N + n] = act(v)
