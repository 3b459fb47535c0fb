"""Slicing, indexing, joining and padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import kernels
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.ops._common import check_tensor


def getitem(input: Tensor, index: Any) -> Tensor:
    """input[index]: integers, slices (positive steps), None and Ellipsis give a view."""
    check_tensor("indexing", input=input)
    return Slice.apply(input, index=basic(input.shape, index if isinstance(index, tuple) else (index,)))


def basic(shape: tuple[int, ...], index: tuple[Any, ...]) -> tuple[Any, ...]:
    """A basic index in full: one integer >= 0 or slice with bounds for every axis of `shape`, and None for new axes."""
    given = len([i for i in index if i is not None and i is not Ellipsis])
    if given > len(shape):
        raise IndexError(f"indexing: {given} indices for a tensor of {len(shape)} dimension(s) {tuple(shape)}")
    if len([i for i in index if i is Ellipsis]) > 1:
        raise IndexError("indexing: an index can have only one ellipsis ('...')")
    rest = (slice(None),) * (len(shape) - given)
    at = next((k for k, i in enumerate(index) if i is Ellipsis), None)
    full = index + rest if at is None else index[:at] + rest + index[at + 1 :]
    out: list[Any] = []
    axis = 0
    for i in full:
        if i is None:
            out.append(None)
            continue
        n = shape[axis]
        if isinstance(i, slice):
            start, stop, step = i.indices(n)
            if step <= 0:
                raise ValueError(f"indexing: the slice step must be positive, not {step}; use flip")
            out.append(slice(start, max(stop, start), step))
        else:
            at = i.__index__()
            if not -n <= at < n:
                raise IndexError(f"indexing: index {at} is out of range for dimension {axis} with size {n}")
            out.append(at % n)
        axis += 1
    return tuple(out)


class Slice(Op, name="slice", function="getitem"):
    widen = False

    def forward_cpu(self, x: Any, index: tuple[Any, ...]) -> Any:
        return x[(*index, Ellipsis)]  # the ellipsis keeps NumPy from turning a 0-d result into a scalar

    forward_kernel = forward_cpu

    def backward_graph(self, dy: Tensor, index: tuple[Any, ...]) -> Tensor:
        return Place.apply(dy, shape=self.meta[0][0], index=index)  # type: ignore[attr-defined]

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), (slice(None), 1)], [2.0, 4.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 5)), (slice(1, None, 2), None, 3))
        yield Sample(rng.normal(size=(4, 5)), (Ellipsis, slice(5, 2)))
        yield Sample(rng.normal(size=(4,)), -1)
        yield Sample(rng.normal(size=()), Ellipsis)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), (0, 3)), IndexError, r"indexing: index 3 is out of range for dimension 1 with size 3"
        yield Sample(np.zeros((2, 3)), (0, 1, 2)), IndexError, r"indexing: 3 indices for a tensor of 2 dimension\(s\) \(2, 3\)"
        yield Sample(np.zeros(3), slice(None, None, -1)), ValueError, r"indexing: the slice step must be positive"

    def cost(x: Any, index: Any) -> Cost:
        return Cost(bytes=0, flops=0)


class Place(Op):
    """Zeros of `shape` with x written at a basic index: the derivative of a slice."""

    name = "place"

    widen = False

    def forward_cpu(self, x: Any, shape: tuple[int, ...], index: tuple[Any, ...]) -> Any:
        out = self.device.empty(shape, x.dtype)
        kernels.fill(self.device, out, 0)
        kernels.copy_into(self.device, out[(*index, Ellipsis)], x)
        return out

    forward_kernel = forward_cpu

    def backward_graph(self, dy: Tensor, index: tuple[Any, ...]) -> Tensor:
        return Slice.apply(dy, index=index)
