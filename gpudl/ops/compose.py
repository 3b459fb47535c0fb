"""Functions that are a line or two of other ops; gradients and devices come with those."""

from __future__ import annotations

import math
from typing import Any

from gpudl import _dtypes
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.ops._common import axis, check_float, check_tensor, numpy_names
from gpudl.ops.elementwise import abs as absolute
from gpudl.ops.elementwise import (
    add,
    atan2,
    clamp,
    cos,
    div,
    eq,
    exp,
    gt,
    isfinite,
    isnan,
    le,
    log,
    log1p,
    logical_and,
    logical_or,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    sin,
    sqrt,
    sub,
    trunc,
    where,
)
from gpudl.ops.index import argsort, cat, diagonal, gather, index_select, narrow, nonzero, scatter_, select
from gpudl.ops.reduce import ValuesIndices, amax, cumsum, integral, norm
from gpudl.ops.reduce import all as every
from gpudl.ops.reduce import any as some
from gpudl.ops.reduce import sum as total
from gpudl.ops.view import movedim, reshape


def is_tensor(obj: Any) -> bool:
    """Whether obj is a gpudl.Tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements."""
    check_tensor("numel", input=input)
    return input.numel()


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is float64, float32, float16 or bfloat16."""
    check_tensor("is_floating_point", input=input)
    return input.is_floating_point()


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol * |other|, or both equal, as bools. NaN equals NaN with equal_nan. DtypeError for two dtypes."""
    check_tensor("isclose", input=input, other=other)
    if input.dtype != other.dtype:
        raise DtypeError(f"isclose: input is {input.dtype} and other {other.dtype}; the dtypes must be equal. Convert one with .to()")
    if rtol < 0 or atol < 0:
        raise ValueError(f"isclose: rtol is {rtol} and atol {atol}; neither can be negative")
    same = eq(input, other)
    if input.dtype == _dtypes.bool_:
        return same
    if _dtypes.is_float(input.dtype) and equal_nan:
        same = logical_or(same, logical_and(isnan(input), isnan(other)))
    gap = absolute(sub(input, other))
    return logical_or(same, logical_and(isfinite(gap), le(gap, add(mul(absolute(other), rtol), atol))))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds for all elements; waits for the device."""
    return bool(every(isclose(input, other, rtol, atol, equal_nan)))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal and all elements are; NaN equals nothing. Waits for the device."""
    check_tensor("equal", input=input, other=other)
    return input.shape == other.shape and bool(every(eq(input, other)))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return add(input, mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return add(input, div(tensor1, tensor2), alpha=value)


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input); weight a number or a Tensor."""
    check_float("lerp", input=input, end=end)
    return add(input, mul(weight, sub(end, input)))


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """`clamp` with a lower bound alone."""
    return clamp(input, min, None)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """`clamp` with an upper bound alone."""
    return clamp(input, None, max)


def nan_to_num(input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN to `nan` (0), infinities to the numbers given or the dtype's largest and smallest; no gradient where one was replaced."""
    check_tensor("nan_to_num", input=input)
    if not _dtypes.is_float(input.dtype):
        return input.clone()
    limits = _dtypes.finfo(input.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    out = where(isnan(input), 0.0 if nan is None else nan, input)
    return where(eq(input, math.inf), high, where(eq(input, -math.inf), low, out))


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None) -> Tensor:
    """input / max(||input||_p, eps) along dim. NotImplementedError for out."""
    if out is not None:
        raise NotImplementedError("normalize: out is not supported")
    check_float("normalize", input=input)
    return div(input, clamp(norm(input, p, dim, True), min=eps))


def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix. ShapeError unless it has 2 dimensions."""
    check_tensor("trace", input=input)
    if input.ndim != 2:
        raise ShapeError(f"trace: the input is {tuple(input.shape)}; a matrix is needed")
    return total(diagonal(input))


@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Running product along dim.    y[q] = product of x[r], r <= q

    Any dtype; integers and bool multiply to int64; dtype= casts first. Made of log2(n) products with itself, shifted by 1, 2, 4, ..., whose
    gradients hold where x holds zeros, too. IndexError for a dim out of range. Source: Hillis & Steele 1986, doi:10.1145/7902.7903.
    """
    check_tensor("cumprod", input=input)
    y = input.to(integral(input.dtype) if dtype is None else _dtypes.as_dtype(dtype))
    at = axis("cumprod", dim, input.ndim)
    n, step = (y.shape[at] if y.ndim else 1), 1
    while step < n:
        y = cat([narrow(y, at, 0, step), mul(narrow(y, at, step, n - step), narrow(y, at, 0, n - step))], at)
        step *= 2
    return y.clone() if y is input else y


