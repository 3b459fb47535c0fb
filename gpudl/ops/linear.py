"""Fully connected layer: product, bias and activation in one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import kernels
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.ops import _epilogue
from gpudl.ops._common import check_float, check_tensor
from gpudl.ops.matmul import Matmul, fold, launch, matmul, product


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x @ w.T + b for each row of x.

        y  = x @ w.T + b
        dx = dy @ w,    dw = dy.T @ x,    db = sum over rows of dy

    input (..., in_features), weight (out_features, in_features) or (in_features), bias (out_features) or None; one floating dtype.
    Returns (..., out_features), without the last dimension for a 1-D weight. ShapeError where in_features or out_features differ,
    DtypeError for two dtypes, TypeError for an integer dtype.
    """
    return linear_act(input, weight, bias)


def linear_act(input: Tensor, weight: Tensor, bias: Tensor | None = None, activation: Any = None, residual: Tensor | None = None) -> Tensor:
    """act(x @ w.T + b + residual) as one op, so that neither the product nor the sum goes through memory; arguments as `linear`.

    activation: None, "relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "leaky_relu", "elu", or ("leaky_relu", negative_slope),
    ("elu", alpha); ValueError for another. The result equals that of the separate ops; halves differ by the rounding between them, which is
    left out here. Where a gradient will be needed, gelu and silu keep the sum before the activation: their derivative does not follow from
    the output. residual: broadcasts to the result's shape (..., out_features); ShapeError where it does not.
    """
    check_tensor("linear", input=input, weight=weight)
    for name, t in (("bias", bias), ("residual", residual)):
        if t is not None:
            check_tensor("linear", **{name: t})
    activation = _epilogue.check("linear", activation, _epilogue.ACTIVATIONS)
    check_float("linear", input=input)
    for name, t in (("weight", weight), ("bias", bias), ("residual", residual)):
        if t is not None and t.dtype != input.dtype:
            raise DtypeError(f"linear: input is {input.dtype} and {name} is {t.dtype}; the dtypes must be equal. Convert one with .to()")
    given = f"linear: input is {tuple(input.shape)} and weight (out, in) is {tuple(weight.shape)}"
    if weight.ndim not in (1, 2) or input.ndim == 0:
        raise ShapeError(f"{given}; input must be (..., in) and weight (out, in) or (in)")
    if input.shape[-1] != weight.shape[-1]:
        hint = " Did you mean weight.T?" if weight.ndim == 2 and weight.shape[0] == input.shape[-1] else ""
        if not hint and input.ndim > 2 and np.prod(input.shape[1:]) == weight.shape[-1]:
            hint = " Did you mean input.flatten(1)?"
        raise ShapeError(f"{given}; input.shape[-1] = {input.shape[-1]} must equal weight.shape[-1] = {weight.shape[-1]}.{hint}")
    out = weight.shape[:-1]
    if bias is not None and bias.shape not in (out, (1,), ()):
        raise ShapeError(f"{given}, bias is {tuple(bias.shape)}; bias must be {tuple(out)}, one for each row of weight")
    whole = (*input.shape[:-1], *out)
    if residual is not None and tuple(residual.shape) != whole:
        if any(n not in (1, m) for n, m in zip(residual.shape[::-1], whole[::-1])) or residual.ndim > len(whole):
            raise ShapeError(f"{given}, residual is {tuple(residual.shape)}; residual must broadcast to the result, {whole}")
        residual = residual.expand(whole)
    if weight.ndim == 1 or _epilogue.is_apart(activation):
        return _separate(input, weight, bias, activation, residual)
    return Linear.apply(input, weight, bias if bias is None or bias.shape == out else bias.expand(out), residual, act=activation)


def _separate(input: Tensor, weight: Tensor, bias: Any, activation: Any, residual: Any) -> Tensor:
    """One op after the other, for what the fused op does not take."""
    from gpudl.ops import activation as functions

    y = matmul(input, weight) if weight.ndim == 1 else linear(input, weight)
    for t in (bias, residual):
        y = y if t is None else y + t
    name, number = _epilogue.split(activation)
    if name in (None, "sigmoid", "tanh"):
        return y if name is None else getattr(y, name)()
    return getattr(functions, name)(y, *[number] * (name in _epilogue.NUMBERS))


