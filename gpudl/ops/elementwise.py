"""Elementwise operations of one, two and three operands, with PyTorch's broadcasting, result dtypes and gradients.

Each op is a small class: its NumPy function, its derivative twice (arrays and Tensors), and a name under which kernels/unary and
kernels/binary hold the same two formulas as device functions. The base classes `Unary` and `Binary` do the rest.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._dtypes import ALL, bool_, float32
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, ceil_div, ladder
from gpudl.ops._common import check_tensor, constant

NUMBERS = (bool, int, float, np.generic)


def operands(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor, np.dtype]:
    """Two operands, one of which may be a Python number, as Tensors, and the dtype they meet in; ShapeError where they do not broadcast."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        dtype = a._array.dtype if a._array.dtype == b._array.dtype else _dtypes.result_type(a, b)
        if a._array.shape != b._array.shape:
            broadcast(op, a, b)
        return a, b, dtype
    given, number = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(given, Tensor) or not isinstance(number, NUMBERS):
        wrong = number if isinstance(given, Tensor) else given
        hint = "; gpudl.tensor(...) makes a Tensor of it" if isinstance(wrong, (np.ndarray, list, tuple)) else ""
        raise TypeError(f"{op}: operands are {type(a).__name__} and {type(b).__name__}; Tensors and Python numbers are needed{hint}")
    value = number.item() if isinstance(number, np.generic) else number
    dtype = _dtypes.result_type(given, value)
    scalar = constant(value, computing(dtype), given.device)  # a half meets the number as it is, not rounded to a half first
    return (given, scalar, dtype) if given is a else (scalar, given, dtype)


def broadcast(op: str, *tensors: Tensor) -> tuple[int, ...]:
    """The common shape of the operands; ShapeError naming them where there is none."""
    try:
        return np.broadcast_shapes(*[t._array.shape for t in tensors])
    except ValueError:
        shapes = " and ".join(str(tuple(t.shape)) for t in tensors)
        raise ShapeError(
            f"{op}: shapes {shapes} do not broadcast; from the last axis on, sizes must be equal or 1. A reshape or unsqueeze may be missing"
        ) from None


def computing(dtype: np.dtype) -> np.dtype:
    """What values of this dtype are computed in: halves in float32, all others as they are."""
    return float32 if dtype in _dtypes.HALVES else dtype


class Pointwise(Op):
    """What one and two operands share: `dtype` is the result's and `compute` the operands' common one, both params."""

    def _round(self, out: Any, arrays: Any) -> Any:
        dtype = self.params["dtype"]
        return out if out.dtype == dtype else out.astype(dtype)


class Binary(Pointwise):
    """y = f(a, b) over the broadcast shape."""

    numpy: ClassVar[Any]  # the ufunc

    def forward_cpu(self, a: Any, b: Any, dtype: np.dtype, compute: np.dtype) -> Any:
        self.keep(a, b)
        wide = computing(compute)
        return np.asarray(self.numpy(a if a.dtype == wide else a.astype(wide), b if b.dtype == wide else b.astype(wide)))

    def keep(self, a: Any, b: Any) -> None:
        """Save what backward needs."""


class Add(Binary, name="add"):
    numpy = np.add

    def backward_cpu(self, dy: Any) -> Any:
        return dy, dy

    backward_kernel = backward_cpu
    backward_graph = backward_cpu


class Sub(Binary, name="sub"):
    numpy = np.subtract

    def backward_cpu(self, dy: Any) -> Any:
        return dy, -dy if self.needs[1] else None

    backward_graph = backward_cpu


class Mul(Binary, name="mul"):
    numpy = np.multiply

    def keep(self, a: Any, b: Any) -> None:
        self.save(a=a if self.needs[1] else None, b=b if self.needs[0] else None)

    def backward_cpu(self, dy: Any, a: Any, b: Any) -> Any:
        return dy * b if self.needs[0] else None, dy * a if self.needs[1] else None

    backward_graph = backward_cpu


class Div(Binary, name="div"):
    numpy = np.true_divide

    def keep(self, a: Any, b: Any) -> None:
        self.save(a=a if self.needs[1] else None, b=b)

    def backward_cpu(self, dy: Any, a: Any, b: Any) -> Any:
        da = dy / b
        return da, -da * (a / b) if self.needs[1] else None

    backward_graph = backward_cpu


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other, broadcast. Either may be a number."""
    a, b, dtype = operands("add", input, other)
    return Add.apply(a, b if alpha == 1 else mul(b, alpha), dtype=dtype, compute=dtype)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other, broadcast. Either may be a number; TypeError for bools."""
    a, b, dtype = operands("sub", input, other)
    return Sub.apply(a, b if alpha == 1 else mul(b, alpha), dtype=dtype, compute=dtype)


def mul(input: Any, other: Any) -> Tensor:
    """input * other, broadcast. Either may be a number."""
    a, b, dtype = operands("mul", input, other)
    return Mul.apply(a, b, dtype=dtype, compute=dtype)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, broadcast. Either may be a number; integers give the default floating dtype."""
    a, b, dtype = operands("div", input, other)
    if not _dtypes.is_float(dtype):
        dtype = _dtypes.get_default_dtype()
    return Div.apply(a, b, dtype=dtype, compute=dtype)


class Unary(Pointwise):
    """y = f(x)."""


class Neg(Unary, name="neg"):
    def forward_cpu(self, x: Any, dtype: np.dtype, compute: np.dtype) -> Any:
        return np.asarray(np.negative(x))

    def backward_cpu(self, dy: Any) -> Any:
        return -dy

    backward_graph = backward_cpu


def neg(input: Tensor) -> Tensor:
    """-input; TypeError for bools."""
    check_tensor("neg", input=input)
    return Neg.apply(input, dtype=input.dtype, compute=input.dtype)
