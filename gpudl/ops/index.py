"""Slicing, indexing and writing by index; gather and scatter; joining and padding; sorting.

Three shapes of work: a view (basic indices, diagonals), a gather along (outer, indexed, inner) with one array of flat indices, and copies of
slices (cat, pad). `written`, `place` and `clear` say what writing into a view of a tensor means for the graph of that tensor.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl import _dtypes, autograd, kernels
from gpudl._creation import as_host, tensor
from gpudl._dtypes import ALL, bool_, int64
from gpudl._errors import BoundsError, DeviceError, DtypeError, ShapeError
from gpudl._tensor import Tensor, wrap
from gpudl.autograd import Cost, Op, Sample, no_grad
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import axis, check_tensor, constant, numpy_names
from gpudl.ops.copy import clone, fresh
from gpudl.ops.elementwise import is_flat
from gpudl.ops.reduce import ValuesIndices
from gpudl.ops.view import inverse, reshape, unsqueeze

BLOCK = 256
CALM = 4096  # up to so many indices, walking through all of them for each element is cheap enough for a fixed order
each: dict[str, Any] = dict(grid=lambda O, I, C: ceil_div(O * I * C, BLOCK), block=BLOCK)
long = dict(grid=lambda O, I: O * I, block=BLOCK, BLOCK=BLOCK, dtypes=ALL, strided=("line",), when=lambda sc: sc == 0)  # a block a row


def elements(O: int, I: int, C: int, itemsize: int) -> int:
    """Bytes asked for where each element is read and written once, with an index of its own."""
    return (2 * itemsize + 8) * O * I * C


def in_rows(O: int, I: int, C: int, itemsize: int, BLOCK: int) -> int:
    """The same where a block moves a row, and each of its threads asks for the row's index."""
    return 2 * itemsize * O * I * C + 8 * BLOCK * O * I


def by_rows(C: int, sc: int) -> str:
    """The dispatch rule where a row has one index: whether it is long enough for a block."""
    return "02_rows" if sc == 0 and C >= 64 else "01_naive"