@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, of an even number the lower of the two; NaN where there is a NaN. With dim: (values, indices) along it.

    Without dim, elements equal to the median share its gradient, and the median of nothing is NaN (RuntimeError for integers). IndexError
    for a dim out of range or without elements.
    """
    check_tensor("median", input=input)
    if dim is None:
        if not input.numel():
            if not input.is_floating_point():
                raise RuntimeError(f"median: the input is {tuple(input.shape)}; an integer median of no elements does not exist")
            return div(total(input), 0.0)
        flat = reshape(input, -1)
        middle = median(flat.detach(), 0).values
        if not input.requires_grad:
            return middle
        return amax(where(logical_or(eq(flat, middle), isnan(flat)) if input.is_floating_point() else eq(flat, middle), flat, -math.inf))
    at = axis("median", dim, input.ndim)
    n = input.shape[at] if input.ndim else 1
    if n == 0:
        raise IndexError(f"median: the input is {tuple(input.shape)}; the median of no elements does not exist along dim {dim}")
    order = argsort(input, at, stable=True)
    if not input.ndim:
        return ValuesIndices(input.clone(), order)
    index = narrow(order, at, (n - 1) // 2, 1)
    if input.is_floating_point():  # NaN sorts last
        last = narrow(order, at, n - 1, 1)
        index = where(isnan(gather(input.detach(), at, last)), last, index)
    values = gather(input, at, index)
    return ValuesIndices(values, index) if keepdim else ValuesIndices(values.squeeze(at), index.squeeze(at))


def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The different elements, ascending; with dim the different slices along it, in the order of their elements.

    return_inverse adds where each element is found in the result, return_counts how often it occurs (int64). Each NaN is different from
    all others. The size of the result waits for the device. No gradient, as in PyTorch.
    """
    check_tensor("unique", input=input)
    input = input.detach()
    if dim is None:
        rows, shape = reshape(input, -1, 1), tuple(input.shape)
    else:
        moved = movedim(input, axis("unique", dim, input.ndim), 0)
        if moved.shape[0] and not moved.numel():
            raise ShapeError(
                f"unique: the input is {tuple(input.shape)}; there are no elements to tell its slices along dim {dim} apart by"
            )
        rows, shape = reshape(moved, moved.shape[0], math.prod(moved.shape[1:])), (moved.shape[0],)
    order = argsort(select(rows, 1, rows.shape[1] - 1), stable=True) if rows.shape[1] else argsort(reshape(rows, 0))
    for column in reversed(range(rows.shape[1] - 1)):  # least significant first; stable sorts keep what was sorted before
        order = index_select(order, 0, argsort(index_select(select(rows, 1, column), 0, order), stable=True))
    found = _runs(index_select(rows, 0, order), order, shape)
    values = index_select(reshape(input, -1) if dim is None else moved, 0, found[0])
    values = values if dim is None else movedim(values, 0, dim)
    return _asked(values, found, return_inverse, return_counts)


def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The elements (with dim: slices) that differ from the one before; otherwise as `unique`."""
    check_tensor("unique_consecutive", input=input)
    input = input.detach()
    moved = reshape(input, -1) if dim is None else movedim(input, axis("unique_consecutive", dim, input.ndim), 0)
    n = moved.shape[0]
    found = _runs(reshape(moved, n, math.prod(moved.shape[1:])), None, tuple(input.shape) if dim is None else (n,))
    values = index_select(moved, 0, found[0])
    return _asked(values if dim is None else movedim(values, 0, dim), found, return_inverse, return_counts)


def _runs(rows: Tensor, order: Tensor | None, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Of rows sorted by `order` (None: as they are): where each run of equals has its first, which run each row is in, and the runs' lengths."""
    n = rows.shape[0]
    new = ne(narrow(rows, 0, 1, n - 1), narrow(rows, 0, 0, n - 1)) if n else rows
    new = cat([rows.new_ones(1, dtype=_dtypes.bool_), some(new, 1)]) if n else rows.new_zeros(0, dtype=_dtypes.bool_)
    run = sub(cumsum(new, 0), 1)
    starts = reshape(nonzero(new), -1)
    first = starts if order is None else index_select(order, 0, starts)
    if order is not None:
        run = scatter_(run.new_zeros(n), 0, order, run)
    ends = cat([narrow(starts, 0, 1, starts.numel() - 1), starts.new_full((1,), n)]) if n else starts
    return first, reshape(run, *shape), sub(ends, starts)


