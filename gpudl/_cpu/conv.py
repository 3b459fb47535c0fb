"""Convolution on the CPU: patches of the image laid out as the rows of a matrix, then BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.ops import _epilogue


def _patches(x: Any, stride: Any, pad: Any, dilation: Any, size: Any, window: Any) -> Any:
    """A view (N, P, Q, C, R, S) of x padded with zeros."""
    (P, Q), (R, S) = size, window
    N, C, H, W = x.shape
    need = [(n - 1) * s + (r - 1) * d + 1 for n, s, r, d in zip(size, stride, window, dilation)]
    if pad != (0, 0) or need[0] > H or need[1] > W:
        room = np.zeros((N, C, max(need[0], H + pad[0]), max(need[1], W + pad[1])), x.dtype)
        room[:, :, pad[0] : pad[0] + H, pad[1] : pad[1] + W] = x
        x = room
    n, c, h, w = x.strides
    steps = (n, h * stride[0], w * stride[1], c, h * dilation[0], w * dilation[1])
    return np.lib.stride_tricks.as_strided(x, (N, P, Q, C, R, S), steps, writeable=False)


def forward(x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: str | None = None) -> Any:
    (K, c), N, (P, Q) = w.shape[:2], len(x), size
    patches = _patches(x, stride, pad, dilation, size, w.shape[2:])
    y = np.empty((N, P, Q, K), x.dtype)
    for g in range(groups):
        k = slice(g * K // groups, (g + 1) * K // groups)
        rows = patches[:, :, :, g * c : (g + 1) * c].reshape(N * P * Q, w[0].size)
        y[..., k] = (rows @ w[k].reshape(K // groups, w[0].size).T).reshape(N, P, Q, K // groups)
    if b is not None:
        y += b
    return _epilogue.forward_(y, act).transpose(0, 3, 1, 2)


def wgrad(x: Any, dy: Any, stride: Any, pad: Any, dilation: Any, groups: int, window: Any) -> Any:
    N, K, P, Q = dy.shape
    c = x.shape[1] // groups
    patches = _patches(x, stride, pad, dilation, (P, Q), window)
    flat = dy.transpose(0, 2, 3, 1).reshape(N * P * Q, K)
    dw = np.empty((K, c, *window), x.dtype)
    for g in range(groups):
        k = slice(g * K // groups, (g + 1) * K // groups)
        rows = patches[:, :, :, g * c : (g + 1) * c].reshape(N * P * Q, c * window[0] * window[1])
        dw[k] = (flat[:, k].T @ rows).reshape(K // groups, c, *window)
    return dw


def dgrad(dy: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
    N, K, P, Q = dy.shape
    _, c, R, S = w.shape
    C = c * groups
    need = [(n - 1) * s + (r - 1) * d + 1 for n, s, r, d in zip((P, Q), stride, (R, S), dilation)]
    room = np.zeros((N, max(need[0], size[0] + pad[0]), max(need[1], size[1] + pad[1]), C), dy.dtype)
    flat = dy.transpose(0, 2, 3, 1).reshape(N * P * Q, K)
    for g in range(groups):
        k = slice(g * K // groups, (g + 1) * K // groups)
        for r in range(R):
            for s in range(S):
                h, v = r * dilation[0], s * dilation[1]
                part = (flat[:, k] @ w[k, :, r, s]).reshape(N, P, Q, c)
                room[:, h : h + (P - 1) * stride[0] + 1 : stride[0], v : v + (Q - 1) * stride[1] + 1 : stride[1], g * c : (g + 1) * c] += part
    return room[:, pad[0] : pad[0] + size[0], pad[1] : pad[1] + size[1]].transpose(0, 3, 1, 2)