ladder(
    "index.linear",
    Kernel(
        "01_naive.cu",
        grid=lambda size: ceil_div(size, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        dtypes=_dtypes.INTEGERS,
        strided=("index",),
        traffic=lambda size, first, itemsize: size * (itemsize + (8 if first else 16)),
    ),
    Kernel(
        "02_vector.cu",
        grid=lambda size: ceil_div(size, 2 * BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        dtypes=_dtypes.INTEGERS,
        when=lambda dims: is_flat(dims, 1, scalars=False),
        traffic=lambda size, first, itemsize: size * (itemsize + (8 if first else 16)),
    ),
)
ladder(
    "index.forward",
    Kernel("01_naive.cu", **each, BLOCK=BLOCK, dtypes=ALL, strided=("line",), traffic=elements),
    Kernel("02_rows.cu", **long, traffic=in_rows),
    choose=by_rows,
)
ladder(
    "index.backward",
    Kernel(
        "01_walk.cu",
        grid=lambda O, K, C: ceil_div(O * K * C, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        strided=("line",),
        traffic=lambda O, K, I, C, itemsize: 8 * O * K * I * C + itemsize * O * I * C + max(itemsize, 4) * O * K * C,
    ),
    Kernel(
        "02_atomic.cu",
        Step("index_clear", grid=lambda O, K, C: ceil_div(O * K * C, BLOCK), block=BLOCK),
        Step("index_bwd", **each),
        BLOCK=BLOCK,
        strided=("line",),
        deterministic=False,
        traffic=lambda O, K, I, C, itemsize: (itemsize + 8 + max(itemsize, 4)) * O * I * C + max(itemsize, 4) * O * K * C,
    ),
    choose=lambda I: "01_walk" if I <= CALM else "02_atomic",
)
ladder(
    "index.write",
    Kernel("01_naive.cu", **each, BLOCK=BLOCK, dtypes=ALL, strided=("line",), traffic=elements),
    Kernel("02_rows.cu", **long, traffic=in_rows),
    choose=by_rows,
)


# --------------------------------------------------------------------------------------------------------------------- what an index means
EVERYTHING = slice(None)


def basic(shape: tuple[int, ...], index: Sequence[Any]) -> tuple[Any, ...]:
    """A basic index in full: one integer >= 0 or slice with bounds for every axis of `shape`, and None for new axes."""
    out: list[Any] = []
    axis = 0
    for i in index:
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
            if not -n <= i < n:
                raise IndexError(f"indexing: index {i} is out of range for dimension {axis} with size {n}")
            out.append(i % n)
        axis += 1
    return tuple(out)


def parse(input: Tensor, index: Any) -> tuple[tuple[Any, ...], list[tuple[int, Any, int, int]]]:
    """An index as PyTorch reads it: the basic part in full, and the index arrays: (axis of the basic result, array, extent, axis of input).

    A mask becomes one index array for each of its axes. A basic part takes everything where an index array will select.
    """
    given = index if isinstance(index, tuple) else (index,)
    if len(given) <= input.ndim and all([type(i) is int or type(i) is slice for i in given]):  # by far the most common
        return basic(input._array.shape, (*given, *(EVERYTHING,) * (input.ndim - len(given)))), []
    items: list[Any] = []
    for i in given:
        if isinstance(i, (bool, np.bool_)):
            items += [None, np.zeros(int(i), np.int64), "new"]
        elif i is None or i is Ellipsis:
            items.append(i)
        elif isinstance(i, slice):
            items.append(slice(*[None if v is None else v.__index__() for v in (i.start, i.stop, i.step)]))
        elif isinstance(i, (int, np.integer)):
            items.append(int(i))
        elif isinstance(i, (Tensor, np.ndarray, list, tuple, range)):
            array = i if isinstance(i, Tensor) else np.asarray(i if len(np.shape(i)) or isinstance(i, np.ndarray) else list(i))
            if not isinstance(array, Tensor) and array.size == 0 and not isinstance(i, np.ndarray):
                array = array.astype(np.int64)
            dtype = array.dtype
            if dtype != bool_ and dtype not in _dtypes.INTEGERS:
                raise IndexError(f"indexing: an index is {dtype}; integers, slices, None, ..., and arrays of integers or bools are allowed")
            if dtype == np.uint8:
                raise IndexError("indexing: a uint8 index could mean places or a mask; use .long() or .bool()")
            items.append(int(array.item()) if array.ndim == 0 and dtype != bool_ else array)
        else:
            raise IndexError(
                f"indexing: an index is a {type(i).__name__}; integers, slices, None, ..., and arrays of integers or bools are allowed"
            )
    marks = [k for k, i in enumerate(items) if isinstance(i, str)]
    fresh = {k - 1 for k in marks}  # index arrays that select from a new axis of extent 1, made by a plain True or False
    items = [i for k, i in enumerate(items) if k not in marks]
    fresh = {k - sum(m < k for m in marks) for k in fresh}

    def takes(k: int) -> int:
        i = items[k]
        if i is None or i is Ellipsis or k in fresh:
            return 0
        return i.ndim if hasattr(i, "dtype") and i.dtype == bool_ else 1

    consumed = sum(takes(k) for k in range(len(items)))
    if consumed > input.ndim:
        raise IndexError(f"indexing: {consumed} indices for a tensor of {input.ndim} dimension(s) {tuple(input.shape)}")
    if sum(i is Ellipsis for i in items) > 1:
        raise IndexError("indexing: an index can have only one ellipsis ('...')")
    if not any(i is Ellipsis for i in items):
        items.append(Ellipsis)
    plain: list[Any] = []
    arrays: list[tuple[int, Any, int, int]] = []
    at = here = 0  # axis of input, axis of the basic result
    for k, i in enumerate(items):
        if i is Ellipsis:
            rest = input.ndim - consumed
            plain += [slice(None)] * rest
            at, here = at + rest, here + rest
        elif i is None:
            plain.append(None)
            here += 0 if k + 1 in fresh else 1
        elif isinstance(i, int):
            plain.append(i)
            at += 1
        elif isinstance(i, slice):
            plain.append(i)
            at, here = at + 1, here + 1
        elif k in fresh:
            arrays.append((here, i, 1, at))
            here += 1
        elif i.dtype == bool_:
            if i.ndim == 0:
                raise NotImplementedError("indexing: a 0-d bool tensor as an index is not supported; use True, False or a mask with axes")
            if tuple(i.shape) != tuple(input.shape[at : at + i.ndim]):
                raise IndexError(
                    f"indexing: the mask is {tuple(i.shape)} and the axes {at} to {at + i.ndim - 1} it selects from are {tuple(input.shape[at : at + i.ndim])}"
                )
            for places in nonzero(i, as_tuple=True) if isinstance(i, Tensor) else np.nonzero(i):
                plain.append(slice(None))
                arrays.append((here, places, input.shape[at], at))
                at, here = at + 1, here + 1
        else:
            plain.append(slice(None))
            arrays.append((here, i, input.shape[at], at))
            at, here = at + 1, here + 1
    return basic(input.shape, plain), arrays


def flat(arrays: Sequence[tuple[int, Any, int, int]], device: Any, op: str = "indexing") -> Tensor:
    """Index arrays broadcast together and joined to indices into the flattened axes that they select from: int64, checked, on `device`.

    x[...] and take_along_dim count negative indices from the end; gather, scatter and their like (any other `op`) take none, as in PyTorch.
    """
    wraps = op in ("indexing", "take_along_dim")
    try:
        shape = np.broadcast_shapes(*[tuple(a.shape) for _, a, _, _ in arrays])
    except ValueError:
        shapes = ", ".join(str(tuple(a.shape)) for _, a, _, _ in arrays)
        raise IndexError(f"indexing: index arrays of shapes {shapes} do not broadcast together") from None
    values = [a._array if isinstance(a, Tensor) and not a.device.kernels else a for _, a, _, _ in arrays]
    if all(isinstance(v, np.ndarray) for v in values):  # known on the host: a wrong one is named at once
        line: Any = 0
        for v, (_, _, n, at) in zip(values, arrays, strict=True):
            wrong = (v < (-n if wraps else 0)) | (v >= n)
            if wrong.any():
                raise BoundsError(f"{op}: index {int(v[wrong][0])} is out of range for dimension {at} with size {n}")
            line = line * n + np.where(v < 0, v.astype(np.int64) + n, v)
        return wrap(
            device.from_host(np.ascontiguousarray(np.broadcast_to(line, shape), dtype=np.int64))
            if device.kernels
            else np.asarray(line, np.int64),
            device,
        )
    joined = device.empty(shape, int64)
    for k, (v, (_, a, n, _)) in enumerate(zip(values, arrays, strict=True)):
        if isinstance(v, Tensor) and v.device is not device:
            raise DeviceError(f"{op}: the tensor is on {device} and an index on {v.device}; move it with .to({str(device)!r})")
        given = a._array if isinstance(a, Tensor) and a.device is device else device.from_host(np.asarray(v))
        given = device.xp.broadcast_to(given, shape)
        if joined.size:
            kernels.launch(device, "index.linear", {
                "index": given, "line": joined, "dims": kernels.dims(shape, given), "size": joined.size, "n": n, "wraps": int(wraps),
                "first": int(k == 0), "flag": device.flag(),
            })  # fmt: skip
    return wrap(joined, device)


def chosen(input: Tensor, index: Any) -> tuple[Tensor, Tensor | None, int, int]:
    """(view, flat indices or None, first indexed axis, how many): what an index selects is `Take` of that view."""
    plain, arrays = parse(input, index)
    seen = Slice.apply(input, index=plain)
    if not arrays:
        return seen, None, 0, 0
    places = [p for p, _, _, _ in arrays]
    at = places[0]
    if places != list(range(at, at + len(places))):  # apart: the selected axes go to the front, as in NumPy
        seen = seen.permute([*places, *[d for d in range(seen.ndim) if d not in places]])
        at = 0
    return seen, flat(arrays, input.device), at, len(places)


def getitem(input: Tensor, index: Any) -> Tensor:
    """input[index], with integers, slices (positive steps), None, Ellipsis, masks and integer arrays (Tensors, NumPy arrays, lists), mixed.

    Integers, slices, None and Ellipsis alone give a view; with index arrays the result is a copy whose gradient adds up where an index
    repeats. IndexError (op, index, size) for an index out of range; ValueError for a slice step that is not positive.
    """
    check_tensor("indexing", input=input)
    seen, line, at, count = chosen(input, index)
    return seen if line is None else Take.apply(seen, line, at=at, count=count, full=False)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """input[index] = value (a Tensor, number, array or list, broadcast and cast): in place, and part of the graph.

    The gradient of what is overwritten is 0, that of value is taken from its place. Where an index repeats, one of its values stays.
    RuntimeError for a leaf that requires a gradient, ShapeError for a value that does not fit, IndexError for an index out of range.
    """
    input._check_writable("indexed assignment")
    if not isinstance(value, Tensor):
        if isinstance(value, (bool, int, float, np.generic)):
            value = constant(value.item() if isinstance(value, np.generic) else value, input.dtype, input.device)
        else:
            value = wrap(input.device.from_host(as_host(value)), input.device)
    if value.device is not input.device:
        if value.ndim:
            raise DeviceError(
                f"indexed assignment: the tensor is on {input.device} and the value on {value.device}; they must be on one device"
            )
        value = value.to(input.device)
    if value.dtype != input.dtype:
        value = value.to(input.dtype)
    if isinstance(index, Tensor) and index.dtype == bool_ and index.shape == input.shape and value.numel() == 1 and input.ndim:
        from gpudl import ops

        input._become(ops.where(index, value.reshape(()), input), "indexed assignment")
        return
    seen, line, at, count = chosen(input, index)
    shape = seen.shape if line is None else (*seen.shape[:at], *line.shape, *seen.shape[at + count :])
    if value.ndim > len(shape) and all(n == 1 for n in value.shape[: value.ndim - len(shape)]):
        value = value.reshape(value.shape[value.ndim - len(shape) :])
    try:
        fits = np.broadcast_shapes(tuple(value.shape), shape) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"indexed assignment: the value is {tuple(value.shape)} and the place is {tuple(shape)}; it must broadcast to it")
    if line is None:
        mine, theirs = seen._array, value._array
        if mine.size and mine.shape == theirs.shape and mine.strides == theirs.strides and kernels.pointer(mine) == kernels.pointer(theirs):
            return  # x[i] += w: the sum was made in place, in this very memory
    if value.numel() and seen.numel() and input.device.shares_memory(seen._array, value._array):
        value = clone(value)
    if line is None:
        seen.copy_(value)
    else:
        write_(seen, line, value if value.shape == shape else value.expand(shape), at=at, count=count, full=False)


# --------------------------------------------------------------------------------------------------------------------- views and the graph
def follow(tensor: Tensor, steps: Any) -> Tensor:
    """The view of `tensor` that these view ops (class, params) lead to."""
    for op, params in steps:
        tensor = op.apply(tensor, **params)
    return tensor


def written(base: Tensor, value: Tensor, steps: Any) -> Tensor:
    """`base` after `value` has been written where `steps` lead: its place in the graph (the memory is base's own)."""
    order = tuple(sorted(range(base.ndim), key=lambda d: -abs(base._array.strides[d])))
    return Written.apply(base, value, steps=steps, order=order)


class Written(Op):
    """dx is dy with the written part zeroed, dv is that part."""

    name = "written"
    widen = False

    def forward_cpu(self, x: Any, v: Any, steps: Any, order: tuple[int, ...]) -> Any:
        return x

    forward_kernel = forward_cpu

    def backward_graph(self, dy: Tensor, steps: Any, order: tuple[int, ...]) -> Any:
        return Clear.apply(dy, steps=steps, order=order) if self.needs[0] else None, follow(dy, steps) if self.needs[1] else None


class Clear(Op):
    """A copy of x with zeros where `steps` lead. The copy has the strides of the tensor that was written to, so that the steps are views."""

    name = "clear"
    widen = False

    def forward_cpu(self, x: Any, steps: Any, order: tuple[int, ...]) -> Any:
        out = self.device.empty(tuple(x.shape[d] for d in order), x.dtype).transpose(inverse(order))
        kernels.copy_into(self.device, out, x)
        kernels.fill(self.device, region(out, self.device, steps), 0)
        return out

    forward_kernel = forward_cpu

    def backward_graph(self, dy: Tensor, steps: Any, order: tuple[int, ...]) -> Tensor:
        return Clear.apply(dy, steps=steps, order=order)


class Place(Op):
    """Zeros of `shape` with x where `steps` lead: the derivative of a view."""

    name = "place"
    widen = False

    def forward_cpu(self, x: Any, shape: tuple[int, ...], steps: Any) -> Any:
        out = self.device.empty(shape, x.dtype)
        kernels.fill(self.device, out, 0)
        kernels.copy_into(self.device, region(out, self.device, steps), x)
        return out

    forward_kernel = forward_cpu

    def backward_graph(self, dy: Tensor, steps: Any) -> Tensor:
        return follow(dy, steps)


def region(array: Any, device: Any, steps: Any) -> Any:
    with no_grad():
        part = follow(wrap(array, device), steps)._array
    if part.size and not device.shares_memory(part, array):
        raise RuntimeError("in-place change of a view: its gradient cannot be routed through this layout; write base[...] = ... instead")
    return part


class Slice(Op, name="slice", function="getitem"):
    widen = False
    view = True

    def forward_cpu(self, x: Any, index: tuple[Any, ...]) -> Any:
        return x[(*index, Ellipsis)]  # the ellipsis keeps NumPy from turning a 0-d result into a scalar

    forward_kernel = forward_cpu

    def backward_cpu(self, dy: Any, index: tuple[Any, ...]) -> Any:
        dx = np.zeros(self.meta[0][0], dy.dtype)
        dx[(*index, Ellipsis)] = dy
        return dx

    def backward_graph(self, dy: Tensor, index: tuple[Any, ...]) -> Tensor:
        return Place.apply(dy, shape=self.meta[0][0], steps=((Slice, {"index": index}),))

    def backward_kernel(self, dy: Any, index: tuple[Any, ...]) -> Any:
        with no_grad():
            return self.backward_graph(wrap(dy, self.device), index)._array

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
        yield Sample(np.zeros(3), 1.0), IndexError, r"indexing: an index is a float; integers, slices"
        yield Sample(np.zeros(3), (Ellipsis, Ellipsis)), IndexError, r"indexing: an index can have only one ellipsis"

    def cost(x: Any, index: Any) -> Cost:
        return Cost(bytes=0, flops=0)


class Diagonal(Op, name="diagonal"):
    widen = False
    view = True

    def forward_cpu(self, x: Any, offset: int, dim1: int, dim2: int) -> Any:
        x = self.device.xp.moveaxis(x, (dim1, dim2), (-2, -1))
        n, m = x.shape[-2:]
        length = max(min(n, m - offset) if offset >= 0 else min(n + offset, m), 0)
        start = x[..., -offset:, :] if offset < 0 else x[..., offset:]
        shape, strides = (*x.shape[:-2], length), (*x.strides[:-2], x.strides[-2] + x.strides[-1])
        return self.device.xp.lib.stride_tricks.as_strided(start if length else x, shape, strides)

    forward_kernel = forward_cpu

    def backward_graph(self, dy: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
        return Place.apply(dy, shape=self.meta[0][0], steps=((Diagonal, dict(offset=offset, dim1=dim1, dim2=dim2)),))

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]])], [1.0, 4.0]
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 1], [2.0]
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), -2], []

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 5)), -1)
        yield Sample(rng.normal(size=(2, 4, 3)), 1, 2, 0)
        yield Sample(rng.normal(size=(2, 3)), 3)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), 0, 1, -1), RuntimeError, r"diagonal: dim1 1 and dim2 -1 are one axis"

    def cost(x: Any, *args: Any) -> Cost:
        return Cost(bytes=0, flops=0)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements [..., i, i + offset] of the axes dim1 and dim2, as a last axis; a view."""
    check_tensor("diagonal", input=input)
    a, b = axis("diagonal", dim1, input.ndim), axis("diagonal", dim2, input.ndim)
    if a == b:
        raise RuntimeError(f"diagonal: dim1 {dim1} and dim2 {dim2} are one axis of {tuple(input.shape)}; two are needed")
    return Diagonal.apply(input, offset=int(offset), dim1=a, dim2=b)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A copy of the diagonal of a matrix (`diagonal` gives a view); of a vector, the square matrix with that diagonal."""
    check_tensor("diag", input=input)
    if input.ndim == 2:
        return clone(Diagonal.apply(input, offset=int(diagonal), dim1=0, dim2=1))
    if input.ndim != 1:
        raise ShapeError(f"diag: the input is {tuple(input.shape)}; 1 or 2 dimensions are needed")
    n = input.shape[0] + abs(diagonal)
    return Place.apply(input, shape=(n, n), steps=((Diagonal, dict(offset=int(diagonal), dim1=0, dim2=1)),))


