"""Functions that are a line or two of other ops; gradients and devices come with those."""

from __future__ import annotations

import math
from typing import Any

from gpudl import _dtypes
from gpudl._errors import DtypeError
from gpudl._tensor import Tensor
from gpudl.ops._common import check_float, check_tensor
from gpudl.ops.elementwise import abs as absolute
from gpudl.ops.elementwise import add, clamp, div, eq, isfinite, isnan, le, logical_and, logical_or, mul, sub, where
from gpudl.ops.reduce import all as every
from gpudl.ops.reduce import norm


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
