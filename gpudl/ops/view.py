"""Shapes: reshape, view, transpose, expand and their relatives. Results share the input's memory wherever strides can say them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl import kernels
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor, as_shape
from gpudl.autograd import Cost, Op, Sample
from gpudl.ops._common import axis, check_tensor, numpy_names


def viewable(shape: Sequence[int], strides: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether memory of this shape and these strides (any unit) can be seen as `wanted` without a copy.

    Runs of axes that are walked as one (stride[i] == stride[i+1] * shape[i+1]) may be cut anew; a new axis may not cross two runs.
    """
    if math.prod(shape) == 0:
        return True
    runs: list[int] = []  # extents of the runs, first to last; axes of extent 1 belong to any
    last = None
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if runs and last == s * n:
            runs[-1] *= n
        else:
            runs.append(n)
        last = s
    at, left = 0, runs[0] if runs else 1
    for n in wanted:
        if n == 1:
            continue
        if left == 1:
            at += 1
            left = runs[at]
        if left % n:
            return False
        left //= n
    return True


def target_shape(op: str, shape: tuple[int, ...], wanted: Sequence[Any]) -> tuple[int, ...]:
    """`wanted` with its -1 filled in; ShapeError where it does not hold as many elements as `shape`."""
    out = as_shape(wanted)
    size = math.prod(shape)
    if out.count(-1) > 1 or any(n < -1 for n in out):
        raise ShapeError(f"{op}: the shape {out} must have extents >= 0 and at most one -1")
    if -1 in out:
        rest = math.prod(n for n in out if n != -1)
        if rest == 0 or size % rest:
            raise ShapeError(f"{op}: the input is {tuple(shape)} with {size} element(s), which do not divide into {out}")
        out = tuple(size // rest if n == -1 else n for n in out)
    if math.prod(out) != size:
        raise ShapeError(f"{op}: the input is {tuple(shape)} with {size} element(s) and the shape {out} has {math.prod(out)}")
    return out


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in row-major order under another shape; one extent may be -1. A view where strides allow it, else a copy.

    ShapeError where the number of elements differs.
    """
    check_tensor("reshape", input=input)
    return Reshape.apply(input, shape=target_shape("reshape", input.shape, shape))


def view(input: Tensor, *shape: Any) -> Tensor:
    """As `reshape`, and never a copy: ShapeError where the strides do not allow a view. `view(dtype)` is not supported."""
    check_tensor("view", input=input)
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type)):
        raise NotImplementedError("view: view(dtype) is not supported; .to(dtype) converts the values")
    wanted = target_shape("view", input.shape, shape)
    if not viewable(input.shape, input._array.strides, wanted):
        raise ShapeError(
            f"view: a tensor {tuple(input.shape)} with strides {input.stride()} cannot be seen as {wanted} without a copy; use .reshape(...)"
        )
    return Reshape.apply(input, shape=wanted)


def permute(input: Tensor, *dims: Any) -> Tensor:
    """Axes in the order `dims`; a view. IndexError for an axis out of range, ShapeError unless each axis is named once."""
    check_tensor("permute", input=input)
    named = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    order = tuple(axis("permute", d, input.ndim) for d in named)
    if sorted(order) != list(range(input.ndim)):
        raise ShapeError(f"permute: dims {tuple(named)} must name each of the {input.ndim} axes of {tuple(input.shape)} once")
    return Permute.apply(input, dims=order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged; a view. IndexError for an axis out of range."""
    check_tensor("transpose", input=input)
    a, b = axis("transpose", dim0, input.ndim), axis("transpose", dim1, input.ndim)
    order = list(range(input.ndim))
    if input.ndim:
        order[a], order[b] = b, a
    return Permute.apply(input, dims=tuple(order))


swapaxes = swapdims = transpose


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a tensor of fewer dimensions as it is. ShapeError for more than two."""
    if input.ndim > 2:
        raise ShapeError(f"t: the input is {tuple(input.shape)}; at most 2 dimensions are allowed. Use .mT or .transpose(a, b)")
    return Permute.apply(input, dims=tuple(reversed(range(input.ndim))))


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Axes `source` moved to the places `destination` (ints or tuples), the others kept in order; a view."""
    check_tensor("movedim", input=input)
    source = (source,) if isinstance(source, (int, np.integer)) else tuple(source)
    destination = (destination,) if isinstance(destination, (int, np.integer)) else tuple(destination)
    a, b = ([axis("movedim", d, input.ndim) for d in dims] for dims in (source, destination))
    if len(a) != len(b) or len(set(a)) != len(a) or len(set(b)) != len(b):
        raise ShapeError(f"movedim: source {source} and destination {destination} must name equally many axes, each once")
    order = [d for d in range(input.ndim) if d not in a]
    for at, d in sorted(zip(b, a, strict=True)) if input.ndim else ():
        order.insert(at, d)
    return Permute.apply(input, dims=tuple(order))


moveaxis = movedim


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Broadcast to a larger shape without a copy; -1 keeps an extent. The result cannot be written to.

    ShapeError where an extent that is not 1 would have to change.
    """
    check_tensor("expand", input=input)
    wanted = as_shape(sizes)
    lead = len(wanted) - input.ndim
    shape = tuple(input.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(wanted))
    if lead < 0 or any(n < 0 for n in shape) or any(have not in (1, n) for have, n in zip(input.shape, shape[lead:], strict=True)):
        raise ShapeError(f"expand: {tuple(input.shape)} does not broadcast to {wanted}; only extents of 1 can grow, new axes come first")
    return Expand.apply(input, shape=shape)


def broadcast_to(input: Tensor, shape: Any) -> Tensor:
    return expand(input, *as_shape((shape,)))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    return expand(input, *other.shape)


@numpy_names
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the axes of extent 1 (all, or of those named in dim: an int or a tuple); a view."""
    check_tensor("squeeze", input=input)
    if dim is None:
        gone = set(range(input.ndim))
    else:
        gone = {axis("squeeze", d, input.ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    return Reshape.apply(input, shape=tuple(n for i, n in enumerate(input.shape) if n != 1 or i not in gone))


@numpy_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new axis of extent 1 at dim; a view. IndexError for a dim outside [-ndim - 1, ndim]."""
    check_tensor("unsqueeze", input=input)
    at = axis("unsqueeze", dim, input.ndim + 1)
    return Reshape.apply(input, shape=(*input.shape[:at], 1, *input.shape[at:]))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim as one; a view where strides allow it. A 0-d tensor becomes (1,)."""
    check_tensor("flatten", input=input)
    a, b = axis("flatten", start_dim, input.ndim), axis("flatten", end_dim, input.ndim)
    if a > b:
        raise ShapeError(f"flatten: start_dim {start_dim} lies after end_dim {end_dim} for the shape {tuple(input.shape)}")
    return Reshape.apply(input, shape=(*input.shape[:a], math.prod(input.shape[a : b + 1]), *input.shape[b + 1 :]))


def ravel(input: Tensor) -> Tensor:
    return reshape(input, -1) if input.numel() else reshape(input, 0)


@numpy_names
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Axis dim cut into the extents `sizes` (one may be -1); a view. ShapeError where they do not multiply to its extent."""
    check_tensor("unflatten", input=input)
    at = axis("unflatten", dim, input.ndim)
    inner = target_shape("unflatten", tuple(input.shape[at : at + 1]), as_shape((sizes,)))
    return Reshape.apply(input, shape=(*input.shape[:at], *inner, *input.shape[at + 1 :]))


class Reshape(Op, name="reshape"):
    widen = False
    view = True

    def forward_cpu(self, x: Any, shape: tuple[int, ...]) -> Any:
        return x.reshape(shape)

    def forward_kernel(self, x: Any, shape: tuple[int, ...]) -> Any:
        return (x if viewable(x.shape, x.strides, shape) else kernels.contiguous(self.device, x)).reshape(shape)

    def backward_cpu(self, dy: Any) -> Any:
        return dy.reshape(self.meta[0][0])

    def backward_kernel(self, dy: Any) -> Any:
        return self.forward_kernel(dy, self.meta[0][0])

    def backward_graph(self, dy: Tensor) -> Tensor:
        return dy.reshape(self.meta[0][0])

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 4], [1.0, 2.0, 3.0, 4.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 4)), (2, -1))
        yield Sample(rng.normal(size=(3, 4)).T, (6, 2))
        yield Sample(rng.normal(size=()), (1, 1))
        yield Sample(np.zeros((0, 3)), (3, 0, 5))

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), 4), ValueError, r"reshape: the input is \(2, 3\) with 6 element\(s\) and the shape \(4,\) has 4"
        yield Sample(np.zeros((2, 3)), -1, 4), ValueError, r"reshape: .* do not divide into \(-1, 4\)"

    def cost(x: Any, *shape: Any) -> Cost:
        return Cost(bytes=0, flops=0)


class Permute(Op, name="permute"):
    widen = False
    view = True

    def forward_cpu(self, x: Any, dims: tuple[int, ...]) -> Any:
        return x.transpose(dims)

    def backward_cpu(self, dy: Any, dims: tuple[int, ...]) -> Any:
        return dy.transpose(inverse(dims))

    forward_kernel, backward_kernel = forward_cpu, backward_cpu

    def backward_graph(self, dy: Tensor, dims: tuple[int, ...]) -> Tensor:
        return dy.permute(inverse(dims))

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), (1, 0)], [[1.0, 3.0], [2.0, 4.0]]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(2, 3, 4)), (2, 0, 1))
        yield Sample(rng.normal(size=()), ())
        yield Sample(np.zeros((0, 3)), 1, 0)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), (0, 0)), ValueError, r"permute: dims \(0, 0\) must name each of the 2 axes of \(2, 3\) once"
        yield Sample(np.zeros((2, 3)), (0, 2)), IndexError, r"permute: dim 2 is out of range"

    def cost(x: Any, *dims: Any) -> Cost:
        return Cost(bytes=0, flops=0)


def inverse(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(dims)), key=dims.__getitem__))


class Expand(Op, name="expand"):
    widen = False
    view = True

    def forward_cpu(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self.device.xp.broadcast_to(x, shape)

    def backward_graph(self, dy: Tensor) -> Tensor:
        return dy  # the base class sums it to the input's shape

    backward_cpu = backward_kernel = backward_graph
    forward_kernel = forward_cpu

    def literals() -> Any:
        yield [np.array([[1.0], [2.0]]), 2, 3], [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 1)), 2, -1, 4)
        yield Sample(rng.normal(size=()), 3)
        yield Sample(rng.normal(size=(1, 3)), 0, 3)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), 4, 3), ValueError, r"expand: \(2, 3\) does not broadcast to \(4, 3\)"

    def cost(x: Any, *sizes: Any) -> Cost:
        return Cost(bytes=0, flops=0)