# --------------------------------------------------------------------------------------------------------------------- gather and scatter
def form(shape: tuple[int, ...], line: Any, at: int, count: int, full: bool) -> dict[str, int]:
    """The launch's sizes: x (O, K, C), y (O, I, C), and the strides of `line`, which has y's shape (full) or its middle's alone."""
    outer, K, inner = math.prod(shape[:at]), math.prod(shape[at : at + count]), math.prod(shape[at + count :])
    I = line.shape[at] if full else line.size  # noqa: E741
    return dict(O=outer, K=K, I=I, C=inner, so=I * inner if full else 0, si=inner if full else 1, sc=int(full))


class Take(Op, name="take_along", function="getitem"):
    """y[o, i, c] = x[o, line[i], c], or line[o, i, c] where it is full; x (O, K, C) are x's axes before, at and after `at`."""

    widen = False
    ladders = ("index.forward", "index.backward", "index.linear")

    def forward_cpu(self, x: Any, line: Any, at: int, count: int, full: bool) -> Any:
        self.save(line=line)
        if full:
            return np.take_along_axis(x, line, at)
        if count != 1:
            x = x.reshape(*x.shape[:at], -1 if x.size else math.prod(x.shape[at : at + count]), *x.shape[at + count :])
        return np.asarray(np.take(x, line, axis=at))

    def forward_kernel(self, x: Any, line: Any, at: int, count: int, full: bool) -> Any:
        line = kernels.contiguous(self.device, line)
        self.save(line=line)
        y = self.device.empty(line.shape if full else (*x.shape[:at], *line.shape, *x.shape[at + count :]), x.dtype)
        if y.size:
            self.launch("index.forward", x=x, line=line, y=y, **form(x.shape, line, at, count, full))
        return y

    def backward_graph(self, dy: Tensor, line: Tensor, at: int, count: int, full: bool) -> Tensor:
        return Put.apply(dy, line, shape=self.meta[0][0], at=at, count=count, full=full)

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), [2, -3, 2]], [[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [True, True]])], [1.0, 3.0, 4.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 70)), [2, 0, -1, 2])
        yield Sample(rng.normal(size=(3, 4, 2)), (slice(None), np.array([[0, 3], [3, 1]])))
        yield Sample(rng.normal(size=(3, 4, 5)), ([0, 2], slice(1, 3), [[1], [1]]))
        yield Sample(rng.normal(size=(3, 4, 5)), (1, np.array([True, False, True, True]), None))
        yield Sample(rng.normal(size=(3, 4)), np.zeros((0,), np.int64))
        yield Sample(rng.normal(size=(5,)), (np.array([1, 1, 1, 4, -5]),))
        yield Sample(rng.normal(size=(3, 4)), np.arange(12).reshape(3, 4) % 3 == 0)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), (slice(None), [0, 3])), IndexError, r"indexing: index 3 is out of range for dimension 1 with size 3"
        yield Sample(np.zeros((2, 3)), np.array([0.5])), IndexError, r"indexing: an index is float64; integers"
        yield Sample(np.zeros((2, 3)), ([0, 1], [0, 1, 2])), IndexError, r"indexing: index arrays of shapes \(2,\), \(3,\) do not broadcast"
        yield Sample(np.zeros((2, 3)), np.ones(3, bool)), IndexError, r"indexing: the mask is \(3,\) and the axes 0 to 0 .* are \(2,\)"

    def cost(x: Any, index: Any) -> Cost:
        return Cost(bytes=x.nbytes, flops=0)


