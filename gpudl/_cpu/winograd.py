"""Winograd's F(2x2, 3x3) on the CPU: 16 BLAS products over channels in place of one over channels and 9 taps, with 2.25 times fewer multiplications.

y = A' (sum_c (G w G') . (B' x B)) A for each tile of 2 x 2 results and its 4 x 4 patch of the image; kernels/conv2d/README.md has the formulas and
the error. Source: Lavin & Gray 2015, arXiv:1509.09308.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl._cpu import scratch
from gpudl._cpu.loops import jit, u

FEW = 768  # channels or filters, times the image's width, below which the transforms cost more than they save: few values a loop, few products
PIECE = 2**20  # bytes of transformed patches at a time

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def fits(dtype: Any, channels: int, filters: int, window: Any, stride: Any, dilation: Any, groups: int, width: int) -> bool:
    """Whether this convolution gains. float64 is left to the definition: it is what others are compared with."""
    one = groups == 1 and tuple(stride) == tuple(dilation) == (1, 1)
    return dtype == np.float32 and one and tuple(window) == (3, 3) and min(channels, filters) >= 32 and min(channels, filters) * width >= FEW


@jit
def transform(x, V, row, n0, i0, pad_h, pad_w):
    """V (16, C, n, rows, across) = B' x B for rows of tiles i0, ... of images n0, ...; row (4, 2 * across + 2) is scratch memory."""
    C, H, W = x.shape[1:]
    n, rows, across = V.shape[2:]
    source, line, out, zero = x.reshape(-1), row.reshape(-1), V.reshape(-1), x.dtype.type(0)
    width, next_ = u(2 * across + 2), u(C * n * rows * across)  # of a line; from one element of the patches to the next
    first, end = max(0, pad_w), min(2 * across + 2, W + pad_w)  # columns of a line that lie inside the image
    to = u(0)
    for c in range(C):
        for b in range(n):
            for i in range(rows):
                for r in range(4):
                    h, put = 2 * (i0 + i) - pad_h + r, u(r) * width
                    if h < 0 or h >= H:
                        for j in range(width):
                            line[put + u(j)] = zero
                    else:
                        for j in range(first):
                            line[put + u(j)] = zero
                        at = u((((n0 + b) * C + c) * H + h) * W + first - pad_w)
                        for j in range(end - first):
                            line[put + u(first) + u(j)] = source[at + u(j)]
                        for j in range(end, 2 * across + 2):
                            line[put + u(j)] = zero
                for j in range(width):  # B' x, in place
                    l0, l1, l2, l3 = line[u(j)], line[width + u(j)], line[u(2) * width + u(j)], line[u(3) * width + u(j)]
                    line[u(j)] = l0 - l2
                    line[width + u(j)] = l1 + l2
                    line[u(2) * width + u(j)] = l2 - l1
                    line[u(3) * width + u(j)] = l1 - l3
                for r in range(4):
                    at, put = u(r) * width, u(4 * r) * next_ + to
                    for q in range(across):
                        l0, l1, l2, l3 = line[at + u(2 * q)], line[at + u(2 * q) + u(1)], line[at + u(2 * q) + u(2)], line[at + u(2 * q) + u(3)]
                        out[put + u(q)] = l0 - l2
                        out[put + next_ + u(q)] = l1 + l2
                        out[put + u(2) * next_ + u(q)] = l2 - l1
                        out[put + u(3) * next_ + u(q)] = l1 - l3
                to += u(across)


@jit
def untransform(M, z, row, i0):
    """z (K, n, P, Q) = A' M A for rows of tiles i0, ...; M (16, K, n, rows, across), row (2, 4, across) is scratch memory."""
    K, n, rows, across = M.shape[1:]
    P, Q = z.shape[2:]
    source, line, out = M.reshape(-1), row.reshape(-1), z.reshape(-1)
    next_, width = u(K * n * rows * across), u(across)
    at = u(0)
    for k in range(K):
        for b in range(n):
            for i in range(rows):
                for j in range(4):
                    m, low, high = at + u(j) * next_, u(j) * width, u(4 + j) * width
                    for q in range(across):
                        m1, m2 = source[m + u(4) * next_ + u(q)], source[m + u(8) * next_ + u(q)]
                        line[low + u(q)] = source[m + u(q)] + m1 + m2
                        line[high + u(q)] = m1 - m2 - source[m + u(12) * next_ + u(q)]
                for r in range(2):
                    p = 2 * (i0 + i) + r
                    if p < P:
                        m, to = u(4 * r) * width, u(((k * n + b) * P + p) * Q)
                        for q in range(Q // 2):
                            m1, m2 = line[m + width + u(q)], line[m + u(2) * width + u(q)]
                            out[to + u(2 * q)] = line[m + u(q)] + m1 + m2
                            out[to + u(2 * q) + u(1)] = m1 - m2 - line[m + u(3) * width + u(q)]
                        if Q % 2:
                            m += u(across - 1)
                            out[to + u(Q - 1)] = line[m] + line[m + width] + line[m + u(2) * width]
                at += u(across)


def products(x: Any, w: Any, pad: Any, size: Any) -> Iterator[tuple[int, Any]]:
    """(first image, sums (K, images, P, Q)) for piece after piece, as conv.products; the sums are overwritten by the next."""
    N, C = x.shape[:2]
    K, (P, Q) = len(w), size
    down, across = (P + 1) // 2, (Q + 1) // 2
    x = np.ascontiguousarray(x)
    U = (np.kron(G, G).astype(x.dtype) @ w.reshape(K * C, 9).T).reshape(16, K, C)
    row = 16 * C * across * x.itemsize  # a row of tiles
    images = max(1, PIECE // max(down * row, 1))
    rows = down if images > 1 or down * row <= PIECE else max(1, PIECE // row)
    lines, sums = (scratch(name, shape, x.dtype) for name, shape in (("lines", (4, 2 * across + 2)), ("pairs", (2, 4, across))))
    for n in range(0, N, images):
        count = min(images, N - n)
        z = scratch("sums", (K, count, P, Q), x.dtype)
        for i in range(0, down, rows):
            now = min(rows, down - i)
            V = scratch("patches", (16, C, count, now, across), x.dtype)
            M = scratch("products", (16, K, count, now, across), x.dtype)
            transform(x, V, lines, n, i, *pad)
            np.matmul(U, V.reshape(16, C, count * now * across), out=M.reshape(16, K, count * now * across))
            untransform(M, z, sums, i)
        yield n, z
