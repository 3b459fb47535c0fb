"""Convolution in Numba: the definition, and the image in shared memory. Sizes as in the .cu files; BIAS, ACT, EXTRA, TI, TJ, KB, T and acc_t are globals."""
# ruff: noqa: F722, F821

import math

from numba import cuda


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


@cuda.jit(device=True)
def leaky_relu(v):
    return v if v > 0 else v * acc_t(ACT_NUMBER)


@cuda.jit(device=True)
def elu(v):
    return v if v > 0 else acc_t(ACT_NUMBER) * math.expm1(v)


act = {"identity": identity, "relu": relu, "sigmoid": sigmoid, "hyperbolic_tangent": hyperbolic_tangent, "leaky_relu": leaky_relu, "elu": elu}[ACT]
THREADS = TI * TJ


@cuda.jit
def forward_naive(
    x: "const T*", w: "const T*", bias: "const T*", extra: "T*", y: "T*", N: "int64_t", C: "int", H: "int", W: "int", K: "int", R: "int",
    S: "int", P: "int", Q: "int", stride_h: "int", stride_w: "int", pad_h: "int", pad_w: "int", dilation_h: "int", dilation_w: "int", groups: "int",
):  # fmt: skip
    """One thread a result, which sums over channels and filter."""
    i = cuda.grid(1)
    if i < N * K * P * Q:
        q, p, k, n = i % Q, i // Q % P, i // Q // P % K, i // Q // P // K
        Cg = C // groups
        c0 = k // (K // groups) * Cg
        acc = acc_t(0)
        for c in range(Cg):
            for r in range(R):
                for s in range(S):
                    h, v = p * stride_h + r * dilation_h - pad_h, q * stride_w + s * dilation_w - pad_w
                    if h >= 0 and h < H and v >= 0 and v < W:
                        acc += acc_t(x[((n * C + c0 + c) * H + h) * W + v]) * acc_t(w[((k * Cg + c) * R + r) * S + s])
        if BIAS:
            acc += acc_t(bias[k])
        if EXTRA:
            acc += acc_t(extra[i])
        y[i] = act(acc)


@cuda.jit
def forward_shared_tile(
    x: "const T*", w: "const T*", bias: "const T*", extra: "T*", y: "T*", N: "int64_t", C: "int", H: "int", W: "int", K: "int", R: "int",
    S: "int", P: "int", Q: "int", stride_h: "int", stride_w: "int", pad_h: "int", pad_w: "int", dilation_h: "int", dilation_w: "int", groups: "int",
):  # fmt: skip
    """A block brings a piece of the image and KB filters to shared memory, one channel after the other, for TI x TJ places."""
    memory = cuda.shared.array(0, acc_t)  # dynamic: the piece, then the filters
    acc = cuda.local.array(KB, acc_t)
    rows, cols = (TI - 1) * stride_h + (R - 1) * dilation_h + 1, (TJ - 1) * stride_w + (S - 1) * dilation_w + 1
    filters = rows * cols
    Cg, Kg, tid = C // groups, K // groups, cuda.threadIdx.x
    i, j = tid // TJ, tid % TJ
    across, down, parts = (Q + TJ - 1) // TJ, (P + TI - 1) // TI, (Kg + KB - 1) // KB
    block = cuda.blockIdx.x
    q0, p0, rest = block % across * TJ, block // across % down * TI, block // across // down
    k0, g, n = rest % parts * KB, rest // parts % groups, rest // parts // groups
    top, left = p0 * stride_h - pad_h, q0 * stride_w - pad_w
    for k in range(KB):
        acc[k] = acc_t(0)
    for c in range(Cg):
        for e in range(tid, rows * cols, THREADS):
            h, v = top + e // cols, left + e % cols
            inside = h >= 0 and h < H and v >= 0 and v < W
            memory[e] = acc_t(x[((n * C + g * Cg + c) * H + h) * W + v]) if inside else acc_t(0)
        for e in range(tid, KB * R * S, THREADS):
            k = k0 + e // (R * S)
            memory[filters + e] = acc_t(w[((g * Kg + k) * Cg + c) * (R * S) + e % (R * S)]) if k < Kg else acc_t(0)
        cuda.syncthreads()  # piece and filters are complete
        for r in range(R):
            for s in range(S):
                v = memory[(i * stride_h + r * dilation_h) * cols + j * stride_w + s * dilation_w]
                for k in range(KB):
                    acc[k] += v * memory[filters + (k * R + r) * S + s]
        cuda.syncthreads()  # and read, before the next channel overwrites them
    p, q = p0 + i, q0 + j
    for k in range(KB):
        if k0 + k < Kg and p < P and q < Q:
            f = g * Kg + k0 + k
            total = acc[k]
            if BIAS:
                total += acc_t(bias[f])
            at = ((n * K + f) * P + p) * Q + q
            if EXTRA:
                total += acc_t(extra[at])
            y[at] = act(total)