class Put(Op):
    """y[o, k, c] = sum of x[o, i, c] over the i that point at k: the derivative of `Take`."""

    name = "put_along"

    def forward_cpu(self, x: Any, line: Any, shape: tuple[int, ...], at: int, count: int, full: bool) -> Any:
        self.save(line=line)
        f = form(shape, line, at, count, full)
        O, K, I, C = f["O"], f["K"], f["I"], f["C"]  # noqa: E741
        if x.size == 0:
            return np.zeros(shape, x.dtype)
        values = x.reshape(O, I, C)
        if full:
            where = (np.arange(O)[:, None, None] * K + line.reshape(O, I, C)) * C + np.arange(C)
            if _dtypes.is_float(x.dtype):
                return np.bincount(where.reshape(-1), values.reshape(-1), O * K * C).astype(x.dtype).reshape(shape)
            out = np.zeros(O * K * C, x.dtype)
            np.add.at(out, where.reshape(-1), values.reshape(-1))
            return out.reshape(shape)
        out = np.zeros((O, K, C), x.dtype)
        order = np.argsort(line.reshape(-1), kind="stable")
        sorted_ = line.reshape(-1)[order]
        starts = np.flatnonzero(np.r_[True, sorted_[1:] != sorted_[:-1]])
        out[:, sorted_[starts]] = values[:, order] if len(starts) == I else np.add.reduceat(values[:, order], starts, axis=1)
        return out.reshape(shape)

    def forward_kernel(self, x: Any, line: Any, shape: tuple[int, ...], at: int, count: int, full: bool) -> Any:
        self.save(line=line)
        half = x.dtype in _dtypes.HALVES
        y = self.device.empty(shape, _dtypes.float32 if half else x.dtype)  # sums are kept in acc_t
        if x.size:
            self.launch("index.backward", dy=x, line=line, dx=y, **form(shape, line, at, count, full))
        else:
            kernels.fill(self.device, y, 0)
        if half:
            rounded = self.device.empty(shape, x.dtype)
            kernels.copy_into(self.device, rounded, y)
            return rounded
        return y

    def backward_graph(self, dy: Tensor, line: Tensor, at: int, count: int, full: bool) -> Tensor:
        return Take.apply(dy, line, at=at, count=count, full=full)


def write_(target: Tensor, line: Tensor, value: Tensor, **place: Any) -> Tensor:
    """Write value to the places of `line` in target's memory; part of the graph where a gradient is needed."""
    target._check_writable("indexed assignment")
    if autograd.is_grad_enabled() and (target.requires_grad or value.requires_grad):
        if value.requires_grad and target._view is not None and not target._is_tracked():
            raise RuntimeError("indexed assignment: this view was not made inside the graph; write base[...] = ... instead")
        done = Write.apply(target, line, value, **place)
        target._wrote()
        target._rebase(done)
    else:
        Write.apply(target.detach(), line, value.detach(), **place)
        target._wrote()
    return target


class Write(Op, name="index_write", function="scatter"):
    """x[o, line, c] = v[o, i, c] in x's memory. dx is dy with those places zeroed, dv is what dy has there."""

    widen = False
    ladders = ("index.write", "index.linear")

    def forward_cpu(self, x: Any, line: Any, v: Any, at: int, count: int, full: bool) -> Any:
        self.save(line=line)
        if full:
            np.put_along_axis(x, line, v, at)
        elif v.size:
            x[(*(slice(None),) * at, *np.unravel_index(line, x.shape[at : at + count]))] = v
        return x

    def forward_kernel(self, x: Any, line: Any, v: Any, at: int, count: int, full: bool) -> Any:
        line = kernels.contiguous(self.device, line)
        self.save(line=line)
        if v.size:
            own = kernels.contiguous(self.device, x)
            self.launch("index.write", x=own, line=line, v=v, **form(x.shape, line, at, count, full))
            if own is not x:
                kernels.copy_into(self.device, x, own)
        return x

    def backward_graph(self, dy: Tensor, line: Tensor, at: int, count: int, full: bool) -> Any:
        dx = dv = None
        if self.needs[0]:
            zero = constant(0, dy.dtype, dy.device).expand(self.meta[2][0])
            dx = write_(clone(dy), line, zero, at=at, count=count, full=full)
        if self.needs[2]:
            dv = Take.apply(dy, line, at=at, count=count, full=full)
        return dx, None, dv

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 1, np.array([[1], [0]]), 9.0], [[1.0, 9.0], [9.0, 4.0]]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 5)), 1, np.array([[4, 0], [1, 2]]), rng.normal(size=(2, 3)))
        yield Sample(rng.normal(size=(3, 4, 2)), 0, np.arange(16).reshape(2, 4, 2) // 8, rng.normal(size=(2, 4, 2)))

    def errors() -> Any:
        yield (
            Sample(np.zeros((2, 3)), 1, np.array([[3]]), 1.0),
            IndexError,
            r"scatter: index 3 is out of range for dimension 1 with size 3",
        )
        yield Sample(np.zeros((2, 3)), 1, np.array([[0, 1]]), np.zeros((1, 1))), ShapeError, r"scatter: index \(1, 2\) is larger than src"

    def cost(x: Any, dim: int, index: Any, src: Any) -> Cost:
        return Cost(bytes=2 * index.size * x.itemsize + index.nbytes, flops=0)


@numpy_names
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """input[..., index, ...] at axis dim for a 1-D integer index; the gradient adds up where an index repeats. IndexError out of range."""
    check_tensor("index_select", input=input, index=index)
    at = axis("index_select", dim, input.ndim)
    if index.ndim > 1 or index.dtype not in _dtypes.INTEGERS:
        raise IndexError(f"index_select: index is {index.dtype} {tuple(index.shape)}; a 1-D integer tensor is needed")
    if not input.ndim:
        return input.reshape(1)[index.reshape(-1)].reshape(())
    return Take.apply(input, flat([(at, index.reshape(-1), input.shape[at], at)], input.device, "index_select"), at=at, count=1, full=False)


def rows(op: str, weight: Tensor, index: Tensor) -> Tensor:
    """weight[index] for an integer index of any shape into the first axis. BoundsError for an index outside [0, n)."""
    check_tensor(op, input=index, weight=weight)
    if index.dtype not in (int64, _dtypes.int32):
        raise DtypeError(f"{op}: input is {index.dtype}; int64 or int32 is needed. Convert it with .long()")
    return Take.apply(weight, flat([(0, index, weight.shape[0], 0)], weight.device, op), at=0, count=1, full=False)


def _gathered(op: str, input: Tensor, dim: int, index: Tensor) -> tuple[Tensor, Tensor, int]:
    """(input cut to index's extents on the other axes, checked index, axis)."""
    check_tensor(op, input=input, index=index)
    at = axis(op, dim, input.ndim)
    if index.dtype not in (int64, _dtypes.int32) or index.ndim != input.ndim:
        raise RuntimeError(
            f"{op}: index is {index.dtype} {tuple(index.shape)} and input {tuple(input.shape)}; an integer index of equally many dimensions is needed"
        )
    if any(i > n for d, (i, n) in enumerate(zip(index.shape, input.shape, strict=True)) if d != at):
        raise ShapeError(f"{op}: index {tuple(index.shape)} is larger than {tuple(input.shape)} along an axis other than {at}")
    line = flat([(at, index, input.shape[at] if input.ndim else 1, at)], input.device, op)
    cut = tuple(slice(None) if d == at else slice(0, n) for d, n in enumerate(index.shape))
    return (input if all(d == at or n == input.shape[d] for d, n in enumerate(index.shape)) else getitem(input, cut)), line, at


@numpy_names
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """y[i, j, k] = x[i, index[i, j, k], k] for dim = 1, and so on; shape of index. The gradient adds up where an index repeats.

    BoundsError for an index outside [0, n), ShapeError where index is larger than input along another axis.
    """
    if sparse_grad:
        raise NotImplementedError("gather: sparse_grad is not supported")
    return _gather("gather", input, dim, index)


def _gather(op: str, input: Tensor, dim: int, index: Tensor) -> Tensor:
    seen, line, at = _gathered(op, input, dim, index)
    if not input.ndim:
        return seen.reshape(1)[line.reshape(1)].reshape(())
    return Gather.apply(seen, line, at=at, count=1, full=True)


class Gather(Take, name="gather"):
    ladders = ("index.forward", "index.backward", "index.linear")

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 1, np.array([[1, 1], [0, 1]])], [[2.0, 2.0], [3.0, 4.0]]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 4)), 1, rng.integers(0, 4, size=(3, 6)))
        yield Sample(rng.normal(size=(3, 4, 2)), 1, rng.integers(0, 4, size=(2, 5, 2)))
        yield Sample(rng.normal(size=(3, 4)), 0, rng.integers(0, 3, size=(2, 4)))

    def errors() -> Any:
        yield (
            Sample(np.zeros((2, 3)), 1, np.array([[3], [0]])),
            IndexError,
            r"gather: index 3 is out of range for dimension 1 with size 3",
        )
        yield Sample(np.zeros((2, 3)), 1, np.zeros((3, 1), np.int64)), ShapeError, r"gather: index \(3, 1\) is larger than \(2, 3\)"

    def cost(x: Any, dim: int, index: Any) -> Cost:
        return Cost(bytes=2 * index.size * x.itemsize + index.nbytes, flops=0)