def _asked(values: Tensor, found: tuple[Tensor, Tensor, Tensor], inverse: bool, counts: bool) -> Any:
    out = (values, *[found[1]] * bool(inverse), *[found[2]] * bool(counts))
    return out if len(out) > 1 else values


# ------------------------------------------------------------------------------------------------------------------- elementwise
def frac(input: Tensor) -> Tensor:
    """input - trunc(input)."""
    return sub(input, trunc(input))


def exp2(input: Tensor) -> Tensor:
    """2 to the power of the input; integers give floats."""
    check_tensor("exp2", input=input)
    return pow(2.0, input)


def tan(input: Tensor) -> Tensor:
    """The tangent of an angle in radians: sin / cos; integers give floats."""
    return div(sin(input), cos(input))


def atan(input: Tensor) -> Tensor:
    """The angle between -pi/2 and pi/2 whose tangent this is; integers give floats."""
    return atan2(input, input.new_ones(()))


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), what undoes sigmoid; with eps x is first clamped to [eps, 1 - eps]."""
    check_float("logit", input=input)
    x = input if eps is None else clamp(input, eps, 1 - eps)
    return log(div(x, sub(1, x)))


def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), 0 where input is 0 (unless other is NaN). Either may be a number."""
    if not isinstance(input, Tensor):
        check_tensor("xlogy", other=other)
        return mul(input, log(other)) if input != 0 else where(isnan(other), math.nan, 0.0)
    if not isinstance(other, Tensor):
        base = math.nan if other < 0 or other != other else -math.inf if other == 0 else math.log(other)
        return mul(input, base) if base != base else where(eq(input, 0), 0.0, mul(input, base))
    dtype = _dtypes.result_type(input, other)  # by PyTorch's rules for a tensor without dimensions, before broadcasting gives it some
    dtype = dtype if _dtypes.is_float(dtype) else _dtypes.get_default_dtype()
    input, other = input.to(dtype), other.to(dtype)
    none = logical_and(eq(input, 0), ~isnan(other))
    return where(none, 0.0, mul(input, log(where(none, 1.0, other))))


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input^2 + other^2), without overflow in between; inf where either is infinite."""
    a, b = absolute(input), absolute(other)
    big, small = maximum(a, b), minimum(a, b)
    ratio = where(logical_or(eq(big, 0), eq(big, math.inf)), 0.0, div(small, big))
    return where(logical_or(eq(a, math.inf), eq(b, math.inf)), math.inf, mul(big, sqrt(add(mul(ratio, ratio), 1))))


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)), without overflow."""
    check_float("logaddexp", input=input, other=other)
    same = eq(input, other)  # also at the infinities, whose difference is NaN
    gap = where(same, 0.0, sub(input, other))
    return add(where(same, add(mul(input, 0.5), mul(other, 0.5)), maximum(input, other)), log1p(exp(neg(absolute(gap)))))


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0 and for NaN, 1 above, `values` at 0; no gradient."""
    check_tensor("heaviside", input=input, values=values)
    return where(eq(input, 0), values, gt(input, 0).to(input.dtype)).detach()


def isposinf(input: Tensor) -> Tensor:
    """Where the input is +inf."""
    return eq(input, math.inf)


def isneginf(input: Tensor) -> Tensor:
    """Where the input is -inf."""
    return eq(input, -math.inf)


def float_power(input: Any, exponent: Any) -> Tensor:
    """input ** exponent in float64."""
    a, b = (x.double() if isinstance(x, Tensor) else float(x) for x in (input, exponent))
    return pow(a, b)


@numpy_names
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`sum` that counts NaN as 0."""
    check_tensor("nansum", input=input)
    return total(where(isnan(input), 0, input) if input.is_floating_point() else input, dim, keepdim, dtype=dtype)


@numpy_names
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`mean` of what is not NaN; NaN where nothing is left."""
    check_float("nanmean", input=input)
    found = nansum(input, dim, keepdim, dtype=dtype)
    return div(found, total(~isnan(input.detach()), dim, keepdim).to(found.dtype))


@numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the running sum of exp along dim, by log2(n) steps of `logaddexp`. Source: Hillis & Steele 1986, doi:10.1145/7902.7903."""
    check_float("logcumsumexp", input=input)
    at = axis("logcumsumexp", dim, input.ndim)
    y, n, step = input.clone(), (input.shape[at] if input.ndim else 1), 1
    while step < n:
        y = cat([narrow(y, at, 0, step), logaddexp(narrow(y, at, step, n - step), narrow(y, at, 0, n - step))], at)
        step *= 2
    return y
