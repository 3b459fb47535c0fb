"""What a matrix product or a convolution does to its result before it is stored: add a bias, apply an activation.

An activation is written as its name or, where it has a number (a slope), as (name, number). Most have a derivative that follows from the
output, which the fused op hands out anyway: nothing else is kept. GELU and SiLU fall and then grow, so one output has two inputs, and the sum
itself has to be kept. Taking it from another product in backward would cost 2*K operations an element; storing it costs one write.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpudl._tensor import Tensor
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import rectify, select

FROM_OUTPUT = ("relu", "sigmoid", "tanh", "leaky_relu", "elu")  # the derivative follows from the output
FROM_SUM = ("gelu", "gelu_tanh", "silu")  # and here from what the activation was given
ACTIVATIONS = FROM_OUTPUT + FROM_SUM
CODES = (None, *ACTIVATIONS)  # as kernels/epilogue/epilogue.cuh counts them
NUMBERS = {"leaky_relu": 0.01, "elu": 1.0}  # negative_slope and alpha, PyTorch's defaults

BLOCK = 256
CHUNK = 4096  # elements of one channel that a block sums
ROWS = 8  # warps of a block, each with rows of its own


def traffic(O: int, K: int, I: int, act: int, itemsize: int) -> int:
    return itemsize * K * (O * I * (3 if act else 1) + 1)


ladder(
    "epilogue.backward",
    Kernel("01_naive.cu", grid=lambda K: ceil_div(K, BLOCK), block=BLOCK, BLOCK=BLOCK, traffic=traffic),
    Kernel(
        "02_two_pass.cu",
        Step("epilogue_bwd", grid=lambda O, K, I: (K, ceil_div(O * I, CHUNK)), block=BLOCK),
        Step("epilogue_bwd_db", grid=lambda K: ceil_div(K, BLOCK), block=BLOCK),
        BLOCK=BLOCK,
        CHUNK=CHUNK,
        workspace={"partial": lambda O, K, I: ((K, ceil_div(O * I, CHUNK)), "acc")},
        when=lambda O, I: ceil_div(O * I, CHUNK) < 65536,
        traffic=lambda O, K, I, act, itemsize: traffic(O, K, I, act, itemsize) + 2 * max(itemsize, 4) * K * ceil_div(O * I, CHUNK),
    ),
    Kernel("03_columns.cu", grid=lambda K: ceil_div(K, 32), block=(32, ROWS), ROWS=ROWS, when=lambda I: I == 1, traffic=traffic),
)


def check(op: str, activation: Any, fused: tuple[str, ...] = FROM_OUTPUT) -> Any:
    """The activation in the one form that the ops pass on: None, a name, or (name, number). ValueError for one that is not fused."""
    pair = isinstance(activation, tuple) and len(activation) == 2
    name, number = activation if pair else (activation, None)
    if name is None and not pair:
        return None
    if not isinstance(name, str) or name not in fused:
        raise ValueError(f"{op}: activation {activation!r} is not fused; it has {', '.join(map(repr, fused))} and None")
    if name not in NUMBERS:
        if pair:
            raise ValueError(f"{op}: activation {name!r} takes no number, not {number!r}")
        return name
    return name, float(NUMBERS[name] if number is None else number)


def split(act: Any) -> tuple[str | None, float]:
    return act if isinstance(act, tuple) else (act, 0.0)


def is_apart(act: Any) -> bool:
    """Whether this number makes an activation fall and grow (a negative slope), which no derivative from the output can follow."""
    return split(act)[1] < 0


def keeps_sum(act: Any) -> bool:
    return act in FROM_SUM


def _formulas(act: Any) -> tuple[Any, Any]:
    """(class of the activation's own op, which holds its formulas, and what these read their number from)."""
    from gpudl.ops import activation

    name, number = split(act)
    kinds = {"leaky_relu": "LeakyRelu", "elu": "Elu", "gelu": "Gelu", "gelu_tanh": "GeluTanh", "silu": "Silu"}
    return getattr(activation, kinds[name or ""]), SimpleNamespace(params={"p": number})


def forward_(y: np.ndarray, act: Any) -> np.ndarray:
    """The activation of y, in y's memory."""
    if act == "relu":
        rectify(y, out=y)
    elif act == "sigmoid":
        np.exp(np.negative(y, out=y), out=y)  # as ops.sigmoid, bit for bit; exp overflows to inf, which gives the 0 wanted
        y += 1
        np.reciprocal(y, out=y)
    elif act == "tanh":
        np.tanh(y, out=y)
    elif act is not None:
        y[...] = forward(y, act)[0]
    return y


def forward(z: np.ndarray, act: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """(activation of z, what `backward` needs: v, and for GELU its slow part); z's memory may be overwritten unless v is z."""
    if act == "gelu":
        kind, own = _formulas(act)
        kept: dict[str, Any] = {}
        own.save = kept.update
        y = kind.forward_cpu(own, z, None, None)
        return y, {"v": z, "cdf": kept["cdf"]}
    if act is None or act in ("relu", "sigmoid", "tanh"):
        y = forward_(z, act)
        return y, {} if act is None else {"v": y}
    kind, own = _formulas(act)
    y = np.asarray(kind.value(own, z))
    return y, {"v": z if keeps_sum(act) else y}


def backward(dy: Any, v: Any, act: Any, cdf: Any = None) -> Any:
    """The gradient before the activation, from the one after it and v, which is the output or, for FROM_SUM, the sum; arrays or Tensors."""
    if act == "relu":
        if isinstance(dy, Tensor):
            from gpudl import ops

            return ops.where(v <= 0, 0.0, dy)
        return select(v <= 0, 0.0, dy)
    if act == "sigmoid":
        return dy * (v * (1 - v))
    if act == "tanh":
        return dy * (1 - v * v)
    if act is None:
        return dy
    kind, own = _formulas(act)
    if cdf is not None:
        return kind.backward_cpu(own, dy, v, cdf)
    from gpudl.ops import elementwise

    return kind.derivative(own, elementwise.graph() if isinstance(dy, Tensor) else elementwise.arrays, dy, v)


def defines(bias: bool, act: Any, extra: int = 0) -> dict[str, Any]:
    """The macros of kernels/epilogue/epilogue.cuh; extra: what a product's array of that name is for."""
    name, number = split(act)
    out: dict[str, Any] = {"BIAS": int(bias), "ACT": {None: "identity", "tanh": "hyperbolic_tangent"}.get(name, name)}
    if name in NUMBERS:
        out["ACT_NUMBER"] = number
    return out | {"EXTRA": extra} if extra else out


def activate(op: Any, z: Any, act: Any) -> Any:
    """The activation of z as a launch of its own: z is kept."""
    from gpudl.ops.elementwise import unary_launch

    name, number = split(act)
    return unary_launch(op, f"{name}_fwd", z, p=number)


def backward_kernel(op: Any, dy: Any, v: Any, act: Any, bias: bool, channel: int) -> Any:
    """(gradient before the activation, bias's gradient or None), in one pass over dy; `channel` is the axis that the bias runs along.

    v: the output or, for FROM_SUM, the sum.
    """
    if not bias and act is None:
        return dy, None
    K = dy.shape[channel]
    db = op.device.empty((K,), dy.dtype)
    g = op.device.empty(dy.shape, dy.dtype) if act else db  # db stands in for what this kernel does not touch
    O, I = math.prod(dy.shape[:channel]), math.prod(dy.shape[channel + 1 :])
    name, number = split(act)
    op.launch(
        "epilogue.backward", dy=dy, y=v if act else dy, g=g, db=db, O=O, K=K, I=I, act=CODES.index(name), number=number, bias=int(bias)
    )
    return g if act else dy, db if bias else None