@numpy_names
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, with input and indices broadcast against each other except along dim; without a dim of the flattened input."""
    check_tensor("take_along_dim", input=input, indices=indices)
    if dim is None:
        return _gather("take_along_dim", input.reshape(-1), 0, indices.reshape(-1))
    at = axis("take_along_dim", dim, input.ndim, least=1)
    if indices.ndim != input.ndim:
        raise ShapeError(
            f"take_along_dim: input is {tuple(input.shape)} and indices {tuple(indices.shape)}; equally many dimensions are needed"
        )
    both = [max(a, b) if a and b else 0 for a, b in zip(input.shape, indices.shape, strict=True)]
    wide, narrow = list(both), list(both)
    wide[at], narrow[at] = input.shape[at], indices.shape[at]
    return _gather("take_along_dim", input.expand(wide), at, indices.expand(narrow).contiguous())


@numpy_names
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None) -> Tensor:
    """A copy of input with y[i, index[i, j, k], k] = src[i, j, k] for dim = 1, and so on; src a Tensor or a number (or value= a number).

    Where an index repeats, one of its values stays. reduce= is not supported (`scatter_add` adds).
    """
    if reduce is not None:
        raise NotImplementedError(f"scatter: reduce={reduce!r} is not supported; scatter_add adds")
    return scatter_(clone(input), dim, index, src, value=value)


@numpy_names
def scatter_(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None) -> Tensor:
    """`scatter` into input's own memory."""
    if (src is None) == (value is None):
        raise TypeError("scatter: give src (a Tensor or a number) or value (a number), one of the two")
    src = value if src is None else src
    check_tensor("scatter", input=input, index=index)
    if not input.ndim:
        scatter_(input.reshape(1), dim, *[t.reshape(-1) if isinstance(t, Tensor) else t for t in (index, src)])
        return input
    seen, line, at = _gathered("scatter", input, dim, index)
    write_(seen, line, _source("scatter", input, index, src), at=at, count=1, full=True)
    return input


@numpy_names
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of input with src[i, j, k] added to y[i, index[i, j, k], k] for dim = 1, and so on; repeats add up."""
    check_tensor("scatter_add", input=input, index=index, src=src)
    if not input.ndim:
        return scatter_add(input.reshape(1), dim, index.reshape(-1), src.reshape(-1)).reshape(())
    seen, line, at = _gathered("scatter_add", input, dim, index)
    added = Put.apply(_source("scatter_add", input, index, src), line, shape=tuple(seen.shape), at=at, count=1, full=True)
    if seen.shape != input.shape:
        steps = ((Slice, {"index": basic(input.shape, [slice(0, n) for n in seen.shape])}),)
        added = Place.apply(added, shape=tuple(input.shape), steps=steps)
    return input + added


@numpy_names
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of input with alpha * source added at the places `index` (1-D) of axis dim; repeats add up.

    source: input's dtype and shape, but at dim as many as index has. IndexError for an index outside [0, n), ShapeError for another source.
    """
    check_tensor("index_add", input=input, index=index, source=source)
    if not input.ndim:
        return index_add(input.reshape(1), dim, index.reshape(-1), source.reshape(-1), alpha=alpha).reshape(())
    at, line = _rows("index_add", input, dim, index, source)
    added = Put.apply(source, line, shape=tuple(input.shape), at=at, count=1, full=False)
    return input + (added if alpha == 1 else added * alpha)


def _rows(op: str, input: Tensor, dim: int, index: Tensor, source: Tensor) -> tuple[int, Tensor]:
    """(axis, checked index) for a source of as many slices of input as index has."""
    at = axis(op, dim, input.ndim)
    if index.dtype not in (int64, _dtypes.int32) or index.ndim > 1:
        raise IndexError(f"{op}: index is {index.dtype} {tuple(index.shape)}; a 1-D integer tensor is needed")
    wanted = (*input.shape[:at], index.numel(), *input.shape[at + 1 :])
    if tuple(source.shape) != wanted:
        raise ShapeError(f"{op}: index is {tuple(index.shape)} and source is {tuple(source.shape)}; with a 1-D index it must be {wanted}")
    if source.dtype != input.dtype:
        raise DtypeError(f"{op}: input is {input.dtype} and source is {source.dtype}; the dtypes must be equal. Convert one with .to()")
    return at, flat([(at, index.reshape(-1), input.shape[at], at)], input.device, op)


