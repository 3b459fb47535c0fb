"""Fully connected layer: product, bias and activation in one."""

from __future__ import annotations

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


def linear_act(input: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """act(x @ w.T + b) as one op, so that neither the product nor the sum goes through memory; arguments as `linear`.

    activation: None, "relu", "sigmoid" or "tanh" (ValueError for another): the ones whose derivative follows from their output. The result
    equals that of the separate ops; halves differ by the rounding between them, which is left out here.
    """
    check_tensor("linear", input=input, weight=weight)
    if bias is not None:
        check_tensor("linear", bias=bias)
    _epilogue.check("linear", activation)
    check_float("linear", input=input)
    for name, t in (("weight", weight), ("bias", bias)):
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
    if weight.ndim == 1:
        y = matmul(input, weight) if bias is None else matmul(input, weight) + bias
        return y if activation is None else getattr(y, activation)()
    return Linear.apply(input, weight, bias if bias is None or bias.shape == out else bias.expand(out), act=activation)


class Linear(Op, name="linear", function="linear_act"):
    ladders = ("matmul.forward", "epilogue.backward")

    def forward_cpu(self, x: Any, w: Any, b: Any, act: str | None) -> Any:
        y = product(x, w.T)
        if b is not None:
            y += b
        y = _epilogue.forward_(y, act)
        self._save(x, w, y, act)
        return y

    def _save(self, x: Any, w: Any, y: Any, act: str | None) -> None:
        self.save(x=x if self.needs[1] else None, w=w if self.needs[0] else None, y=y if act and any(self.needs) else None)

    def backward_cpu(self, dy: Any, x: Any, w: Any, y: Any, act: str | None) -> Any:
        dy = _epilogue.backward(dy, y, act)
        rows = fold(dy)
        return (
            product(dy, w) if self.needs[0] else None,
            rows.T @ fold(x) if self.needs[1] else None,
            np.ones(len(rows), rows.dtype) @ rows if self.needs[2] else None,  # a column sum through BLAS: twice as fast as sum(0)
        )

    def forward_kernel(self, x: Any, w: Any, b: Any, act: str | None) -> Any:
        rows = x if x.ndim > 1 else x.reshape(1, -1)
        y = launch(self, rows, w.T, b, act)
        y = y if x.ndim > 1 else y.reshape(-1)
        self._save(x, w, y, act)
        return y

    def backward_kernel(self, dy: Any, x: Any, w: Any, y: Any, act: str | None) -> Any:
        dy, db = _epilogue.backward_kernel(self, dy, y, act, self.needs[2], -1 % dy.ndim)
        rows = fold(kernels.contiguous(self.device, dy))
        dx = launch(self, rows, w).reshape(*dy.shape[:-1], w.shape[1]) if self.needs[0] else None
        flat = x if x is None or x.ndim == 2 else fold(kernels.contiguous(self.device, x))
        return dx, launch(self, rows.T, flat) if self.needs[1] else None, db

    def backward_graph(self, dy: Tensor, x: Tensor, w: Tensor, y: Tensor, act: str | None) -> Any:
        dy = _epilogue.backward(dy, y, act)
        rows = dy.reshape(-1, dy.shape[-1]) if dy.ndim != 2 else dy
        if self.needs[1] and x.ndim != 2:
            x = x.reshape(-1, x.shape[-1])
        return (
            Matmul.apply(rows, w, ta=False, tb=False).reshape(*dy.shape[:-1], w.shape[1]) if self.needs[0] else None,
            Matmul.apply(rows, x, ta=True, tb=False) if self.needs[1] else None,
            dy if self.needs[2] else None,  # the base class sums it to the bias's shape
        )

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        x, w, b = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [-5.0, 1.0]]), np.array([1.0, -1.0])
        yield [x, w, b], [[12.0, -4.0]]
        yield [x, w], [[11.0, -3.0]]
        yield [x, w, b, "relu"], [[12.0, 0.0]]

    def samples(rng: Any) -> Any:
        n = rng.normal
        for shape, out in [((1, 1), 1), ((5, 3), 4), ((33, 70), 18), ((2, 3, 7), 5), ((6,), 3), ((0, 4), 3), ((3, 0), 2)]:
            yield Sample(n(size=shape), n(size=(out, shape[-1])), n(size=out))
        yield Sample(n(size=(5, 3)), n(size=(4, 3)))
        yield Sample(n(size=(3, 5)).T, n(size=(3, 4)).T, n(size=8)[::2])
        yield Sample(n(size=(4, 3)), n(size=(3,)), n(size=()))
        for act in _epilogue.ACTIVATIONS:
            yield Sample(n(size=(7, 5)), n(size=(6, 5)), n(size=6), act)
        yield Sample(n(size=(2, 4, 5)), n(size=(6, 5)), None, "relu")

    def errors() -> Any:
        z = np.zeros
        yield Sample(z((2, 3)), z((3, 4))), ShapeError, r"linear: input is \(2, 3\) and weight .* Did you mean weight.T\?"
        yield Sample(z((2, 3, 4)), z((5, 12))), ShapeError, r"must equal weight.shape\[-1\] = 12. Did you mean input.flatten\(1\)\?"
        yield Sample(z((2, 3)), z((4, 3)), z(3)), ShapeError, r"bias is \(3,\); bias must be \(4,\)"
        yield Sample(z((2, 3)), z((4, 3), np.float32)), DtypeError, r"linear: input is float64 and weight is float32"
        yield Sample(z((2, 3), np.int64), z((4, 3), np.int64)), TypeError, r"linear: input is int64; a floating dtype is needed"
        yield Sample(z((2, 3)), z((4, 3)), None, "swish"), ValueError, r"linear: activation 'swish' is not fused; it has 'relu'"

    def cost(x: Any, w: Any, b: Any = None, act: Any = None) -> Cost:
        y = x.size // max(x.shape[-1], 1) * (len(w) if w.ndim == 2 else 1)
        return Cost(bytes=x.nbytes + w.nbytes + (b.nbytes if b is not None else 0) + y * x.itemsize, flops=2 * y * x.shape[-1])
