"""What a matrix product or a convolution does to its result before it is stored: add a bias, apply an activation.

Every activation here has a derivative that follows from its output, so the fused op keeps one array, its result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl._tensor import Tensor

ACTIVATIONS = ("relu", "sigmoid", "tanh")


def check(op: str, activation: Any) -> None:
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation {activation!r} is not fused; it has {', '.join(map(repr, ACTIVATIONS))} and None")


def forward_(y: np.ndarray, act: str | None) -> np.ndarray:
    """The activation of y, in y's memory."""
    if act == "relu":
        np.maximum(y, 0, out=y)  # keeps a NaN, as PyTorch does
    elif act == "sigmoid":
        e = np.exp(-np.abs(y))  # never overflows
        np.divide(np.where(y < 0, e, 1), 1 + e, out=y)
    elif act == "tanh":
        np.tanh(y, out=y)
    return y


def backward(dy: Any, y: Any, act: str | None) -> Any:
    """The gradient before the activation, from the one after it and the output; arrays or Tensors."""
    if act == "relu":
        if isinstance(dy, Tensor):
            from gpudl import ops

            return ops.where(y <= 0, 0.0, dy)
        return np.where(y <= 0, dy.dtype.type(0), dy)
    if act == "sigmoid":
        return dy * (y * (1 - y))
    if act == "tanh":
        return dy * (1 - y * y)
    return dy