def _source(op: str, input: Tensor, index: Tensor, src: Any) -> Tensor:
    if not isinstance(src, Tensor):
        return constant(src, input.dtype, input.device).expand(index.shape)
    if src.dtype != input.dtype:
        raise RuntimeError(f"{op}: src is {src.dtype} and input {input.dtype}; they must be equal")
    if src.ndim != index.ndim or any(i > n for i, n in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(f"{op}: index {tuple(index.shape)} is larger than src {tuple(src.shape)}")
    return src if src.shape == index.shape else getitem(src, tuple(slice(0, n) for n in index.shape))


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of input with y[..., index[i], ...] = source[..., i, ...] at axis dim for a 1-D integer index. Where an index repeats, one of its values stays.

    source: input's dtype and shape, but at dim as many as index has. IndexError for an index outside [0, n), ShapeError for another source.
    """
    check_tensor("index_copy", input=input, index=index, source=source)
    if not input.ndim:
        return index_copy(input.reshape(1), dim, index.reshape(-1), source.reshape(-1)).reshape(())
    at, line = _rows("index_copy", input, dim, index, source)
    return write_(clone(input), line, source, at=at, count=1, full=False)


class IndexCopy(Write, name="index_copy"):
    """`Write` of whole rows, under the function that writes them."""

    def literals() -> Any:
        yield [np.zeros((2, 3)), 1, np.array([2, 0]), np.array([[1.0, 2.0], [3.0, 4.0]])], [[2.0, 0.0, 1.0], [4.0, 0.0, 3.0]]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(5, 3)), 0, np.array([4, 1]), rng.normal(size=(2, 3)))
        yield Sample(rng.normal(size=(2, 4, 300)), 1, np.array([3, 0, 2]), rng.normal(size=(2, 3, 300)), _gradgrad=False)
        yield Sample(rng.normal(size=(2, 3)), 0, np.zeros(0, np.int64), rng.normal(size=(0, 3)))

    def errors() -> Any:
        x = np.zeros((2, 3))
        yield Sample(x, 1, np.array([3]), np.zeros((2, 1))), IndexError, r"index_copy: index 3 is out of range for dimension 1 with size 3"
        yield Sample(x, 1, np.array([1]), np.zeros((2, 2))), ShapeError, r"index_copy: .*with a 1-D index it must be \(2, 1\)"
        yield Sample(x, 1, np.array([1]), np.zeros((2, 1), np.float32)), DtypeError, r"index_copy: input is float64 and source is float32"

    def cost(x: Any, dim: int, index: Any, source: Any) -> Cost:
        return Cost(bytes=2 * source.nbytes + index.nbytes, flops=0)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Places of the elements that are not 0, in row-major order: an int64 tensor (count, ndim), or one 1-D tensor an axis with as_tuple.

    Their number is data: on a GPU this waits for it.
    """
    check_tensor("nonzero", input=input)
    device = input.device
    given = input._array
    if given.dtype == _dtypes.bfloat16:
        given = input.detach().float()._array
    found = device.xp.nonzero(device.xp.atleast_1d(given))
    places = [wrap(adopt(device, f.astype(np.int64)), device) for f in found]
    if as_tuple:
        return tuple(places)
    if not input.ndim:
        return wrap(device.empty((places[0].numel(), 0), int64), device)
    return stack(places, 1)


def adopt(device: Any, array: Any) -> Any:
    """What the array module made, as memory of the device: the emulator wants to know all memory that kernels read."""
    return device.from_host(array) if device.kernels and isinstance(array, np.ndarray) else array


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where mask (broadcast with input) is True, as a 1-D tensor."""
    check_tensor("masked_select", input=input, mask=mask)
    if mask.dtype != bool_:
        raise TypeError(f"masked_select: mask is {mask.dtype}; bool is needed")
    shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    return getitem(input.expand(shape) if shape else input.reshape(1), mask.expand(shape).contiguous() if shape else mask.reshape(1))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 zeros of shape (*tensor.shape, num_classes) with a 1 at each class. With -1 there are max + 1 classes (a GPU is waited for).

    TypeError unless integers; ValueError (IndexError on a GPU at the next synchronisation) for a class outside [0, num_classes).
    """
    check_tensor("one_hot", tensor=tensor)
    if tensor.dtype not in _dtypes.INTEGERS:
        raise TypeError(f"one_hot: the classes are {tensor.dtype}; integers are needed")
    if num_classes == -1:
        if not tensor.numel():
            raise ValueError("one_hot: no class to count up to; give num_classes")
        num_classes = int(tensor.max()) + 1
    if tensor.device.type == "cpu" and tensor.numel():
        low, high = int(tensor._array.min()), int(tensor._array.max())
        if low < 0 or high >= num_classes:
            raise BoundsError(f"one_hot: class {low if low < 0 else high} is outside [0, {num_classes})")
    line = flat([(0, tensor, num_classes, 0)], tensor.device, "one_hot")
    out = tensor.device.empty((*tensor.shape, num_classes), int64)
    kernels.fill(tensor.device, out, 0)
    one = constant(1, int64, tensor.device).expand((*tensor.shape, 1))
    return write_(wrap(out, tensor.device), line.reshape(*line.shape, 1), one, at=tensor.ndim, count=1, full=True)


# --------------------------------------------------------------------------------------------------------------------- cutting
@numpy_names
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """input[..., start : start + length, ...] at axis dim; a view. IndexError or ShapeError out of range."""
    check_tensor("narrow", input=input)
    at = axis("narrow", dim, input.ndim, least=1)
    first = int(start)
    n = input.shape[at]
    if not -n <= first <= n:
        raise IndexError(f"narrow: start {first} is out of range for dimension {at} with size {n}")
    first += n if first < 0 else 0
    if length < 0 or first + length > n:
        raise ShapeError(f"narrow: start {first} and length {length} reach outside dimension {at} with size {n}")
    return _part(input, at, first, first + length)


def _part(input: Tensor, at: int, start: int, stop: int) -> Tensor:
    return Slice.apply(input, index=tuple(slice(start, stop, 1) if d == at else slice(0, n, 1) for d, n in enumerate(input.shape)))


@numpy_names
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """input[..., index, ...] at axis dim; a view."""
    at = axis("select", dim, input.ndim)
    return getitem(input, (*(slice(None),) * at, int(index)))


@numpy_names
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along dim as a tuple; views."""
    check_tensor("unbind", input=input)
    at = axis("unbind", dim, input.ndim, least=1)
    return tuple(select(input, at, i) for i in range(input.shape[at]))


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of that size along dim (the last may be smaller), or of the sizes in a list; views. ShapeError where the list does not add up."""
    check_tensor("split", tensor=tensor)
    at = axis("split", dim, tensor.ndim, least=1)
    n = tensor.shape[at]
    if isinstance(split_size_or_sections, (int, np.integer)):
        size = int(split_size_or_sections)
        if size < 0 or (size == 0 and n):
            raise ShapeError(f"split: the size {size} must be positive for dimension {at} with size {n}")
        sizes = [min(size, n - i) for i in range(0, n, size or 1)] or [0]
    else:
        sizes = [int(s) for s in split_size_or_sections]
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise ShapeError(f"split: the sizes {sizes} do not add up to {n}, the size of dimension {at}")
    ends = np.cumsum([0, *sizes])
    return tuple(_part(tensor, at, int(a), int(b)) for a, b in zip(ends[:-1], ends[1:], strict=True))


@numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most that many pieces of equal size along dim (the last may be smaller); views."""
    check_tensor("chunk", input=input)
    if chunks <= 0:
        raise RuntimeError(f"chunk: chunks must be positive, not {chunks}")
    at = axis("chunk", dim, input.ndim, least=1)
    n = input.shape[at]
    return split(input, max(ceil_div(n, chunks), 1), at) if n else split(input, [0] * chunks, at)


# --------------------------------------------------------------------------------------------------------------------- joining
@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0, *, out: Any = None) -> Tensor:
    """The tensors one after another along dim; dtypes are promoted. A 1-D tensor of no elements is left out.

    ShapeError where another axis differs; ValueError for an empty list.
    """
    if out is not None:
        raise NotImplementedError("cat: out= is not supported")
    given = list(tensors)
    if not given:
        raise ValueError("cat: the list of tensors is empty; at least one is needed")
    for k, t in enumerate(given):
        if not isinstance(t, Tensor):
            raise TypeError(f"cat: tensors[{k}] is a {type(t).__name__}; a Tensor is needed")
    used = [t for t in given if t.shape != (0,)] or given[:1]
    first = used[0]
    if not first.ndim:
        raise ShapeError("cat: a 0-d tensor has no axis to join along; use stack")
    at = axis("cat", dim, first.ndim)
    for t in used:
        if t.ndim != first.ndim or any(a != b for d, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if d != at):
            shapes = ", ".join(str(tuple(u.shape)) for u in used)
            raise ShapeError(f"cat: shapes {shapes} must be equal except along dimension {at}")
    dtype = given[0].dtype
    for t in given[1:]:
        dtype = _dtypes.promote_types(dtype, t.dtype)
    return Cat.apply(*[t if t.dtype == dtype else t.to(dtype) for t in used], dim=at)


concat = concatenate = cat


@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Any = None) -> Tensor:
    """The tensors, all of one shape, along a new axis dim. ShapeError where a shape differs."""
    given = list(tensors)
    if not given:
        raise ValueError("stack: the list of tensors is empty; at least one is needed")
    for k, t in enumerate(given):
        if not isinstance(t, Tensor):
            raise TypeError(f"stack: tensors[{k}] is a {type(t).__name__}; a Tensor is needed")
        if t.shape != given[0].shape:
            raise ShapeError(f"stack: tensors[{k}] is {tuple(t.shape)} and tensors[0] {tuple(given[0].shape)}; they must be equal")
    at = axis("stack", dim, given[0].ndim + 1)
    return cat([unsqueeze(t, at) for t in given], at, out=out)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """cat along the first axis; vectors are rows."""
    return cat([reshape(t, 1, -1) if t.ndim < 2 else t for t in tensors], 0)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """cat along the second axis; along the first for vectors."""
    given = [reshape(t, 1) if t.ndim == 0 else t for t in tensors]
    return cat(given, 0 if given and given[0].ndim == 1 else 1)


class Cat(Op, name="cat"):
    widen = False

    def forward_cpu(self, *xs: Any, dim: int) -> Any:
        self.sizes = [x.shape[dim] for x in xs]
        shape = list(xs[0].shape)
        shape[dim] = sum(self.sizes)
        y = self.device.empty(tuple(shape), xs[0].dtype)
        for x, part in zip(xs, self.parts(y, dim), strict=True):
            if x.size:
                kernels.copy_into(self.device, part, x)
        return y

    def parts(self, y: Any, dim: int) -> list[Any]:
        ends = np.cumsum([0, *self.sizes])
        return [y[(*(slice(None),) * dim, slice(int(a), int(b)))] for a, b in zip(ends[:-1], ends[1:], strict=True)]

    def backward_cpu(self, dy: Any, dim: int) -> Any:
        return tuple(self.parts(dy, dim))

    forward_kernel, backward_kernel = forward_cpu, backward_cpu

    def backward_graph(self, dy: Tensor, dim: int) -> Any:
        return split(dy, self.sizes, dim)

    def literals() -> Any:
        yield [[tensor([1.0, 2.0]), tensor([3.0])]], [1.0, 2.0, 3.0]

    def samples(rng: Any) -> Any:
        yield Sample([rng.normal(size=(2, 3)), rng.normal(size=(2, 1)), rng.normal(size=(2, 0))], 1)
        yield Sample([rng.normal(size=(3, 4)), rng.normal(size=(4, 2)).T], -2)

    def errors() -> Any:
        yield (
            Sample([np.zeros((2, 3)), np.zeros((3, 2))]),
            ValueError,
            r"cat: shapes \(2, 3\), \(3, 2\) must be equal except along dimension 0",
        )
        yield Sample([]), ValueError, r"cat: the list of tensors is empty"
        yield Sample([np.zeros(())]), ValueError, r"cat: a 0-d tensor has no axis to join along"

    def cost(xs: Any, *args: Any) -> Cost:
        return Cost(bytes=2 * sum(x.nbytes for x in xs), flops=0)


# --------------------------------------------------------------------------------------------------------------------- padding, turning
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Borders around the last axes: pad is (left, right) of the last axis, then of the one before, ...; negative widths cut off.

    mode: "constant" (value, default 0), "reflect" (without the edge), "replicate" (the edge), "circular".
    ShapeError for an odd or too long pad, or a border that the input is too small to give.
    """
    check_tensor("pad", input=input)
    widths = [int(p) for p in pad]
    if len(widths) % 2 or len(widths) // 2 > input.ndim:
        raise ShapeError(f"pad: {len(widths)} widths {tuple(widths)} for {tuple(input.shape)}; two for each of the last axes are needed")
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise NotImplementedError(f"pad: mode {mode!r} is not supported; 'constant', 'reflect', 'replicate' and 'circular' are")
    if mode != "constant" and value not in (None, 0):
        raise ValueError(f"pad: value={value} goes with mode='constant' only")
    sides = [(0, 0)] * (input.ndim - len(widths) // 2) + [(widths[k], widths[k + 1]) for k in range(len(widths) - 2, -1, -2)]
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(sides, input.shape, strict=True))
    for d, ((a, b), n) in enumerate(zip(sides, input.shape, strict=True)):
        if n + a + b < 0 or (min(a, b) < 0 and cut[d].start > cut[d].stop):
            raise ShapeError(f"pad: widths ({a}, {b}) take more from dimension {d} than its size {n}")
    out = getitem(input, cut) if any(s.start or s.stop != n for s, n in zip(cut, input.shape, strict=True)) else input
    grow = tuple((max(a, 0), max(b, 0)) for a, b in sides)
    if mode == "constant":
        return Pad.apply(out, widths=grow, value=0 if value is None else value) if any(map(any, grow)) or out is input else out
    for d, (a, b) in enumerate(grow):
        n = out.shape[d]
        limit = {"reflect": n - 1, "circular": n, "replicate": math.inf if n else 0}[mode]
        if max(a, b) > max(limit, 0):
            raise ShapeError(f"pad: mode {mode!r} with widths ({a}, {b}) needs more elements than dimension {d} of size {n} has")
        if a or b:
            out = Take.apply(out, wrap(_mirror(mode, n, a, b, out.device), out.device), at=d, count=1, full=False)
    return clone(out) if out is input else out


@functools.lru_cache(maxsize=256)
def _mirror(mode: str, n: int, a: int, b: int, device: Any) -> Any:
    """Where each element of a padded axis comes from; kept, because a step of training pads the same way again and again."""
    places = np.arange(-a, n + b)
    if mode == "reflect":
        places = np.where(places < 0, -places, np.where(places >= n, 2 * (n - 1) - places, places))
    elif mode == "replicate":
        places = np.clip(places, 0, n - 1)
    else:
        places = places % n
    return device.from_host(places.astype(np.int64))


class Pad(Op, name="pad"):
    widen = False

    def inside(self, y: Any, widths: Any) -> tuple[slice, ...]:
        return tuple(slice(a, n - b) for (a, b), n in zip(widths, y.shape, strict=True))

    def forward_cpu(self, x: Any, widths: Any, value: float) -> Any:
        y = self.device.empty(tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)), x.dtype)
        kernels.fill(self.device, y, value)
        kernels.copy_into(self.device, y[(*self.inside(y, widths), Ellipsis)], x)
        return y

    def backward_cpu(self, dy: Any, widths: Any) -> Any:
        return dy[(*self.inside(dy, widths), Ellipsis)]

    forward_kernel, backward_kernel = forward_cpu, backward_cpu

    def backward_graph(self, dy: Tensor, widths: Any) -> Tensor:
        return getitem(dy, self.inside(dy, widths))

    def literals() -> Any:
        yield [np.array([[1.0, 2.0]]), (1, 0, 0, 1)], [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]
        yield [np.array([1.0, 2.0, 3.0]), (-1, 1)], [2.0, 3.0, 5.0], {"value": 5.0}
        yield [np.array([1.0, 2.0, 3.0]), (2, 1), "reflect"], [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
        yield [np.array([1.0, 2.0, 3.0]), (2, 1), "replicate"], [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]
        yield [np.array([1.0, 2.0, 3.0]), (2, 1), "circular"], [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(2, 3)), (1, 2))
        yield Sample(rng.normal(size=(2, 3, 4)), (0, 1, 2, 0), value=1.5)
        yield Sample(rng.normal(size=(3, 4)), (-1, 2, 1, -1))
        yield Sample(rng.normal(size=(3, 4)), (2, 1, 1, 0), "reflect")
        yield Sample(rng.normal(size=(2, 0)), (1, 1))

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), (1,)), ValueError, r"pad: 1 widths \(1,\) for \(2, 3\)"
        yield Sample(np.zeros((2, 3)), (3, 0), "reflect"), ValueError, r"pad: mode 'reflect' with widths \(3, 0\) needs more elements"
        yield Sample(np.zeros((2, 3)), (1, 1), "mirror"), NotImplementedError, r"pad: mode 'mirror' is not supported"

    def cost(x: Any, pad: Any, *args: Any, **kwargs: Any) -> Cost:
        widths = [pad[i] + pad[i + 1] for i in range(0, len(pad), 2)]  # of the last axis, then of the one before, ...
        y = math.prod(n + w for n, w in itertools.zip_longest(x.shape[::-1], widths, fillvalue=0))
        return Cost(bytes=x.nbytes + y * x.itemsize, flops=0)


