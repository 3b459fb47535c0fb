"""Softmax rungs in Numba. The annotations are the C types that the same parameters have in the .cu files."""

import math

from numba import cuda


@cuda.jit
def forward_naive(x: "const T*", y: "T*", M: "int64_t", N: "int64_t"):  # noqa: F722, F821
    """One thread a row, three passes over it; x and y are flat."""
    m = cuda.grid(1)
    if m < M and N > 0:
        hi = x[m * N]
        for j in range(N):
            v = x[m * N + j]
            if v > hi or v != v:
                hi = v
        total = hi - hi
        for j in range(N):
            total += math.exp(x[m * N + j] - hi)
        for j in range(N):
            y[m * N + j] = math.exp(x[m * N + j] - hi) / total


@cuda.jit
def backward_naive(dy: "const T*", y: "const T*", dx: "T*", M: "int64_t", N: "int64_t"):  # noqa: F722, F821
    """One thread a row, two passes over it; all arrays are flat."""
    m = cuda.grid(1)
    if m < M and N > 0:
        dot = dy[m * N] * y[m * N]
        for j in range(1, N):
            dot += dy[m * N + j] * y[m * N + j]
        for j in range(N):
            dx[m * N + j] = y[m * N + j] * (dy[m * N + j] - dot)
