"""Pooling on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl._cpu import compiled
from gpudl._cpu.conv import pool_offsets


def bounds(size: int, extent: int) -> list[tuple[int, int]]:
    """Adaptive windows: from floor(p * extent / size) to ceil((p + 1) * extent / size)."""
    return [(p * extent // size, -(-(p + 1) * extent // size)) for p in range(size)]


def _padded(x: Any, fill: Any, window: Any, stride: Any, pad: Any, dilation: Any, size: Any) -> Any:
    """x with `fill` around it, large enough for every window."""
    N, C, H, W = x.shape
    need = [(n - 1) * s + (r - 1) * d + 1 for n, s, r, d in zip(size, stride, window, dilation)]
    if pad == (0, 0) and need[0] <= H and need[1] <= W:
        return x
    room = np.full((N, C, max(need[0], H + pad[0]), max(need[1], W + pad[1])), fill, x.dtype)
    room[:, :, pad[0] : pad[0] + H, pad[1] : pad[1] + W] = x
    return room


def _shifted(room: Any, r: int, s: int, stride: Any, dilation: Any, size: Any) -> Any:
    """What element (r, s) of every window reads: a view (N, C, P, Q)."""
    h, w = r * dilation[0], s * dilation[1]
    return room[:, :, h : h + (size[0] - 1) * stride[0] + 1 : stride[0], w : w + (size[1] - 1) * stride[1] + 1 : stride[1]]


def max_forward(x: Any, window: Any, stride: Any, pad: Any, dilation: Any, size: Any) -> Any:
    """The maxima and where they lie: r * S + s in the window, or h * W + w of the image for adaptive windows."""
    if window == (0, 0):
        N, C, H, W = x.shape
        y, at = np.empty((N, C, *size), x.dtype), np.empty((N, C, *size), np.int64)
        for p, (h0, h1) in enumerate(bounds(size[0], H)):
            for q, (w0, w1) in enumerate(bounds(size[1], W)):
                part = x[:, :, h0:h1, w0:w1].reshape(N, C, (h1 - h0) * (w1 - w0))
                k = part.argmax(-1)  # NaN wins here too
                y[:, :, p, q] = np.take_along_axis(part, k[..., None], -1)[..., 0]
                at[:, :, p, q] = (h0 + k // (w1 - w0)) * W + w0 + k % (w1 - w0)
        return y, at
    x = np.ascontiguousarray(x)
    y = np.empty((*x.shape[:2], *size), x.dtype)
    at = np.empty(y.shape, np.uint8 if window[0] * window[1] <= 256 else np.int32)
    M = y.shape[0] * y.shape[1]
    compiled().max_pool(x.reshape(M, *x.shape[2:]), y.reshape(M, *size), at.reshape(M, *size), *window, *stride, *pad, *dilation)
    return y, at


def places(at: Any, shape: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
    """h * W + w of the image from r * S + s of the window."""
    if window == (0, 0):
        return at
    r, s = np.divmod(at.astype(np.int64), window[1])
    h = np.arange(at.shape[2])[:, None] * stride[0] - pad[0] + r * dilation[0]
    w = np.arange(at.shape[3]) * stride[1] - pad[1] + s * dilation[1]
    return h * shape[3] + w


def max_unpool(dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Any:
    """dy at the place of each maximum, summed where windows overlap."""
    M, size = shape[0] * shape[1], at.shape[2:]
    if window == (0, 0):  # at is h * W + w
        offsets, stride, pad = np.arange(shape[2] * shape[3]), (0, 0), (0, 0)
    else:
        offsets = pool_offsets(window, dilation, shape[3])
    dx = np.empty(shape, dy.dtype)
    flat = [np.ascontiguousarray(v).reshape(M, *size) for v in (dy, at)]
    compiled().max_unpool(*flat, dx.reshape(M, *shape[2:]), offsets, *stride, *pad)
    return dx


def max_take(x: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
    """What lies at the place of each maximum."""
    index = places(at, x.shape, window, stride, pad, dilation)
    flat = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
    return np.take_along_axis(flat, index.reshape(*at.shape[:2], at.shape[2] * at.shape[3]), 2).reshape(at.shape)


def _counts(window: Any, stride: Any, pad: Any, size: Any, include: bool, divisor: int, extent: Any, dtype: Any) -> Any:
    """How many elements each window is divided by: (P, Q), or a number."""
    if divisor:
        return dtype.type(divisor)
    each = []
    for n, s, r, p, h in zip(size, stride, window, pad, extent):
        start = np.arange(n) * s - p
        stop = np.minimum(start + r, h + p)
        each.append(stop - start if include else np.minimum(stop, h) - np.maximum(start, 0))
    return (each[0][:, None] * each[1]).astype(dtype)


def avg_forward(x: Any, window: Any, stride: Any, pad: Any, size: Any, include: bool, divisor: int) -> Any:
    if window == (0, 0):
        y = np.empty((*x.shape[:2], *size), x.dtype)
        for p, (h0, h1) in enumerate(bounds(size[0], x.shape[2])):
            for q, (w0, w1) in enumerate(bounds(size[1], x.shape[3])):
                y[:, :, p, q] = x[:, :, h0:h1, w0:w1].mean((2, 3))
        return y
    room = _padded(x, 0, window, stride, pad, (1, 1), size)
    y = _shifted(room, 0, 0, stride, (1, 1), size).copy()
    for r in range(window[0]):
        for s in range(window[1]):
            if r or s:
                y += _shifted(room, r, s, stride, (1, 1), size)
    y /= _counts(window, stride, pad, size, include, divisor, x.shape[2:], x.dtype)
    return y


def avg_backward(dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int, shape: Any) -> Any:
    N, C, H, W = shape
    size = dy.shape[2:]
    if window == (0, 0):
        dx = np.zeros(shape, dy.dtype)
        for p, (h0, h1) in enumerate(bounds(size[0], H)):
            for q, (w0, w1) in enumerate(bounds(size[1], W)):
                dx[:, :, h0:h1, w0:w1] += (dy[:, :, p, q] / ((h1 - h0) * (w1 - w0)))[:, :, None, None]
        return dx
    share = dy / _counts(window, stride, pad, size, include, divisor, (H, W), dy.dtype)
    need = [(n - 1) * s + r for n, s, r in zip(size, stride, window)]
    room = np.zeros((N, C, max(need[0], H + pad[0]), max(need[1], W + pad[1])), dy.dtype)
    for r in range(window[0]):
        for s in range(window[1]):
            view = _shifted(room, r, s, stride, (1, 1), size)
            view += share
    return room[:, :, pad[0] : pad[0] + H, pad[1] : pad[1] + W]