def flip(input: Tensor, *dims: Any) -> Tensor:
    """A copy with the order along dims (ints) reversed."""
    check_tensor("flip", input=input)
    named = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    return Flip.apply(input, dims=tuple(axis("flip", d, input.ndim) for d in named))


class Flip(Op, name="flip"):
    widen = False

    def forward_cpu(self, x: Any, dims: tuple[int, ...]) -> Any:
        turned = x[tuple(slice(None, None, -1) if d in dims else slice(None) for d in range(x.ndim))] if x.ndim else x
        y = self.device.empty(x.shape, x.dtype)
        if x.size:
            kernels.copy_into(self.device, y, turned)
        return y

    forward_kernel = forward_cpu

    def backward_graph(self, dy: Tensor, dims: tuple[int, ...]) -> Tensor:
        return Flip.apply(dy, dims=dims)

    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), 1], [[2.0, 1.0], [4.0, 3.0]]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(2, 3, 4)), (0, 2))
        yield Sample(rng.normal(size=()), ())

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), 2), IndexError, r"flip: dim 2 is out of range"

    def cost(x: Any, *dims: Any) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=0)


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """A copy shifted along dims, what falls off one end coming back at the other; without dims along the flattened tensor."""
    check_tensor("roll", input=input)
    if dims is None:
        return fresh(roll(input.reshape(-1), shifts, 0).reshape(input.shape), input)
    steps = [shifts] if isinstance(shifts, (int, np.integer)) else list(shifts)
    named = [dims] if isinstance(dims, (int, np.integer)) else list(dims)
    if len(steps) != len(named):
        raise ShapeError(f"roll: {len(steps)} shifts for {len(named)} dims; equally many are needed")
    out = input
    for s, d in zip(steps, named, strict=True):
        at = axis("roll", d, input.ndim, least=1)
        n = input.shape[at]
        if n and s % n:
            cut = n - s % n
            out = cat([_part(out, at, cut, n), _part(out, at, 0, cut)], at)
    return fresh(out, input)


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """A copy tiled that often along each axis; more repeats than axes add axes in front."""
    check_tensor("repeat", input=input)
    times = [int(r) for r in (repeats[0] if len(repeats) == 1 and isinstance(repeats[0], (tuple, list)) else repeats)]
    if len(times) < input.ndim or min(times, default=0) < 0:
        raise ShapeError(f"repeat: repeats {tuple(times)} for {tuple(input.shape)}; one for each axis, none negative, is needed")
    shape = (1,) * (len(times) - input.ndim) + tuple(input.shape)
    pairs = [m for n in shape for m in (1, n)]
    wide = [m for r, n in zip(times, shape, strict=True) for m in (r, n)]
    out = input.reshape(pairs).expand(wide).reshape([r * n for r, n in zip(times, shape, strict=True)])
    return fresh(out, input)


