"""What a matrix product or a convolution does to its result before it is stored: add a bias, apply an activation.

Every activation here has a derivative that follows from its output, so the fused op keeps one array, its result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl._tensor import Tensor
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import rectify, select

ACTIVATIONS = ("relu", "sigmoid", "tanh")

BLOCK = 256
CHUNK = 4096  # elements of one channel that a block sums
ROWS = 8  # warps of a block, each with rows of its own
ladder(
    "epilogue.backward",
    Kernel("01_naive.cu", grid=lambda K: ceil_div(K, BLOCK), block=BLOCK, BLOCK=BLOCK, traffic=lambda O, K, I, itemsize: 3 * itemsize * O * K * I),
    Kernel(
        "02_two_pass.cu",
        Step("epilogue_bwd", grid=lambda O, K, I: (K, ceil_div(O * I, CHUNK)), block=BLOCK),
        Step("epilogue_bwd_db", grid=lambda K: ceil_div(K, BLOCK), block=BLOCK),
        BLOCK=BLOCK,
        CHUNK=CHUNK,
        workspace={"partial": lambda O, K, I: ((K, ceil_div(O * I, CHUNK)), "acc")},
        when=lambda O, I: ceil_div(O * I, CHUNK) < 65536,
        traffic=lambda O, K, I, itemsize: 3 * itemsize * O * K * I,
    ),
    Kernel(
        "03_columns.cu",
        grid=lambda K: ceil_div(K, 32),
        block=(32, ROWS),
        ROWS=ROWS,
        when=lambda I: I == 1,
        traffic=lambda O, K, itemsize: 3 * itemsize * O * K,
    ),
)


def check(op: str, activation: Any) -> None:
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation {activation!r} is not fused; it has {', '.join(map(repr, ACTIVATIONS))} and None")


def forward_(y: np.ndarray, act: str | None) -> np.ndarray:
    """The activation of y, in y's memory."""
    if act == "relu":
        rectify(y, out=y)
    elif act == "sigmoid":
        np.exp(np.negative(y, out=y), out=y)  # as ops.sigmoid, bit for bit; exp overflows to inf, which gives the 0 wanted
        y += 1
        np.reciprocal(y, out=y)
    elif act == "tanh":
        np.tanh(y, out=y)
    return y


def backward(dy: Any, y: Any, act: str | None) -> Any:
    """The gradient before the activation, from the one after it and the output; arrays or Tensors."""
    if act == "relu":
        if isinstance(dy, Tensor):
            from gpudl import ops

            return ops.where(y <= 0, 0.0, dy)
        return select(y <= 0, 0.0, dy)
    if act == "sigmoid":
        return dy * (y * (1 - y))
    if act == "tanh":
        return dy * (1 - y * y)
    return dy


def defines(bias: bool, act: str | None) -> dict[str, Any]:
    """The macros of kernels/epilogue/epilogue.cuh."""
    name = {None: "identity", "tanh": "hyperbolic_tangent"}.get(act, act)
    return {"BIAS": int(bias), "ACT": name, "ACTIVE": int(act is not None)}


def backward_kernel(op: Any, dy: Any, y: Any, act: str | None, bias: bool, channel: int) -> Any:
    """(gradient before the activation, bias's gradient or None), in one pass over dy; `channel` is the axis that the bias runs along."""
    if not bias and act is None:
        return dy, None
    K = dy.shape[channel]
    db = op.device.empty((K,), dy.dtype)
    g = op.device.empty(dy.shape, dy.dtype) if act else db  # db stands in for what this kernel does not touch
    O, I = math.prod(dy.shape[:channel]), math.prod(dy.shape[channel + 1 :])
    op.launch("epilogue.backward", defines(bias, act), dy=dy, y=y if act else dy, g=g, db=db, O=O, K=K, I=I)
    return g if act else dy, db if bias else None