class Linear(Op, name="linear", function="linear_act"):
    ladders = ("matmul.forward", "epilogue.backward")

    def forward_cpu(self, x: Any, w: Any, b: Any, r: Any, act: Any) -> Any:
        z = product(x, w.T)
        if b is not None:
            z += b
        if r is not None:
            z += r
        y, kept = _epilogue.forward(z, act)
        self._save(x, w, b, r, act, **kept)
        return y

    def _save(self, x: Any, w: Any, b: Any, r: Any, act: Any, v: Any = None, cdf: Any = None) -> None:
        if any(self.needs):
            self.save(x=x if self.needs[1] else None, w=w if self.needs[0] else None, v=v, cdf=cdf)
            if _epilogue.keeps_sum(act):  # what v came from: gradients of gradients go through it
                self.save(rows=x, weight=w, bias=b, residual=r)

    def backward_cpu(self, dy: Any, x: Any, w: Any, v: Any, cdf: Any, act: Any) -> Any:
        dy = _epilogue.backward(dy, v, act, cdf)
        rows = fold(dy)
        return (
            product(dy, w) if self.needs[0] else None,
            rows.T @ fold(x) if self.needs[1] else None,
            np.ones(len(rows), rows.dtype) @ rows if self.needs[2] else None,  # a column sum through BLAS: twice as fast as sum(0)
            dy if self.needs[3] else None,
        )

    def forward_kernel(self, x: Any, w: Any, b: Any, r: Any, act: Any) -> Any:
        rows = x if x.ndim > 1 else x.reshape(1, -1)
        shape = (*rows.shape[:-1], len(w))
        if r is not None:
            r = r.reshape(shape)
        keeps = any(self.needs) and _epilogue.keeps_sum(act)
        if keeps and r is not None:  # a launch has room for one more array
            kept = launch(self, rows, w.T, b, None, r)
            y = _epilogue.activate(self, kept, act)
        else:
            kept = self.device.empty(shape, x.dtype) if keeps else None
            y = launch(self, rows, w.T, b, act, r, kept)
        y = y if x.ndim > 1 else y.reshape(-1)
        v = None if act is None else y if kept is None else kept.reshape(y.shape)
        self._save(x, w, b, r, act, v)
        return y

    def backward_kernel(self, dy: Any, x: Any, w: Any, v: Any, act: Any) -> Any:
        dy, db = _epilogue.backward_kernel(self, dy, v, act, self.needs[2], -1 % dy.ndim)
        rows = fold(kernels.contiguous(self.device, dy))
        dx = launch(self, rows, w).reshape(*dy.shape[:-1], w.shape[1]) if self.needs[0] else None
        flat = x if x is None or x.ndim == 2 else fold(kernels.contiguous(self.device, x))
        return dx, launch(self, rows.T, flat) if self.needs[1] else None, db, dy if self.needs[3] else None

    def backward_graph(
        self, dy: Tensor, x: Tensor, w: Tensor, v: Tensor, rows: Tensor, weight: Tensor, bias: Any, residual: Any, act: Any
    ) -> Any:
        if _epilogue.keeps_sum(act):
            v = Linear.apply(rows, weight, bias, residual, act=None)  # v itself is a constant here; this one has a graph
        dy = _epilogue.backward(dy, v, act)
        rows = dy.reshape(-1, dy.shape[-1]) if dy.ndim != 2 else dy
        if self.needs[1] and x.ndim != 2:
            x = x.reshape(-1, x.shape[-1])
        return (
            Matmul.apply(rows, w, ta=False, tb=False).reshape(*dy.shape[:-1], w.shape[1]) if self.needs[0] else None,
            Matmul.apply(rows, x, ta=True, tb=False) if self.needs[1] else None,
            dy if self.needs[2] else None,  # the base class sums it to the bias's shape
            dy if self.needs[3] else None,
        )

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        x, w, b = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [-5.0, 1.0]]), np.array([1.0, -1.0])
        yield [x, w, b], [[12.0, -4.0]]
        yield [x, w], [[11.0, -3.0]]
        yield [x, w, b, "relu"], [[12.0, 0.0]]
        yield [x, w, b, "relu", np.array([[1.0, 5.0]])], [[13.0, 1.0]]
        yield [x, w, b, ("leaky_relu", 0.5)], [[12.0, -2.0]]
        yield [x, w, b, ("elu", 2.0)], [[12.0, 2 * (math.exp(-4) - 1)]]
        yield [x, w, b, "silu"], [[12 / (1 + math.exp(-12)), -4 / (1 + math.exp(4))]]
        yield [x, w, b, "gelu"], [[6 * (1 + math.erf(12 / math.sqrt(2))), -2 * (1 + math.erf(-4 / math.sqrt(2)))]]

    def samples(rng: Any) -> Any:
        n = rng.normal
        for shape, out in [((1, 1), 1), ((5, 3), 4), ((33, 70), 18), ((2, 3, 7), 5), ((6,), 3), ((0, 4), 3), ((3, 0), 2)]:
            yield Sample(n(size=shape), n(size=(out, shape[-1])), n(size=out))
        yield Sample(n(size=(5, 3)), n(size=(4, 3)))
        yield Sample(n(size=(3, 5)).T, n(size=(3, 4)).T, n(size=8)[::2])
        yield Sample(n(size=(4, 3)), n(size=(3,)), n(size=()))
        for act in (*_epilogue.ACTIVATIONS, ("leaky_relu", 0.3), ("elu", 0.7)):
            yield Sample(n(size=(7, 5)), n(size=(6, 5)), n(size=6), act, _deal=act != "relu")
        yield Sample(n(size=(2, 4, 5)), n(size=(6, 5)), None, "relu")
        # 1 - y**2 of a y rounded to u is wrong by up to 2 u, and eight of them meet in an element of db, however small their sum is.
        yield Sample(n(size=(2, 4, 5)), n(size=(6, 5)), n(size=6), "tanh", n(size=(4, 6)), _deal=True, _tolerance=3)
        yield Sample(n(size=(20, 5)), n(size=(68, 5)), None, None, n(size=(20, 68)))  # rows of whole vectors
        yield Sample(n(size=5), n(size=(6, 5)), None, "silu", n(size=6), _deal=True)
        yield Sample(n(size=(2, 4, 5)), n(size=(6, 5)), None, "gelu", _deal=True)
        yield Sample(n(size=5), n(size=(6, 5)), n(size=6), "silu", _deal=True)

    def errors() -> Any:
        z = np.zeros
        yield Sample(z((2, 3)), z((3, 4))), ShapeError, r"linear: input is \(2, 3\) and weight .* Did you mean weight.T\?"
        yield Sample(z((2, 3, 4)), z((5, 12))), ShapeError, r"must equal weight.shape\[-1\] = 12. Did you mean input.flatten\(1\)\?"
        yield Sample(z((2, 3)), z((4, 3)), z(3)), ShapeError, r"bias is \(3,\); bias must be \(4,\)"
        yield Sample(z((2, 3)), z((4, 3), np.float32)), DtypeError, r"linear: input is float64 and weight is float32"
        yield Sample(z((2, 3), np.int64), z((4, 3), np.int64)), TypeError, r"linear: input is int64; a floating dtype is needed"
        yield Sample(z((2, 3)), z((4, 3)), None, "swish"), ValueError, r"linear: activation 'swish' is not fused; it has 'relu'"
        yield (
            Sample(z((2, 3)), z((4, 3)), None, None, z((3, 4))),
            ShapeError,
            r"residual is \(3, 4\); residual must broadcast to the result, \(2, 4\)",
        )
        yield Sample(z((2, 3)), z((4, 3)), None, ("relu", 0.1)), ValueError, r"linear: activation 'relu' takes no number, not 0.1"

    def cost(x: Any, w: Any, b: Any = None, act: Any = None, r: Any = None) -> Cost:
        y = x.size // max(x.shape[-1], 1) * (len(w) if w.ndim == 2 else 1)
        return Cost(bytes=x.nbytes + w.nbytes + sum(a.nbytes for a in (b, r) if a is not None) + y * x.itemsize, flops=2 * y * x.shape[-1])
