"""Elements in another order or at other places, made of views, indexing and joining; gradients and devices come with those."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl import _creation, _dtypes
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor, as_shape
from gpudl.ops._common import axis, check_tensor, numpy_names
from gpudl.ops.copy import fresh
from gpudl.ops.elementwise import add, clamp, floor, mul, sub, where
from gpudl.ops.index import argsort, cat, diag, flip, gather, narrow, nonzero, scatter_add, sort, split, stack
from gpudl.ops.reduce import ValuesIndices
from gpudl.ops.view import expand, movedim, reshape, squeeze, transpose, unsqueeze


def fliplr(input: Tensor) -> Tensor:
    """The columns in reverse order."""
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The rows in reverse order."""
    return flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by 90 degrees in the plane of two axes, from the first towards the second. ShapeError unless dims are two axes."""
    check_tensor("rot90", input=input)
    if len(dims) != 2 or input.ndim < 2 or axis("rot90", dims[0], input.ndim) == axis("rot90", dims[1], input.ndim):
        raise ShapeError(f"rot90: dims {tuple(dims)} must be two axes of the input {tuple(input.shape)}")
    a, b = dims
    return [
        lambda: input.clone(), lambda: transpose(flip(input, b), a, b), lambda: flip(input, a, b), lambda: flip(transpose(input, a, b), b)
    ][k % 4]()  # fmt: skip


@numpy_names
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut along dim into so many parts of sizes that differ by at most 1, or before the indices; views."""
    check_tensor("tensor_split", input=input)
    at = axis("tensor_split", dim, input.ndim, least=1)
    n = input.shape[at]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1:
            raise RuntimeError(f"tensor_split: {indices_or_sections} sections; at least 1 is needed")
        small, more = divmod(n, indices_or_sections)
        return split(input, [small + (i < more) for i in range(indices_or_sections)], at)
    cuts = [slice(*pair).indices(n)[:2] for pair in itertools.pairwise([0, *map(int, indices_or_sections), n])]
    return tuple([narrow(input, at, a, max(b - a, 0)) for a, b in cuts])


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the second axis (of a vector: the only one)."""
    return tensor_split(input, _even("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1), 0 if input.ndim == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the first axis. ShapeError for fewer than 2 dimensions."""
    if input.ndim < 2:
        raise ShapeError(f"vsplit: the input is {tuple(input.shape)}; at least 2 dimensions are needed")
    return tensor_split(input, _even("vsplit", input, indices_or_sections, 0), 0)


def _even(op: str, input: Tensor, parts: Any, at: int) -> Any:
    if not input.ndim or (isinstance(parts, int) and (parts < 1 or input.shape[at] % parts)):
        raise ShapeError(f"{op}: the input is {tuple(input.shape)}, which cannot be cut into {parts} equal parts along axis {at}")
    return parts


def atleast_1d(*tensors: Any) -> Any:
    """0-d tensors as vectors of one element, others as they are; several, or a list, as a tuple."""
    return _each(tensors, lambda t: t if t.ndim else reshape(t, 1))


def atleast_2d(*tensors: Any) -> Any:
    """With axes of size 1 in front up to 2 dimensions."""
    return _each(tensors, lambda t: t if t.ndim > 1 else reshape(t, 1, -1) if t.numel() else reshape(t, 1, 0))


def atleast_3d(*tensors: Any) -> Any:
    """Up to 3 dimensions: (M, N) becomes (M, N, 1), (N,) becomes (1, N, 1)."""
    return _each(tensors, lambda t: t if t.ndim > 2 else unsqueeze(t, -1) if t.ndim == 2 else reshape(t, 1, t.numel(), 1))


def _each(tensors: Any, function: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return function(tensors[0])
    given = tensors[0] if len(tensors) == 1 else tensors
    return tuple([function(t) for t in given])


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the third axis, after atleast_3d."""
    return cat(list(atleast_3d(*tensors) if len(tensors) > 1 else [atleast_3d(tensors[0])]), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second axis; vectors are columns."""
    return cat([reshape(t, t.numel(), 1) if t.ndim <= 1 else t for t in tensors], 1)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All expanded to their common shape; views. ShapeError where there is none."""
    shape = broadcast_shapes(*[t.shape for t in tensors])
    return tuple([expand(t, *shape) for t in tensors])


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape to which all broadcast. ShapeError where there is none."""
    try:
        return np.broadcast_shapes(*[as_shape((s,)) if isinstance(s, (tuple, list)) else (int(s),) for s in shapes])
    except ValueError:
        raise ShapeError(f"broadcast_shapes: {', '.join(str(tuple(s)) for s in shapes)} do not broadcast") from None


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of elements of vectors, one a row, the last vector's running fastest; of a single vector itself."""
    from gpudl.ops.index import meshgrid

    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(t, -1) for t in meshgrid(*tensors, indexing="ij")], 1)


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at these places of input as one vector (negative from its end); of index's shape. IndexError out of range."""
    check_tensor("take", input=input, index=index)
    return reshape(reshape(input, -1)[reshape(index, -1)], *index.shape)


