"""Loops that NumPy has no fast form of, compiled by Numba and kept in its cache on disk.

Arrays are C-contiguous; the kernels walk through flat views with unsigned offsets, because Numba gives a signed index a test for negative
values, and with it LLVM does not vectorise. Results do not depend on the number of threads: there is one.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

u = np.uint64


def jit(function: Any) -> Any:
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder that the cache could be written to
        return numba.njit(nogil=True, error_model="numpy")(function)


@jit
def span(shift, stride, count, extent):
    """The q in [0, count) with 0 <= q * stride + shift < extent, as (first, end)."""
    first = 0 if shift >= 0 else (-shift + stride - 1) // stride
    end = 0 if shift >= extent else (extent - 1 - shift) // stride + 1
    first, end = min(first, count), min(end, count)
    return first, max(first, end)


@jit
def im2col(x, cols, n0, p0, R, S, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w):
    """cols (C * R * S, n, p, Q): what filter element (c, r, s) meets at each place of images n0, ... and rows p0, ...; zero outside x."""
    n, P, Q = cols.shape[1:]
    C, H, W = x.shape[1:]
    source, out = x.reshape(-1), cols.reshape(-1)
    to = u(0)
    for c in range(C):
        for r in range(R):
            for s in range(S):
                shift = s * dilation_w - pad_w
                first, end = span(shift, stride_w, Q, W)
                for i in range(n):
                    plane = ((n0 + i) * C + c) * H
                    for p in range(P):
                        h = (p0 + p) * stride_h + r * dilation_h - pad_h
                        if h < 0 or h >= H:
                            for q in range(Q):
                                out[to + u(q)] = 0
                        else:
                            for q in range(first):
                                out[to + u(q)] = 0
                            start, put = u((plane + h) * W + first * stride_w + shift), to + u(first)
                            if stride_w == 1:
                                for q in range(end - first):
                                    out[put + u(q)] = source[start + u(q)]
                            else:
                                for q in range(end - first):
                                    out[put + u(q)] = source[start + u(q) * u(stride_w)]
                            for q in range(end, Q):
                                out[to + u(q)] = 0
                        to += u(Q)


@jit
def col2im(cols, dx, n0, p0, R, S, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w):
    """Add every element of cols to the place of dx that im2col took it from."""
    n, P, Q = cols.shape[1:]
    C, H, W = dx.shape[1:]
    source, out = cols.reshape(-1), dx.reshape(-1)
    at = u(0)
    for c in range(C):
        for r in range(R):
            for s in range(S):
                shift = s * dilation_w - pad_w
                first, end = span(shift, stride_w, Q, W)
                for i in range(n):
                    plane = ((n0 + i) * C + c) * H
                    for p in range(P):
                        h = (p0 + p) * stride_h + r * dilation_h - pad_h
                        if h >= 0 and h < H:
                            put, start = u((plane + h) * W + first * stride_w + shift), at + u(first)
                            if stride_w == 1:
                                for q in range(end - first):
                                    out[put + u(q)] += source[start + u(q)]
                            else:
                                for q in range(end - first):
                                    out[put + u(q) * u(stride_w)] += source[start + u(q)]
                        at += u(Q)


@jit
def store(z, bias, y, n0, relu):
    """y[n0 + i, k] = z[k, i] + bias[k], with ReLU where it is asked for; z (K, n, PQ), y (N, K, PQ)."""
    K, n, places = z.shape
    source, out, zero = z.reshape(-1), y.reshape(-1), z.dtype.type(0)
    at = u(0)
    for k in range(K):
        b = bias[k]
        for i in range(n):
            to = u(((n0 + i) * K + k) * places)
            if relu:
                for j in range(places):
                    v = source[at + u(j)] + b
                    out[to + u(j)] = zero if v <= 0 else v
            else:
                for j in range(places):
                    out[to + u(j)] = source[at + u(j)] + b
            at += u(places)


@jit
def turn(dy, z, n0):
    """z[k, i] = dy[n0 + i, k]; dy (N, K, PQ), z (K, n, PQ)."""
    K, n, places = z.shape
    source, out = dy.reshape(-1), z.reshape(-1)
    to = u(0)
    for k in range(K):
        for i in range(n):
            at = u(((n0 + i) * K + k) * places)
            for j in range(places):
                out[to + u(j)] = source[at + u(j)]
            to += u(places)


@jit
def windows_2(source, start, Q, bias, y, at, to, count):
    """Neighbouring windows of 2 x 2, two columns apart and all inside the plane: constants, so that it becomes vector instructions."""
    for j in range(count):
        get = start + u(2) * u(j)
        best, code = source[get] + bias, 0
        for a in range(2):
            for b in range(2):
                v = source[get + u(a) * u(Q) + u(b)] + bias
                better = (v > best) | (v != v)
                best = v if better else best
                code = a * 2 + b if better else code
        y[to + u(j)] = best
        at[to + u(j)] = code


def across(step: int) -> Any:
    """Maxima of three neighbours of a row, `step` columns apart, and which of the three they are."""

    @jit
    def loop(source, start, bias, best, code, to, count):
        for j in range(count):
            get = start + u(step) * u(j)
            v, c = source[get] + bias, 0
            for b in range(1, 3):
                w = source[get + u(b)] + bias
                better = (w > v) | (w != w)
                v = w if better else v
                c = b if better else c
            best[to + u(j)] = v
            code[to + u(j)] = c

    return loop


across_1, across_2 = across(1), across(2)


@jit
def down(best, code, start, J, y, at, to, count):
    """Maxima of three such rows, one below the other: those of windows of 3 x 3."""
    for j in range(count):
        get = start + u(j)
        v, c = best[get], np.int32(code[get])
        for a in range(1, 3):
            below = get + u(a) * u(J)
            w = best[below]
            better = (w > v) | (w != w)
            v = w if better else v
            c = np.int32(3 * a) + code[below] if better else c
        y[to + u(j)] = v
        at[to + u(j)] = c


@jit
def whole(step, rim, extent, span, count):
    """The windows in [0, count) that lie inside a line of `extent`, as (first, end)."""
    first = min(-(-rim // step), count)
    return first, max(first, min((extent + rim - span) // step + 1, count) if extent + rim >= span else first)


@jit
def window(source, start, P, Q, bias, y, at, to, A, B, top, left):
    """One window, element by element: the first is at (top, left), which may lie outside."""
    best, code = source.dtype.type(-np.inf), max(-top, 0) * B + max(-left, 0)
    for p in range(max(top, 0), min(top + A, P)):
        for q in range(max(left, 0), min(left + B, Q)):
            v = source[start + u(p * Q + q)] + bias
            if v > best or v != v:
                best, code = v, (p - top) * B + q - left
    y[to] = best
    at[to] = code


@jit
def maximum(source, start, P, Q, bias, y, at, to, I, J, A, B, step_h, step_w, rim_h, rim_w, spread_h, spread_w):
    """Max pooling of one plane (P, Q) of source + bias from `start` on into y and at (a * B + b in the window) from `to` on, (I, J)."""
    common = spread_h == 1 and spread_w == 1 and A == B and (A == 2 and step_w == 2 or A == 3 and 1 <= step_w <= 2)
    i0, i1 = whole(step_h, rim_h, P, A, I) if common else (0, 0)
    j0, j1 = whole(step_w, rim_w, Q, B, J) if common else (0, 0)
    rows = P if A == 3 and i1 > i0 else 0
    tops, which = np.empty(rows * (j1 - j0), source.dtype), np.empty(rows * (j1 - j0), np.uint8)
    for p in range(rows):  # each row's maxima of three once, for the three rows of windows that need them
        get, put = start + u(p * Q + j0 * step_w - rim_w), u(p * (j1 - j0))
        if step_w == 1:
            across_1(source, get, bias, tops, which, put, j1 - j0)
        else:
            across_2(source, get, bias, tops, which, put, j1 - j0)
    for i in range(I):
        row = to + u(i * J)
        if i0 <= i < i1:
            if A == 2:
                windows_2(source, start + u((i * step_h - rim_h) * Q + j0 * step_w - rim_w), Q, bias, y, at, row + u(j0), j1 - j0)
            else:
                down(tops, which, u((i * step_h - rim_h) * (j1 - j0)), j1 - j0, y, at, row + u(j0), j1 - j0)
            for j in range(j0):
                window(source, start, P, Q, bias, y, at, row + u(j), A, B, i * step_h - rim_h, j * step_w - rim_w)
            for j in range(j1, J):
                window(source, start, P, Q, bias, y, at, row + u(j), A, B, i * step_h - rim_h, j * step_w - rim_w)
            continue
        top = i * step_h - rim_h
        inside = 0 if top >= 0 else (-top + spread_h - 1) // spread_h
        for j in range(J):
            left = j * step_w - rim_w
            first = 0 if left >= 0 else (-left + spread_w - 1) // spread_w
            y[row + u(j)] = -np.inf
            at[row + u(j)] = inside * B + first  # what a window of nothing but -inf points at
        for a in range(A):
            p = top + a * spread_h
            if p < 0 or p >= P:
                continue
            for b in range(B):
                shift = b * spread_w - rim_w
                first, end = span(shift, step_w, J, Q)
                get, put, code = start + u(p * Q + first * step_w + shift), row + u(first), a * B + b
                if step_w == 1:
                    for j in range(end - first):
                        v, best = source[get + u(j)] + bias, y[put + u(j)]
                        better = (v > best) | (v != v)
                        y[put + u(j)] = v if better else best
                        at[put + u(j)] = code if better else at[put + u(j)]
                elif step_w == 2:
                    for j in range(end - first):
                        v, best = source[get + u(2) * u(j)] + bias, y[put + u(j)]
                        better = (v > best) | (v != v)
                        y[put + u(j)] = v if better else best
                        at[put + u(j)] = code if better else at[put + u(j)]
                else:
                    for j in range(end - first):
                        v, best = source[get + u(j) * u(step_w)] + bias, y[put + u(j)]
                        better = (v > best) | (v != v)
                        y[put + u(j)] = v if better else best
                        at[put + u(j)] = code if better else at[put + u(j)]


@jit
def max_pool(x, y, at, A, B, step_h, step_w, rim_h, rim_w, spread_h, spread_w):
    """x (M, P, Q) into y and at (M, I, J)."""
    P, Q = x.shape[1:]
    I, J = y.shape[1:]
    zero = x.dtype.type(0)
    source, out, places = x.reshape(-1), y.reshape(-1), at.reshape(-1)
    for m in range(x.shape[0]):
        maximum(source, u(m * P * Q), P, Q, zero, out, places, u(m * I * J), I, J, A, B, step_h, step_w, rim_h, rim_w, spread_h, spread_w)


@jit
def bias_relu_max_pool(z, bias, y, at, n0, A, B, step_h, step_w, rim_h, rim_w, spread_h, spread_w):
    """y[n0 + i, k] = relu(max pooling of z[k, i] + bias[k]); z (K, n, P, Q), y and at (N, K, I, J). ReLU and maximum may change places."""
    K, n, P, Q = z.shape
    I, J = y.shape[2:]
    source, out, places, zero = z.reshape(-1), y.reshape(-1), at.reshape(-1), z.dtype.type(0)
    for k in range(K):
        for i in range(n):
            to = u(((n0 + i) * K + k) * I * J)
            start = u((k * n + i) * P * Q)
            maximum(source, start, P, Q, bias[k], out, places, to, I, J, A, B, step_h, step_w, rim_h, rim_w, spread_h, spread_w)
            for j in range(I * J):
                v = out[to + u(j)]
                out[to + u(j)] = zero if v <= 0 else v


@jit
def max_unpool(dy, at, dx, offsets, step_h, step_w, rim_h, rim_w):
    """dx (M, P, Q) = dy (M, I, J) at the place of each maximum; offsets[at] is that place's distance from the window's first one."""
    I, J = dy.shape[1:]
    P, Q = dx.shape[1:]
    source, places, out = dy.reshape(-1), at.reshape(-1), dx.reshape(-1)
    out[:] = 0
    for m in range(dy.shape[0]):
        for i in range(I):
            e = u((m * I + i) * J)
            first = m * P * Q + (i * step_h - rim_h) * Q - rim_w
            for j in range(J):
                out[u(first + j * step_w + offsets[places[e + u(j)]])] += source[e + u(j)]


@jit
def max_unpool_relu(dy, y, at, z, db, n0, offsets, step_h, step_w, rim_h, rim_w):
    """z[k, i] = dy[n0 + i, k] at the place of each maximum where y > 0, and db[k] += their sum; dy, y, at (N, K, I, J), z (K, n, P, Q)."""
    K, I, J = dy.shape[1:]
    n, P, Q = z.shape[1:]
    source, result, places, out = dy.reshape(-1), y.reshape(-1), at.reshape(-1), z.reshape(-1)
    out[:] = 0
    for k in range(K):
        total = 0.0
        for i in range(n):
            for p in range(I):
                e = u((((n0 + i) * K + k) * I + p) * J)
                first = (k * n + i) * P * Q + (p * step_h - rim_h) * Q - rim_w
                for j in range(J):
                    if not result[e + u(j)] <= 0:
                        g = source[e + u(j)]
                        out[u(first + j * step_w + offsets[places[e + u(j)]])] += g
                        total += g
        db[k] += total


@jit
def adam(p, g, m, v, largest, sign, decay, shrink, b1, b2, root, eps, rate):
    """A step of Adam over flat arrays: what optim.Adam._update does one array after the other, in the same order.

    sign is -1 to maximize, decay goes through the gradient, the parameter is multiplied by shrink; b1 and b2 are (beta, 1 - beta),
    root = sqrt(1 - beta2^t), rate = lr / (1 - beta1^t); largest is empty without amsgrad. Numbers are of the arrays' dtype.
    """
    for i in range(p.size):
        w = p[u(i)] * shrink
        d = g[u(i)] * sign
        if decay != 0:
            d += w * decay
        a = m[u(i)] + (d - m[u(i)]) * b1[1]
        b = v[u(i)] * b2[0] + d * d * b2[1]
        m[u(i)] = a
        v[u(i)] = b
        if largest.size:
            b = largest[u(i)] if largest[u(i)] > b or largest[u(i)] != largest[u(i)] else b  # NaN stays
            largest[u(i)] = b
        p[u(i)] = w - a / (math.sqrt(b) / root + eps) * rate
