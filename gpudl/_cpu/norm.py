"""Loops of batch, layer and group norm, compiled by Numba: each value is in cache when it is needed again.

Arrays are C-contiguous, statistics and parameters of the array's dtype (float32 or float64). Sums may be taken in any order (`reassoc`), which
lets LLVM keep several partial sums in a vector register; nothing else of IEEE arithmetic is given up, so NaN and infinity go where they should.
An array that a loop writes stands beside few others in it: LLVM has to ask whether they overlap, and gives up from some number of pairs on.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

u = np.uint64


def jit(function: Any) -> Any:
    options: dict[str, Any] = dict(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that the cache could be written to
        return numba.njit(**options)(function)


@jit
def rows_forward(x, weight, bias, y, mean, rstd, planes, zero, eps):
    """y = (x - mean) * rstd * weight + bias for each row of x (M, N).

    planes 0: element j has weight[j] and bias[j]. Else a row is `planes` runs with one weight and bias each, and row m has those from
    planes * m on, modulo their number.
    """
    M, N = x.shape
    source, out = x.reshape(-1), y.reshape(-1)
    n, count = u(N), zero + N
    for m in range(M):
        at = u(m) * n
        total = zero
        for j in range(n):
            total += source[at + j]
        mu = total / count
        squares = zero
        for j in range(n):
            d = source[at + j] - mu
            squares += d * d
        one = zero + 1
        rs = one / np.sqrt(squares / count + eps)
        mean[m] = mu
        rstd[m] = rs
        if planes == 0:
            for j in range(n):
                out[at + j] = (source[at + j] - mu) * rs * weight[j] + bias[j]
        else:
            length, first = u(N // planes), (m * planes) % weight.size
            for k in range(planes):
                scale, shift = rs * weight[first + k], bias[first + k]
                start = at + u(k) * length
                for j in range(length):
                    out[start + j] = (source[start + j] - mu) * scale + shift


@jit
def rows_backward(dy, x, weight, mean, rstd, dx, dw, db, planes, zero):
    """dx of each row of (M, N), and dw, db (added to what they hold); planes as in `rows_forward`."""
    M, N = x.shape
    given, source, out = dy.reshape(-1), x.reshape(-1), dx.reshape(-1)
    n, count = u(N), zero + N
    for m in range(M):
        at, mu, rs = u(m) * n, mean[m], rstd[m]
        total = dot = zero
        if planes == 0:
            for j in range(n):
                g = given[at + j] * weight[j]
                total += g
                dot += g * (source[at + j] - mu)
            total, dot = total / count, dot * rs * rs / count
            for j in range(n):
                out[at + j] = rs * (given[at + j] * weight[j] - total - (source[at + j] - mu) * dot)
            for j in range(n):
                dw[j] += given[at + j] * (source[at + j] - mu) * rs
                db[j] += given[at + j]
        else:
            length, first = u(N // planes), (m * planes) % weight.size
            for k in range(planes):
                start, of_plane, dot_of_plane = at + u(k) * length, zero, zero
                for j in range(length):
                    of_plane += given[start + j]
                    dot_of_plane += given[start + j] * (source[start + j] - mu)
                dw[first + k] += dot_of_plane * rs
                db[first + k] += of_plane
                total += of_plane * weight[first + k]
                dot += dot_of_plane * weight[first + k]
            total, dot = total / count, dot * rs * rs / count
            for k in range(planes):
                start, w = at + u(k) * length, weight[first + k]
                for j in range(length):
                    out[start + j] = rs * (given[start + j] * w - total - (source[start + j] - mu) * dot)


@jit
def channel_moments(x, mean, var, zero):
    """Mean and biased variance of each channel of x (N, C, L)."""
    N, C, L = x.shape
    source, length = x.reshape(-1), u(L)
    count = zero + N * L
    for c in range(C):
        total = zero
        for i in range(N):
            at, part = u((i * C + c) * L), zero
            for j in range(length):
                part += source[at + j]
            total += part
        mu = total / count
        squares = zero
        for i in range(N):
            at, part = u((i * C + c) * L), zero
            for j in range(length):
                d = source[at + j] - mu
                part += d * d
            squares += part
        mean[c] = mu
        var[c] = squares / count


@jit
def channel_apply(x, residual, mean, scale, shift, y, add, relu, zero):
    """y = (x - mean) * scale + shift (+ residual where add) (at least 0 where relu) for each channel of x (N, C, L)."""
    N, C, L = x.shape
    source, other, out, length = x.reshape(-1), residual.reshape(-1), y.reshape(-1), u(L)
    for i in range(N):
        for c in range(C):
            at, mu, a, b = u((i * C + c) * L), mean[c], scale[c], shift[c]
            if add:
                for j in range(length):
                    out[at + j] = (source[at + j] - mu) * a + b + other[at + j]
            else:
                for j in range(length):
                    out[at + j] = (source[at + j] - mu) * a + b
            if relu:
                for j in range(length):
                    v = out[at + j]
                    out[at + j] = zero if v < 0 else v  # NaN stays


@jit
def channel_mask(dy, y, g):
    """g = dy where y > 0 or is NaN, else 0."""
    given, seen, out = dy.reshape(-1), y.reshape(-1), g.reshape(-1)
    for j in range(u(given.size)):
        out[j] = 0 if seen[j] <= 0 else given[j]


@jit
def channel_backward(dy, x, mean, rstd, scale, dx, dw, db, train, zero):
    """dx, dw and db of each channel of (N, C, L)."""
    N, C, L = x.shape
    given, source, out, length = dy.reshape(-1), x.reshape(-1), dx.reshape(-1), u(L)
    count = zero + N * L
    for c in range(C):
        mu, rs, a = mean[c], rstd[c], scale[c]
        total = dot = zero
        for i in range(N):
            at, part, product = u((i * C + c) * L), zero, zero
            for j in range(length):
                part += given[at + j]
                product += given[at + j] * (source[at + j] - mu)
            total += part
            dot += product
        db[c] = total
        dw[c] = dot * rs
        if train:
            total, dot = total / count, dot * rs * rs / count
            for i in range(N):
                at = u((i * C + c) * L)
                for j in range(length):
                    out[at + j] = a * (given[at + j] - total - (source[at + j] - mu) * dot)
        else:
            for i in range(N):
                at = u((i * C + c) * L)
                for j in range(length):
                    out[at + j] = a * given[at + j]


@jit
def column_moments(x, mean, var, zero):
    """Mean and biased variance of each column of x (N, C)."""
    N, C = x.shape
    source, n, count = x.reshape(-1), u(C), zero + N
    mean[:] = 0
    var[:] = 0
    for i in range(N):
        at = u(i) * n
        for j in range(n):
            mean[j] += source[at + j]
    for j in range(n):
        mean[j] /= count
    for i in range(N):
        at = u(i) * n
        for j in range(n):
            d = source[at + j] - mean[j]
            var[j] += d * d
    for j in range(n):
        var[j] /= count


@jit
def column_apply(x, residual, mean, scale, shift, y, add, relu, zero):
    """y = (x - mean) * scale + shift (+ residual where add) (at least 0 where relu) for each column of x (N, C)."""
    N, C = x.shape
    source, other, out, n = x.reshape(-1), residual.reshape(-1), y.reshape(-1), u(C)
    for i in range(N):
        at = u(i) * n
        for j in range(n):
            out[at + j] = (source[at + j] - mean[j]) * scale[j] + shift[j]
        if add:
            for j in range(n):
                out[at + j] += other[at + j]
        if relu:
            for j in range(n):
                v = out[at + j]
                out[at + j] = zero if v < 0 else v  # NaN stays


@jit
def column_backward(dy, x, mean, rstd, scale, dx, dw, db, train, zero):
    """dx, dw and db of each column of (N, C)."""
    N, C = x.shape
    given, source, out, n, count = dy.reshape(-1), x.reshape(-1), dx.reshape(-1), u(C), zero + N
    dw[:] = 0
    db[:] = 0
    for i in range(N):
        at = u(i) * n
        for j in range(n):
            db[j] += given[at + j]
        for j in range(n):
            dw[j] += given[at + j] * (source[at + j] - mean[j])
    offset, slope = np.zeros(C, x.dtype), np.zeros(C, x.dtype)
    for j in range(n):
        dw[j] *= rstd[j]
        if train:
            offset[j] = db[j] / count
            slope[j] = dw[j] * rstd[j] / count
    for i in range(N):
        at = u(i) * n
        for j in range(n):
            out[at + j] = (source[at + j] - mean[j]) * slope[j]
        for j in range(n):
            out[at + j] = scale[j] * (given[at + j] - offset[j] - out[at + j])