def argwhere(input: Tensor) -> Tensor:
    """The indices of what is not 0, one a row: `nonzero`."""
    return nonzero(input)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices with the last axis of the input on their diagonals, zeros elsewhere; the new axes are dim1 and dim2."""
    check_tensor("diag_embed", input=input)
    n = input.shape[axis("diag_embed", -1, input.ndim, least=1)]
    size = n + abs(offset)
    a, b = axis("diag_embed", dim1, input.ndim + 1), axis("diag_embed", dim2, input.ndim + 1)
    if a == b:
        raise RuntimeError(f"diag_embed: dim1 {dim1} and dim2 {dim2} are the same axis")
    wide = cat([input.new_zeros(*input.shape[:-1], max(-offset, 0)), input, input.new_zeros(*input.shape[:-1], max(offset, 0))], -1)
    rows = np.arange(size)
    inside = (rows >= max(-offset, 0)) & (rows < n + max(-offset, 0))
    mask = np.zeros((size, size), bool)
    mask[rows[inside], rows[inside] + offset] = True
    out = where(_creation.tensor(mask, device=input.device), unsqueeze(wide, -1), input.new_zeros(()))
    return movedim(out, (-2, -1), (a, b))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The elements as one vector on the diagonal of a matrix."""
    return diag(reshape(input, -1), offset)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = _dtypes.int64, device: Any = None) -> Tensor:
    """(2, n): rows and columns of the lower triangle of a (row, col) matrix, row by row."""
    return _creation.tensor(np.stack(np.tril_indices(row, offset, col)), dtype=dtype, device=device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = _dtypes.int64, device: Any = None) -> Tensor:
    """(2, n): rows and columns of the upper triangle."""
    return _creation.tensor(np.stack(np.triu_indices(row, offset, col)), dtype=dtype, device=device)


@numpy_names
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy with `value` (a number or a 0-d tensor) in the slices `index` along dim."""
    check_tensor("index_fill", input=input, index=index)
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"index_fill: value is a tensor {tuple(value.shape)}; a number or a 0-d tensor is needed")
    at = axis("index_fill", dim, input.ndim)
    n = input.shape[at] if input.ndim else 1
    hit = scatter_add(index.new_zeros(n, dtype=_dtypes.float32), 0, _wrapped(index, n), index.new_ones(index.numel(), dtype=_dtypes.float32))
    mask = reshape(hit != 0, *[n if d == at else 1 for d in range(input.ndim)])
    return where(mask, value, input).to(input.dtype)


def _wrapped(index: Tensor, n: int) -> Tensor:
    """An index vector whose negative entries count from the end."""
    flat = reshape(index, -1).long()
    return where(flat < 0, flat + n, flat)


def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with input[indices] = values; with accumulate values are added, where an index repeats all of them."""
    check_tensor("index_put", input=input, values=values)
    if accumulate:
        count = _creation.tensor(np.arange(input.numel()).reshape(tuple(input.shape)), device=input.device)
        places = count[tuple(indices)]
        flat = scatter_add(reshape(input, -1), 0, reshape(places, -1), reshape(expand(values, *places.shape), -1))
        return reshape(flat, *input.shape)
    out = input.clone()
    out[tuple(indices)] = values
    return out


@numpy_names
def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """Differences of neighbours along dim, n times over; bools differ by !=. prepend and append are joined first."""
    check_tensor("diff", input=input)
    at = axis("diff", dim, input.ndim)
    if not input.ndim or n < 0:
        raise RuntimeError(f"diff: the input is {tuple(input.shape)} and n {n}; at least 1 dimension and n >= 0 are needed")
    parts = [t for t in (prepend, input, append) if t is not None]
    x = cat(parts, at) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[at])):
        m = x.shape[at]
        late, early = narrow(x, at, 1, m - 1), narrow(x, at, 0, m - 1)
        x = late.ne(early) if x.dtype == _dtypes.bool_ else sub(late, early)
    return fresh(x, input)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, ... occurs in a vector of integers that are not negative, or the sum of the weights there (float64, unless
    float32). The size of the result waits for the device. RuntimeError for negative ones."""
    check_tensor("bincount", input=input)
    if input.ndim != 1 or _dtypes.is_float(input.dtype) or input.dtype == _dtypes.bool_:
        raise DtypeError(f"bincount: the input is {input.dtype}{tuple(input.shape)}; a vector of integers is needed")
    if weights is not None and weights.shape != input.shape:
        raise ShapeError(f"bincount: weights is {tuple(weights.shape)} and the input {tuple(input.shape)}; they must be equal")
    if minlength < 0 or (input.numel() and int(input.min()) < 0):
        raise RuntimeError("bincount: the input and minlength must not be negative")
    size = max(minlength, int(input.max()) + 1 if input.numel() else 0)
    parts = input.new_ones(input.numel(), dtype=_dtypes.float64) if weights is None else weights.detach()
    parts = parts if parts.dtype == _dtypes.float32 else parts.double()
    out = scatter_add(parts.new_zeros(size), 0, input.long(), parts)
    return out.long() if weights is None else out  # counts are exact in float64 up to 2^53


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts of the elements in `bins` equal parts of [min, max], in input's dtype; min = max = 0 takes the extremes. Others are not counted."""
    check_tensor("histc", input=input)
    if bins < 1 or min > max:
        raise RuntimeError(f"histc: bins {bins} must be positive and min {min} not above max {max}")
    x = reshape(input.detach(), -1)
    if min == max == 0 and x.numel():
        min, max = x.min().item(), x.max().item()
    if min == max:
        min, max = min - 1, max + 1
    inside = (x >= min) & (x <= max)
    place = clamp(floor((x - min) * (bins / (max - min))), 0, bins - 1)
    return scatter_add(x.new_zeros(bins), 0, where(inside, place, 0.0).long(), inside.to(x.dtype))


