"""Max pooling in Numba, forward with either form of index, backward as a gather. Windows as in pool/window.cuh; R = 0 is adaptive pooling."""
# ruff: noqa: F722, F821

import math

from numba import cuda

OFFSETS = "I" in globals() and I.bitwidth == 8  # the form of index that backward gets


@cuda.jit(device=True)
def first(p, extent, count, window, stride, pad):
    return p * stride - pad if window else p * extent // count


@cuda.jit(device=True)
def last(p, extent, count, window, stride, pad, dilation):
    return p * stride - pad + (window - 1) * dilation + 1 if window else ((p + 1) * extent + count - 1) // count


@cuda.jit
def forward_naive(
    x: "const T*", y: "T*", at: "int64_t*", M: "int64_t", H: "int", W: "int", P: "int", Q: "int", R: "int", S: "int",
    stride_h: "int", stride_w: "int", pad_h: "int", pad_w: "int", dilation_h: "int", dilation_w: "int",
):  # fmt: skip
    """One thread a result, which keeps the place of its maximum in 8 bytes."""
    i = cuda.grid(1)
    if i < M * P * Q:
        q, p, m = i % Q, i // Q % P, i // Q // P
        hi, best = acc_t(-math.inf), -1  # the first element inside the image, even if it is -inf
        for h in range(first(p, H, P, R, stride_h, pad_h), min(last(p, H, P, R, stride_h, pad_h, dilation_h), H), dilation_h):
            for v in range(first(q, W, Q, S, stride_w, pad_w), min(last(q, W, Q, S, stride_w, pad_w, dilation_w), W), dilation_w):
                if h >= 0 and v >= 0:
                    value = acc_t(x[(m * H + h) * W + v])
                    if value > hi or value != value or best < 0:
                        hi, best = value, h * W + v
        y[i] = hi
        at[i] = best


@cuda.jit
def forward_offsets(
    x: "const T*", y: "T*", at: "uint8_t*", M: "int64_t", H: "int", W: "int", P: "int", Q: "int", R: "int", S: "int",
    stride_h: "int", stride_w: "int", pad_h: "int", pad_w: "int", dilation_h: "int", dilation_w: "int",
):  # fmt: skip
    """The place of the maximum as a number within the window, 1 byte in place of 8."""
    i = cuda.grid(1)
    if i < M * P * Q:
        q, p, m = i % Q, i // Q % P, i // Q // P
        top, left = first(p, H, P, R, stride_h, pad_h), first(q, W, Q, S, stride_w, pad_w)
        hi, best = acc_t(-math.inf), -1
        for r in range(R):
            for s in range(S):
                h, v = top + r * dilation_h, left + s * dilation_w
                if h >= 0 and h < H and v >= 0 and v < W:
                    value = acc_t(x[(m * H + h) * W + v])
                    if value > hi or value != value or best < 0:
                        hi, best = value, r * S + s
        y[i] = hi
        at[i] = best


@cuda.jit
def backward_gather(
    dy: "const T*", at: "const I*", dx: "T*", M: "int64_t", H: "int", W: "int", P: "int", Q: "int", R: "int", S: "int",
    stride_h: "int", stride_w: "int", pad_h: "int", pad_w: "int", dilation_h: "int", dilation_w: "int",
):  # fmt: skip
    """One thread an element of dx, which looks for itself in every window that covers it: no atomic additions."""
    i = cuda.grid(1)
    if i < M * H * W:
        w, h, m = i % W, i // W % H, i // W // H
        total = acc_t(0)
        for r in range(R):
            for s in range(S):
                top, left = h + pad_h - r * dilation_h, w + pad_w - s * dilation_w  # of the window of which (h, w) is element (r, s)
                if top >= 0 and top % stride_h == 0 and top // stride_h < P and left >= 0 and left % stride_w == 0 and left // stride_w < Q:
                    e = (m * P + top // stride_h) * Q + left // stride_w
                    if at[e] == (r * S + s if OFFSETS else h * W + w):
                        total += acc_t(dy[e])
        dx[i] = total
