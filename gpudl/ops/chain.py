"""Bias, activation, dropout and residual as one kernel: what stands between two matrix products, in one pass over memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import _random
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops import activation as act
from gpudl.ops import elementwise
from gpudl.ops._common import axis, check_float, check_tensor
from gpudl.ops.dropout import Dropout, scale
from gpudl.ops.elementwise import Smooth, where

# What takes no numbers. The names are those of the functions in gpudl.ops.
ACTIVATIONS: dict[str, type[Smooth]] = {
    op.name: op for op in (act.Relu, act.Gelu, act.GeluTanh, act.Silu, act.Softsign, act.LogSigmoid, elementwise.Sigmoid, elementwise.Tanh)
}

BLOCK = 256
_advance = Step("advance", grid=lambda drops: int(drops), block=1)


def groups(size: int, sms: int, itemsize: int) -> int:
    """Blocks whose threads take GROUP neighbours at a time."""
    return min(ceil_div(size, (8 if itemsize == 2 else 4) * BLOCK), 16 * sms)


ladder(
    "bias_act_dropout_add.forward",
    Kernel(
        "01_naive.cu",
        Step("chain", grid=lambda size: ceil_div(size, BLOCK), block=BLOCK),
        _advance,
        BLOCK=BLOCK,
        traffic=lambda size, itemsize, has_bias, drops, adds: size * (itemsize * (2 + adds + has_bias) + 17 * drops) + 16 * drops,
    ),
    Kernel(
        "02_vector.cu",
        Step("chain", grid=groups, block=BLOCK),
        _advance,
        BLOCK=BLOCK,
        align=16,
        traffic=lambda size, itemsize, sms, has_bias, drops, adds: (
            size * (itemsize * (2 + adds + has_bias) + drops) + 16 * drops * (BLOCK * groups(size, sms, itemsize) + 1)
        ),
    ),
)
backward: dict[str, Any] = dict(
    block=BLOCK,
    BLOCK=BLOCK,
    traffic=lambda size, itemsize, has_bias, drops, linear: size * (itemsize * (2 + (0 if linear else 1 + has_bias)) + drops),
)
ladder(
    "bias_act_dropout_add.backward",
    Kernel("01_naive.cu", grid=lambda size: ceil_div(size, BLOCK), **backward),
    Kernel("02_vector.cu", grid=lambda size, sms, itemsize: min(ceil_div(size * itemsize, 16 * BLOCK), 16 * sms), align=16, **backward),
)


def bias_act_dropout_add(
    input: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    p: float = 0.0,
    training: bool = True,
    residual: Tensor | None = None,
    *,
    dim: int = -1,
) -> Tensor:
    """residual + dropout(activation(input + bias), p, training), in one pass over memory on devices with kernels; on the CPU op by op.

        v = input + bias;  y = residual + mask * act(v) / (1 - p);    dx = act'(v) * mask * dy / (1 - p),  dbias = sum of dx,  dresidual = dy

    input: any shape; bias: one element for each place along dim (default: the last dimension, as after a linear layer; 1 after a convolution);
    residual: input's shape; equal floating dtypes. activation: 'relu', 'gelu', 'gelu_tanh', 'silu', 'softsign', 'logsigmoid', 'sigmoid', 'tanh'
    or None. What is absent costs nothing. The results are those of the ops one by one, bit for bit, and so is the mask (`gpudl.manual_seed`).
    ValueError for p outside [0, 1] or an unknown activation, ShapeError and DtypeError where bias or residual do not fit.
    """
    drops = _check(input, bias, activation, p, residual, dim) and training
    return _chain(
        input, bias, activation, float(p) if drops else 0.0, residual, dim, _random.default_generator(input.device) if drops else None
    )


def _check(input: Any, bias: Any, activation: Any, p: Any, residual: Any, dim: Any) -> bool:
    """Whether p drops anything, once all arguments fit."""
    op = "bias_act_dropout_add"
    check_tensor(op, input=input)
    check_float(op, input=input)
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation {activation!r}; it has {', '.join(map(repr, ACTIVATIONS))} and None")
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: the dropout probability must be between 0 and 1, not {p}")
    for name, other in (("bias", bias), ("residual", residual)):
        if other is not None:
            check_tensor(op, **{name: other})
            if other.dtype != input.dtype:
                raise DtypeError(f"{op}: input is {input.dtype} and {name} is {other.dtype}; convert one with .to(...)")
    if bias is not None:
        along = input.shape[axis(op, dim, input.ndim)] if input.ndim else 1
        if bias.shape != (along,):
            raise ShapeError(
                f"{op}: bias is {tuple(bias.shape)}; along dimension {dim} of input {tuple(input.shape)} it must be ({along},)"
            )
    if residual is not None and residual.shape != input.shape:
        raise ShapeError(
            f"{op}: residual is {tuple(residual.shape)} and input {tuple(input.shape)}; they must be equal. expand() makes them so"
        )
    return bool(p > 0)


def _chain(input: Tensor, bias: Any, activation: Any, p: float, residual: Any, dim: int, generator: Any) -> Tensor:
    if bias is not None:
        dim = axis("bias_act_dropout_add", dim, input.ndim)
        bias = bias.reshape(-1, *[1] * (input.ndim - 1 - dim)) if input.ndim else bias.reshape(())
    if input.device.kernels:
        return BiasActDropoutAdd.apply(input, bias, residual, activation=activation, p=p, generator=generator)
    out = input if bias is None else input + bias
    if activation is not None:
        out = _activate(out, activation)
    if p > 0:
        out = Dropout.apply(out, p=p, generator=generator)
    return out if residual is None else out + residual


def _activate(v: Tensor, activation: str) -> Tensor:
    return ACTIVATIONS[activation].apply(v, dtype=v.dtype, compute=v.dtype)


def _seeded(
    input: Tensor, bias: Any = None, activation: Any = None, p: float = 0.0, residual: Any = None, dim: int = -1, seed: int = 7
) -> Tensor:  # fmt: skip
    """The same with a mask that is the same in each call: what tests need."""
    drops = _check(input, bias, activation, p, residual, dim)
    return _chain(input, bias, activation, float(p), residual, dim, _random.Generator(input.device).manual_seed(seed) if drops else None)


class BiasActDropoutAdd(Op, name="bias_act_dropout_add", function="_seeded"):
    def defines(self, bias: Any, activation: str | None, p: float) -> dict[str, Any]:
        """The macros of kernels/bias_act_dropout_add/chain.cuh but ADD."""
        name = ACTIVATIONS[activation].device_name if activation else "identity"
        output = bool(activation) and ACTIVATIONS[activation].keeps == "y"  # type: ignore[index]
        return {
            "BIAS": int(bias is not None), "DROP": int(p > 0), "LINEAR": int(activation is None), "OUTPUT": int(output),
            "ACT": f"{name}_fwd", "BACK": f"{name}_bwd",
        }  # fmt: skip

    def sizes(self, x: Any, bias: Any, p: float) -> dict[str, Any]:
        """x as (O, K, I), bias as (K); and what the records' formulas ask."""
        K, I = (1, 1) if bias is None or not bias.ndim else (bias.shape[0], math.prod(x.shape[x.ndim - bias.ndim + 1 :]))
        return dict(size=x.size, K=K, I=I, scale=scale(p), has_bias=bias is not None, drops=p > 0)

    def forward_kernel(self, x: Any, bias: Any, residual: Any, activation: str | None, p: float, generator: Any) -> Any:
        y, mask = self.device.empty(x.shape, x.dtype), self.device.empty(x.shape if p > 0 else (0,), np.bool_)
        state = generator.memory() if p > 0 else self.device.empty((0,), np.uint64)
        adds = residual is not None
        self.launch(
            "bias_act_dropout_add.forward", self.defines(bias, activation, p) | {"ADD": int(adds)},
            x=x, bias=x if bias is None else bias, residual=residual if adds else x, y=y, mask=mask, state=state, p=p, adds=adds,
            **self.sizes(x, bias, p),
        )  # fmt: skip
        self.save(x=x if activation else None, bias=bias, mask=mask if p > 0 else None)
        return y

    def backward_kernel(self, dy: Any, x: Any, bias: Any, mask: Any, activation: str | None, p: float) -> Any:
        dx = dy
        if (activation or p > 0) and (self.needs[0] or self.needs[1]):
            dx = self.device.empty(dy.shape, dy.dtype)
            nothing = self.device.empty((0,), np.bool_) if mask is None else mask
            self.launch(
                "bias_act_dropout_add.backward", self.defines(bias, activation, p) | {"ADD": 0},
                dy=dy, x=dy if x is None else x, bias=dy if bias is None else bias, mask=nothing, dx=dx, linear=activation is None,
                **self.sizes(dy, bias, p),
            )  # fmt: skip
        return dx, dx, dy  # the base class sums the second over what the bias was broadcast along

    def backward_graph(self, dy: Tensor, x: Any, bias: Any, mask: Any, activation: str | None, p: float) -> Any:
        g = dy if mask is None else where(mask, dy * scale(p), 0.0)
        if activation:
            op = ACTIVATIONS[activation]
            v = x if bias is None else x + bias
            g = op.derivative(None, elementwise.graph(), g, _activate(v, activation) if op.keeps == "y" else v)
        return g, g, dy

    def literals() -> Any:
        x, b, r = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([0.5, 1.0]), np.array([[10.0, 20.0], [30.0, 40.0]])
        yield [x, b, "relu", 0.0, r], [[11.5, 20.0], [33.5, 41.5]]
        yield [x, b, "relu", 0.0, r, 0], [[11.5, 20.0], [34.0, 41.5]]
        yield [x, None, None, 1.0, r], r
        yield [x], x

    def samples(rng: Any) -> Any:
        n = rng.normal
        yield Sample(n(size=(3, 5)), n(size=5), "relu", 0.5, n(size=(3, 5)), _halves=False)  # of several ops, each rounds
        yield Sample(n(size=(2, 3, 4, 5)), n(size=3), "gelu", 0.25, None, 1, _halves=False)
        yield Sample(n(size=(5, 16)), n(size=16), "gelu", 0.25, n(size=(5, 16)), _halves=False)
        yield Sample(n(size=(7, 9)), None, "silu", 0.1, n(size=(7, 9)), _halves=False)
        yield Sample(n(size=(9, 7)), n(size=7), "tanh", 0.0, None, _halves=False)
        yield Sample(n(size=(60, 20)), n(size=20), None, 0.5, n(size=(60, 20)), _halves=False)
        yield Sample(n(size=(4, 6)).T, n(size=4), "sigmoid", 0.5, n(size=(4, 6)).T, _halves=False)
        yield Sample(n(size=()), None, "softsign", 0.0, n(size=()), _halves=False)
        yield Sample(n(size=(0, 5)), n(size=5), "relu", 0.5, _halves=False)
        yield Sample(n(size=(5, 8)), None, "relu", 0.5, _halves=False)
        for name in ("gelu_tanh", "logsigmoid"):
            yield Sample(n(size=(3, 4)), n(size=3), name, 0.5, n(size=(3, 4)), 0, _halves=False)

    def errors() -> Any:
        z = np.zeros
        yield (
            Sample(z((2, 3)), z(2)),
            ShapeError,
            r"bias_act_dropout_add: bias is \(2,\); along dimension -1 of input \(2, 3\) it must be \(3,\)",
        )
        yield Sample(z((2, 3)), None, "swish"), ValueError, r"bias_act_dropout_add: activation 'swish'; it has 'relu', 'gelu'"
        yield (
            Sample(z((2, 3)), None, None, 1.5),
            ValueError,
            r"bias_act_dropout_add: the dropout probability must be between 0 and 1, not 1.5",
        )
        yield (
            Sample(z((2, 3)), None, None, 0.5, z(3)),
            ShapeError,
            r"bias_act_dropout_add: residual is \(3,\) and input \(2, 3\); they must be equal",
        )
        yield Sample(z(2, np.int64)), TypeError, r"bias_act_dropout_add: input is int64; a floating dtype is needed"

    def cost(x: Any, bias: Any = None, activation: Any = None, p: float = 0.0, residual: Any = None, dim: int = -1, seed: int = 7) -> Cost:
        extra = (0 if bias is None else bias.nbytes) + (0 if residual is None else residual.nbytes) + (x.size if p > 0 else 0)
        return Cost(bytes=2 * x.nbytes + extra, flops=4 * x.size)