def tile(input: Tensor, *dims: Any) -> Tensor:
    """As `repeat`; fewer dims than axes leave the first axes alone."""
    times = list(dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims)
    return repeat(input, *[1] * (input.ndim - len(times)), *times)


@numpy_names
def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Each element (slice along dim) repeated in place: `repeats` times, or as often as a 1-D integer tensor says for each."""
    check_tensor("repeat_interleave", input=input)
    if dim is None:
        return repeat_interleave(input.reshape(-1), repeats, 0)
    at = axis("repeat_interleave", dim, input.ndim, least=1)
    n = input.shape[at]
    if isinstance(repeats, Tensor):
        counts = np.broadcast_to(repeats.device.to_host(repeats._array), (n,))
        return Take.apply(input, flat([(at, np.repeat(np.arange(n), counts), n, at)], input.device), at=at, count=1, full=False)
    shape = tuple(input.shape)
    out = unsqueeze(input, at + 1).expand(*shape[: at + 1], int(repeats), *shape[at + 1 :])
    return fresh(out.reshape(*shape[:at], n * int(repeats), *shape[at + 1 :]), input)


_triangles: dict[Any, Any] = {}


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """A copy of the lower triangle of the last two axes, zeros above the diagonal."""
    return _triangle("tril", input, diagonal, True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """A copy of the upper triangle of the last two axes, zeros below the diagonal."""
    return _triangle("triu", input, diagonal, False)


def _triangle(op: str, input: Tensor, diagonal: int, lower: bool) -> Tensor:
    from gpudl import ops

    check_tensor(op, input=input)
    if input.ndim < 2:
        raise ShapeError(f"{op}: the input is {tuple(input.shape)}; at least 2 dimensions are needed")
    n, m = input.shape[-2:]
    key = (input.device, n, m, diagonal, lower)
    if key not in _triangles:
        if len(_triangles) > 64:
            _triangles.clear()
        mask = np.tri(n, m, diagonal, dtype=bool) if lower else ~np.tri(n, m, diagonal - 1, dtype=bool)
        _triangles[key] = input.device.from_host(mask)
    return ops.where(wrap(_triangles[key], input.device), input, constant(0, input.dtype, input.device))


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors as coordinates of a grid: one view for each, of shape (len of each ...); "xy" exchanges the first two axes."""
    given = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing {indexing!r} is not known; 'ij' and 'xy' are")
    place = list(range(len(given)))  # the axis along which each vector lies
    if indexing == "xy" and len(given) > 1:
        place[:2] = [1, 0]
    shape = tuple(given[k].numel() for k in place)
    out = [t.reshape([-1 if d == p else 1 for d in range(len(given))]).expand(shape) for t, p in zip(given, place, strict=True)]
    return tuple(out)


# --------------------------------------------------------------------------------------------------------------------- sorting
@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Indices (int64) that sort along dim; equal elements keep their order, NaN counts as the largest."""
    check_tensor("argsort", input=input)
    return Argsort.apply(input.detach(), dim=axis("argsort", dim, input.ndim), descending=bool(descending))


@numpy_names
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """(values, indices) sorted along dim; equal elements keep their order, NaN counts as the largest. The gradient goes back to its place."""
    check_tensor("sort", input=input)
    order = argsort(input, dim, descending, stable)
    return ValuesIndices(gather(input, dim, order), order)


def msort(input: Tensor) -> Tensor:
    return sort(input, 0).values


@numpy_names
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """(values, indices) of the k largest (or smallest) elements along dim, in order. RuntimeError for a k that is not in [0, size]."""
    check_tensor("topk", input=input)
    at = axis("topk", dim, input.ndim)
    n = input.shape[at] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: k={k} is out of range for dimension {at} with size {n}")
    order = argsort(input, at, largest)
    order = narrow(order, at, 0, k) if order.ndim else order
    return ValuesIndices(gather(input, at, order), order)


class Argsort(Op, name="argsort"):
    def forward_cpu(self, x: Any, dim: int, descending: bool) -> Any:
        xp = self.device.xp
        if not x.ndim:
            return np.zeros((), np.int64)
        if not descending:
            return xp.argsort(x, axis=dim, kind="stable").astype(np.int64)
        back = xp.flip(xp.argsort(xp.flip(x, dim), axis=dim, kind="stable"), dim)  # equal elements keep their order here too
        return (x.shape[dim] - 1 - back).astype(np.int64)

    def forward_kernel(self, x: Any, dim: int, descending: bool) -> Any:
        if not x.ndim:
            y = self.device.empty((), int64)
            kernels.fill(self.device, y, 0)
            return y
        if x.dtype in _dtypes.HALVES or x.dtype == bool_:
            wide = self.device.empty(x.shape, _dtypes.float32)
            kernels.copy_into(self.device, wide, x)
            x = wide
        return adopt(self.device, self.forward_cpu(x, dim, descending))

    def literals() -> Any:
        yield [np.array([3.0, 1.0, math.nan, 1.0])], [1, 3, 0, 2]
        yield [np.array([3.0, 1.0, 3.0, 1.0])], [0, 2, 1, 3], {"descending": True}

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 7)), 1)
        yield Sample(rng.normal(size=(3, 7)), 0, True)
        yield Sample(rng.normal(size=()))

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), 2), IndexError, r"argsort: dim 2 is out of range"

    def cost(x: Any, *args: Any, **kwargs: Any) -> Cost:
        return Cost(bytes=x.nbytes + 8 * x.size, flops=x.size * math.log2(max(x.size, 2)))
