"""Convolution on the CPU: im2col in pieces that stay in the cache, each followed by one BLAS product for all of its images.

A piece holds the patches as (C * R * S, images, places): the product with w (K, C * R * S) then has the channels first, and what comes next
(bias, activation, pooling) reads it from the cache and writes the result in its final order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl._cpu import compiled, scratch
from gpudl.ops import _epilogue

PIECE = 2**19  # bytes of patches at a time: half of a usual L2 cache
ALONE = 2**18  # multiply-adds up to which OpenBLAS uses one thread (interface/gemm.c): more threads would wait for each other longer than they work


@functools.cache
def winograd() -> Any:
    """Imported late: it brings Numba."""
    from gpudl._cpu import winograd

    return winograd


def _pieces(N: int, P: int, row: int) -> Iterator[tuple[int, int, int, int]]:
    """(first image, images, first row, rows) of pieces of about PIECE bytes: several images whole, or some rows of one; row is a row's bytes."""
    if row == 0 or P * row <= PIECE:
        step = max(1, PIECE // max(P * row, 1))
        for n in range(0, N, step):
            yield n, min(step, N - n), 0, P
    else:
        step = max(1, PIECE // row)
        for n in range(N):
            for p in range(0, P, step):
                yield n, 1, p, min(step, P - p)


def _images(N: int, size: Any, depth: int, itemsize: int) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """The same grouped by images: (first image, images, [(first row, rows), ...])."""
    group: list[tuple[int, int]] = []
    last = None
    for n, images, p, rows in _pieces(N, size[0], depth * size[1] * itemsize):
        if last is not None and last[0] != n:
            yield *last, group
            group = []
        last = (n, images)
        group.append((p, rows))
    if last is not None:
        yield *last, group


def _patches(x: Any, n: int, images: int, p: int, rows: int, Q: int, window: Any, where: Any) -> Any:
    cols = scratch("patches", (x.shape[1] * window[0] * window[1], images, rows, Q), x.dtype)
    compiled().im2col(x, cols, n, p, *window, *where)
    return cols


def _multiply(a: Any, b: Any, images: int, out: Any) -> None:
    """out = a @ b for a (groups, m, k), b (groups, k, images * places): image by image where that keeps BLAS on one thread."""
    if images > 1 and a.shape[1] * a.shape[2] * (b.shape[2] // images) <= ALONE:
        b, out = (v.reshape(*v.shape[:2], images, v.shape[2] // images).transpose(2, 0, 1, 3) for v in (b, out))
    np.matmul(a, b, out=out)


def products(x: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Iterator[tuple[int, Any]]:
    """(first image, sums (K, images, P, Q)) for piece after piece; the sums are overwritten by the next."""
    K, c, R, S = w.shape
    if winograd().fits(x.dtype, c, K, (R, S), stride, dilation, groups, size[1]):
        yield from winograd().products(x, w, pad, size)
        return
    x, flat = np.ascontiguousarray(x), w.reshape(groups, K // groups, c * R * S)
    where = (*stride, *pad, *dilation)
    for n, images, parts in _images(len(x), size, x.shape[1] * R * S, x.itemsize):
        z = scratch("sums", (K, images, *size), x.dtype)
        for p, rows in parts:
            cols = _patches(x, n, images, p, rows, size[1], (R, S), where)
            out = z.reshape(groups, K // groups, images * size[0] * size[1])[..., p * size[1] : p * size[1] + images * rows * size[1]]
            _multiply(flat, cols.reshape(groups, c * R * S, images * rows * size[1]), images, out)
        yield n, z


def forward(
    x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any = None, residual: Any = None
) -> Any:
    N, K, places = len(x), len(w), size[0] * size[1]
    y = np.empty((N, K, places), x.dtype)
    bias = np.zeros(K, x.dtype) if b is None else np.ascontiguousarray(b)
    for n, z in products(x, w, stride, pad, dilation, groups, size):
        compiled().store(z.reshape(K, z.shape[1], places), bias, y, n, act == "relu" and residual is None)
    y = y.reshape(N, K, *size)
    if residual is not None:
        y += residual
    if act is not None and (act != "relu" or residual is not None):
        _epilogue.forward_(y, act)
    return y


def forward_pool(
    x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: str | None, pool: Any, out: Any
) -> Any:
    """(y, at): max pooling of relu(conv2d), piece by piece, so that only the result goes through memory."""
    assert act == "relu"
    y = np.empty((len(x), len(w), *out), x.dtype)
    at = np.empty(y.shape, np.uint8 if pool["window"][0] * pool["window"][1] <= 256 else np.int32)
    bias = np.zeros(len(w), x.dtype) if b is None else np.ascontiguousarray(b)
    for n, z in products(x, w, stride, pad, dilation, groups, size):
        compiled().bias_relu_max_pool(z, bias, y, at, n, *pool["window"], *pool["stride"], *pool["pad"], *pool["dilation"])
    return y, at


def backward_pool(
    dy: Any, x: Any, w: Any, y: Any, at: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, pool: Any, image: Any, window: Any, needs: Any
) -> Any:
    """(dx, dw, db) of forward_pool; image (H, W) and window (R, S) are the sizes of dx and dw."""
    db = np.zeros(dy.shape[1])
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    offsets = pool_offsets(pool["window"], pool["dilation"], size[1])

    def fill(z: Any, n: int) -> None:
        compiled().max_unpool_relu(dy, y, at, z, db, n, offsets, *pool["stride"], *pool["pad"])

    dx, dw = _gradients(dy.shape[:2], dy.dtype, fill, x, w, stride, pad, dilation, groups, size, image, window, needs)
    return dx, dw, db.astype(dy.dtype) if needs[2] else None


def pool_offsets(window: Any, dilation: Any, width: int) -> Any:
    """How far element a * B + b of a pooling window lies from its first one, in an image of that width."""
    return (np.arange(window[0])[:, None] * dilation[0] * width + np.arange(window[1]) * dilation[1]).reshape(-1)


def _gradients(
    shape: Any, dtype: Any, fill: Any, x: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, image: Any, window: Any, needs: Any
) -> Any:
    """(dx, dw) where needed; fill(z, n) puts the gradient of the results of images n, ... into z (K, images, P, Q)."""
    (N, K), (P, Q), where = shape, size, (*stride, *pad, *dilation)
    c = (w.shape[1] if w is not None else x.shape[1] // groups) if needs[0] or needs[1] else 1
    depth = c * window[0] * window[1]
    dx = np.zeros((N, c * groups, *image), dtype) if needs[0] else None
    dw = np.zeros((groups, K // groups, depth), dtype) if needs[1] else None
    if needs[0]:
        turned = np.ascontiguousarray(w.reshape(groups, K // groups, depth).transpose(0, 2, 1))
    if needs[1]:
        x = np.ascontiguousarray(x)
    for n, images, parts in _images(N, size, depth * groups, np.dtype(dtype).itemsize):
        z = scratch("sums", (K, images, P, Q), dtype)
        fill(z, n)
        for p, rows in parts:
            piece = z.reshape(groups, K // groups, images * P * Q)[..., p * Q : p * Q + images * rows * Q]
            if needs[1]:
                cols = _patches(x, n, images, p, rows, Q, window, where).reshape(groups, depth, images * rows * Q)
                if images > 1 and piece.shape[1] * depth * (P * Q) <= ALONE:
                    left, right = (v.reshape(*v.shape[:2], images, v.shape[2] // images).transpose(2, 0, 1, 3) for v in (piece, cols))
                    dw += np.matmul(left, right.swapaxes(-1, -2)).sum(0)
                else:
                    dw += np.matmul(piece, cols.transpose(0, 2, 1))
            if needs[0]:
                cols = scratch("patches", (groups * depth, images, rows, Q), dtype)
                _multiply(turned, piece, images, cols.reshape(groups, depth, images * rows * Q))
                compiled().col2im(cols, dx, n, p, *window, *where)
    return dx, dw if dw is None else dw.reshape(K, c, *window)


def backward(dy: Any, x: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, image: Any, window: Any, needs: Any) -> Any:
    """(dx, dw) of a convolution whose results have the gradient dy."""
    N, K, P, Q = dy.shape
    dy, dx = np.ascontiguousarray(dy), None
    if needs[0] and max(pad) <= 2 and winograd().fits(dy.dtype, K, w.shape[1], window, stride, dilation, groups, image[1]):
        turned = np.ascontiguousarray(w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])  # with stride 1 dx is a convolution, too
        dx, needs = forward(dy, turned, None, stride, tuple(2 - p for p in pad), dilation, groups, image), (False, needs[1])
        if not needs[1]:
            return dx, None
    flat = dy.reshape(N, K, P * Q)

    def fill(z: Any, n: int) -> None:
        compiled().turn(flat, z.reshape(K, z.shape[1], P * Q), n)

    both = _gradients((N, K), dy.dtype, fill, x, w, stride, pad, dilation, groups, (P, Q), image, window, needs)
    return both if dx is None else (dx, both[1])


def wgrad(x: Any, dy: Any, stride: Any, pad: Any, dilation: Any, groups: int, window: Any) -> Any:
    return backward(dy, x, None, stride, pad, dilation, groups, None, window, (False, True))[1]


def dgrad(dy: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
    return backward(dy, None, w, stride, pad, dilation, groups, size, w.shape[2:], (True, False))[0]
