"""Reductions over any axes: sum, mean, products, extremes, moments."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from gpudl import _dtypes
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor, as_shape
from gpudl.autograd import Cost, Op, Sample
from gpudl.ops._common import axis, check_tensor


def axes(op: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """Sorted axes from dim: an int, a tuple, or None (or an empty tuple) for all."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    named = [axis(op, d, ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    if len(set(named)) != len(named):
        raise RuntimeError(f"{op}: dim {tuple(dim)} names an axis twice")
    return tuple(sorted(named)) if ndim else ()


def reduced_shape(shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple(1 if i in dim else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in dim)


def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over dim (an int, a tuple of them, or all).    y = sum x,    dx = dy

    Any dtype; integers and bool sum to int64; dtype= casts first. The sum of nothing is 0. IndexError for a dim out of range.
    """
    check_tensor("sum", input=input)
    if dtype is not None:
        input = input.to(_dtypes.as_dtype(dtype))
    return Sum.apply(input, dim=axes("sum", dim, input.ndim), keepdim=bool(keepdim))


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed over the axes along which `size` would be broadcast to input's shape. ShapeError where it would not be."""
    wanted = as_shape(size)
    lead = input.ndim - len(wanted)
    if lead < 0 or any(n not in (1, have) for n, have in zip(wanted, input.shape[lead:], strict=True)):
        raise ShapeError(f"sum_to_size: {wanted} does not broadcast to {tuple(input.shape)}")
    over = (*range(lead), *(lead + i for i, n in enumerate(wanted) if n == 1 and input.shape[lead + i] != 1))
    return (Sum.apply(input, dim=over, keepdim=True) if over else input).reshape(wanted)


class Sum(Op, name="sum"):
    def forward_cpu(self, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
        return np.asarray(x.sum(axis=dim, keepdims=keepdim, dtype=None if _dtypes.is_float(x.dtype) else np.int64))

    def backward_cpu(self, dy: Any, dim: tuple[int, ...]) -> Any:
        shape = self.meta[0][0]  # type: ignore[attr-defined]
        return self.device.xp.broadcast_to(dy.reshape(reduced_shape(shape, dim, True)), shape)

    def backward_graph(self, dy: Tensor, dim: tuple[int, ...]) -> Tensor:
        shape = self.meta[0][0]  # type: ignore[attr-defined]
        return dy.reshape(reduced_shape(shape, dim, True)).expand(shape)

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]])], 10.0
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 0], [4.0, 6.0]
        yield [np.array([[1, 2], [3, 4]], np.int8), 1], [3, 7]
        yield [np.array([True, True, False])], 2
        yield [np.zeros((0, 2)), 0], [0.0, 0.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 37)), dim=1)
        yield Sample(rng.normal(size=(37, 5)), dim=0, keepdim=True)
        yield Sample(rng.normal(size=(3, 4, 5, 6)), dim=(0, 2))
        yield Sample(rng.normal(size=(6, 5)).T, dim=-1)
        yield Sample(rng.normal(size=(700,)))
        yield Sample(rng.normal(size=()))
        yield Sample(np.zeros((3, 0)), dim=1)
        yield Sample(np.zeros((0, 3)), dim=1)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), dim=2), IndexError, r"sum: dim 2 is out of range"
        yield Sample(np.zeros((2, 3)), dim=(0, -2)), RuntimeError, r"sum: dim \(0, -2\) names an axis twice"

    def cost(x: Any, *args: Any, **kwargs: Any) -> Cost:
        return Cost(bytes=x.nbytes, flops=x.size)