@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """(values, indices) of the k-th smallest element along dim, k from 1. RuntimeError for a k that the axis does not have."""
    check_tensor("kthvalue", input=input)
    at = axis("kthvalue", dim, input.ndim)
    if not 1 <= k <= (input.shape[at] if input.ndim else 1):
        raise RuntimeError(f"kthvalue: k is {k} for {tuple(input.shape)} along dim {dim}; it must lie between 1 and the size")
    if not input.ndim:
        return ValuesIndices(input.clone(), argsort(input))
    index = narrow(argsort(input, at, stable=True), at, k - 1, 1)
    values = gather(input, at, index)
    return ValuesIndices(values, index) if keepdim else ValuesIndices(squeeze(values, at), squeeze(index, at))


@numpy_names
def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Tensor:
    """The q-th quantile (a number or a vector of numbers in [0, 1]) over dim or all; NaN where there is one. For a vector its axis comes first.

    Between elements: "linear", "lower", "higher", "midpoint" or "nearest" (halves to even). Floating dtypes.
    """
    check_tensor("quantile", input=input)
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(f"quantile: interpolation {interpolation!r} must be linear, lower, higher, midpoint or nearest")
    if not input.is_floating_point():
        raise DtypeError(f"quantile: the input is {input.dtype}; a floating dtype is needed")
    q = np.asarray(q.detach().cpu().numpy() if isinstance(q, Tensor) else q, np.float64)
    if q.ndim > 1 or not ((q >= 0) & (q <= 1)).all():
        raise RuntimeError("quantile: q must be a number or a vector of numbers between 0 and 1")
    x = reshape(input, -1) if dim is None else movedim(input, axis("quantile", dim, input.ndim), -1) if input.ndim else reshape(input, 1)
    n = x.shape[-1]
    if n == 0:
        raise RuntimeError(f"quantile: the input is {tuple(input.shape)}; the quantile of no elements does not exist")
    ordered = sort(x, -1).values
    place = np.atleast_1d(q) * (n - 1)
    low = np.floor(place)
    part = {"linear": place - low, "lower": 0 * low, "higher": np.ceil(place) - low, "midpoint": 0.5 * (np.ceil(place) > low),
            "nearest": np.rint(place) - low}[interpolation]  # fmt: skip
    lost = unsqueeze(x.detach().isnan().any(-1), -1)  # NaN sorts last, and is what is taken

    def pick(at: Any) -> Tensor:
        places = _creation.tensor(np.minimum(at, n - 1).astype(np.int64), device=x.device)
        return gather(ordered, -1, where(lost, n - 1, places))

    first, second = pick(low), pick(low + 1)
    share = _creation.tensor(part, dtype=x.dtype, device=x.device)
    moving = _creation.tensor(part != 0, device=x.device)
    out = where(moving, add(first, mul(sub(second, first), share)), first)
    out = movedim(out, -1, 0)
    if keepdim:
        shape = [1] * input.ndim if dim is None else [1 if d == axis("quantile", dim, input.ndim) else m for d, m in enumerate(input.shape)]
        out = reshape(out, len(place), *shape)
    return out if q.ndim else squeeze(out, 0)


__all__ = [
    "argwhere", "atleast_1d", "atleast_2d", "atleast_3d", "bincount", "broadcast_shapes", "broadcast_tensors", "cartesian_prod", "column_stack",
    "diag_embed", "diagflat", "diff", "dstack", "fliplr", "flipud", "histc", "hsplit", "index_fill", "index_put", "kthvalue", "quantile", "rot90",
    "take", "tensor_split", "tril_indices", "triu_indices", "vsplit",
]  # fmt: skip
