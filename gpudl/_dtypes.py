"""Element types are NumPy dtypes; the promotion rules are PyTorch's."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

float64 = double = np.dtype(np.float64)
float32 = np.dtype(np.float32)
float16 = half = np.dtype(np.float16)
bfloat16 = np.dtype(ml_dtypes.bfloat16)
int64 = long = np.dtype(np.int64)
int32 = np.dtype(np.int32)
int16 = short = np.dtype(np.int16)
int8 = np.dtype(np.int8)
uint8 = np.dtype(np.uint8)
bool_ = np.dtype(np.bool_)

HALVES = frozenset((float16, bfloat16))
FLOATS = (float32, float64, float16, bfloat16)  # what a kernel template over floating types takes; float32 first
INTEGERS = (uint8, int8, int16, int32, int64)
ALL = (*FLOATS, *INTEGERS, bool_)

_RANK = {bool_: 0, uint8: 1, int8: 1, int16: 1, int32: 1, int64: 1, float16: 2, bfloat16: 2, float32: 2, float64: 2}
_NAMES = {str(d): d for d in _RANK} | {"double": float64, "float": float32, "half": float16, "long": int64, "int": int32, "short": int16}
_default = float32
# the C++ name of each dtype in a .cu file
C_NAMES = {
    float64: "double", float32: "float", float16: "Half", bfloat16: "BFloat16", int64: "int64_t", int32: "int32_t",
    int16: "int16_t", int8: "int8_t", uint8: "uint8_t", bool_: "bool",
}  # fmt: skip


def as_dtype(dtype: Any) -> np.dtype:
    """The dtype that `dtype` names: a NumPy dtype or scalar type, a name, or Python's float (float32), int (int64), bool."""
    if isinstance(dtype, np.dtype) and dtype in _RANK:
        return dtype
    if dtype is float:
        return _default
    if dtype is int:
        return int64
    if isinstance(dtype, str) and dtype in _NAMES:
        return _NAMES[dtype]
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in _RANK:
        raise TypeError(f"dtype {dtype!r} is not supported; gpudl has {', '.join(str(d) for d in _RANK)}")
    return found.newbyteorder("=")


def get_default_dtype() -> np.dtype:
    """The dtype of tensors made from Python floats: float32 unless `set_default_dtype` changed it."""
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of tensors made from Python floats (any floating dtype; TypeError otherwise)."""
    global _default
    found = as_dtype(dtype)
    if not is_float(found):
        raise TypeError(f"set_default_dtype: {found} is not a floating dtype")
    _default = found


def is_float(dtype: np.dtype) -> bool:
    return _RANK[dtype] == 2


def is_integer(dtype: np.dtype) -> bool:
    return _RANK[dtype] == 1


def _promote_two(a: np.dtype, b: np.dtype) -> np.dtype:
    if a == b:
        return a
    if _RANK[a] != _RANK[b]:
        return a if _RANK[a] > _RANK[b] else b
    if _RANK[a] == 2:  # NumPy refuses to mix bfloat16; two different halves meet in float32, as in PyTorch
        return float64 if float64 in (a, b) else float32
    return np.promote_types(a, b)


def promote_types(a: Any, b: Any) -> np.dtype:
    """The smallest dtype both fit in, by PyTorch's table: promote_types(float16, bfloat16) is float32, (int64, float16) float16."""
    return _promote_two(as_dtype(a), as_dtype(b))


def result_type(*operands: Any) -> np.dtype:
    """The dtype of an operation on these Tensors, arrays and Python scalars.

    Tensors with dimensions decide within a category (bool < integer < float); 0-d tensors, then Python scalars, only raise the category:
    float32[3] + float64[] is float32, int64[3] * 2.5 is float32.
    """
    best: list[np.dtype | None] = [None, None, None]  # tensors with dimensions, 0-d tensors, Python scalars
    for x in operands:
        if hasattr(x, "dtype"):
            level, dtype = (0 if x.ndim else 1), as_dtype(x.dtype)
        else:
            level, dtype = 2, bool_ if isinstance(x, bool) else int64 if isinstance(x, int) else _default
        known = best[level]
        best[level] = dtype if known is None else _promote_two(known, dtype)
    result: np.dtype | None = None
    for found in best:
        if found is not None and (result is None or _RANK[found] > _RANK[result]):
            result = found
    if result is None:
        raise TypeError("result_type needs at least one operand")
    return result


def finfo(dtype: Any = None) -> Any:
    """The limits of a floating dtype (eps, max, min, tiny, bits, ...); TypeError for others."""
    found = as_dtype(_default if dtype is None else dtype)
    if not is_float(found):
        raise TypeError(f"finfo: {found} is not a floating dtype; see iinfo")
    return ml_dtypes.finfo(found)


def iinfo(dtype: Any) -> Any:
    """The limits of an integer dtype (max, min, bits); TypeError for others."""
    found = as_dtype(dtype)
    if not is_integer(found):
        raise TypeError(f"iinfo: {found} is not an integer dtype; see finfo")
    return np.iinfo(found)


def can_cast(a: Any, b: Any) -> bool:
    """Whether a result of dtype a may be written into a tensor of dtype b: never down a category (float to integer to bool)."""
    return _RANK[as_dtype(a)] <= _RANK[as_dtype(b)]
