"""What more than one op file needs: arguments brought to one form, scalars and promotion."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._creation import as_host
from gpudl._device import cpu
from gpudl._device import device as Device
from gpudl._errors import DtypeError
from gpudl._tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])


def numpy_names(function: F) -> F:
    """Let `axis` stand for the argument dim and `keepdims` for keepdim, as PyTorch's own functions do. TypeError where both are given."""
    names = {ours: name for ours, name in (("axis", "dim"), ("keepdims", "keepdim")) if name in inspect.signature(function).parameters}

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not names.keys().isdisjoint(kwargs):
            for other, name in names.items():
                if other in kwargs:
                    if name in kwargs:
                        raise TypeError(f"{function.__name__}: {name} and {other} are two names of one argument; give one of them")
                    kwargs[name] = kwargs.pop(other)
        return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def axis(op: str, dim: Any, ndim: int, least: int = 0) -> int:
    """A dimension from 0 from one that may count from the end; a 0-d tensor has the dimensions 0 and -1, as in PyTorch.

    IndexError for a dim out of range, and for a tensor of fewer than `least` dimensions.
    """
    if ndim < least:
        raise IndexError(f"{op}: the tensor has {ndim} dimension(s); at least {least} is needed")
    if isinstance(dim, (bool, np.bool_)) or not isinstance(dim, (int, np.integer)):
        raise TypeError(f"{op}: dim must be an integer, not {type(dim).__name__} {dim!r}")
    bound = max(ndim, 1)
    if not -bound <= dim < bound:
        raise IndexError(f"{op}: dim {dim} is out of range for a tensor of {ndim} dimension(s); it must lie in [{-bound}, {bound - 1}]")
    return int(dim) % bound


def check_tensor(op: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor):
            hint = "; gpudl.tensor(...) makes one" if isinstance(value, (np.ndarray, list, tuple, int, float)) else ""
            raise TypeError(f"{op}: {name} must be a Tensor, not {type(value).__name__}{hint}")


def check_float(op: str, **values: Tensor) -> None:
    for name, value in values.items():
        if not _dtypes.is_float(value.dtype):
            raise DtypeError(f"{op}: {name} is {value.dtype}; a floating dtype is needed. Convert it with .float()")


def pair(op: str, name: str, value: Any, least: int) -> tuple[int, int]:
    """(height, width) from a number or a pair; ValueError unless both are integers of at least `least`."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) == 1:
        both *= 2
    if len(both) != 2 or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < least for v in both):
        raise ValueError(f"{op}: {name} must be an integer or a pair of integers, each at least {least}, not {value!r}")
    return int(both[0]), int(both[1])


def together(*tensors: Tensor) -> tuple[Tensor, ...]:
    """0-d tensors of the CPU moved to the device of the others, as PyTorch allows for numbers; all others stay, for the op to complain of."""
    away = next((t.device for t in tensors if t.device is not cpu), cpu)
    return tuple([t.to(away) if t.device is cpu and not t.ndim else t for t in tensors]) if away is not cpu else tensors


_constants: dict[tuple[Any, ...], Any] = {}


def constant(value: Any, dtype: np.dtype, device: Device) -> Tensor:
    """A 0-d tensor of a Python number. Kept, because a step of training uses the same few again and again; never written to."""
    key = (device, dtype, type(value), value if value == value else "nan", np.signbit(value) if isinstance(value, float) else 0)
    array = _constants.get(key)
    if array is None:
        if len(_constants) > 1024:
            _constants.clear()
        if device.kernels:
            array = device.empty((), dtype)
            kernels.fill(device, array, value)
        else:
            array = kernels.cast(as_host(value, np.float64 if isinstance(value, float) else None), dtype)
        _constants[key] = array
    return wrap(array, device)


_BITS: dict[int, Any] = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


def select(condition: Any, a: Any, b: Any) -> Any:
    """np.where, by masking bits: np.where branches on every element, which costs several times as much where the condition has no pattern."""
    dtype = a.dtype if isinstance(a, np.ndarray) else getattr(b, "dtype", None)
    if condition.ndim == 0 or dtype is None or dtype == _dtypes.bool_ or getattr(b, "dtype", dtype) != dtype:
        return np.where(condition, a, b)
    bits = _BITS[dtype.itemsize]
    mask = condition.view(np.int8).astype(bits)
    if isinstance(a, (int, float)) and a == 0:
        mask -= 1  # 1 to all zeros, 0 to all ones
        return (mask & b.view(bits)).view(dtype)
    np.negative(mask, out=mask)  # 1 to all ones
    a = np.asarray(a, dtype).view(bits)
    if isinstance(b, (int, float)) and b == 0:
        return (mask & a).view(dtype)
    b = np.asarray(b, dtype).view(bits)
    return (b ^ (mask & (a ^ b))).view(dtype)


_ROW = 16384
_zeros: dict[np.dtype, np.ndarray] = {}


def rectify(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """max(x, 0) in NumPy, NaN kept; out may be x. Against a row of zeros, because NumPy's maximum with a scalar is three times slower."""
    out = np.empty_like(x) if out is None else out
    row = _zeros.get(x.dtype)
    if row is None:
        row = _zeros[x.dtype] = np.zeros(_ROW, x.dtype)
    dense = x.flags.c_contiguous and out.flags.c_contiguous
    if not dense:  # such as channels-last: the axes in the order of memory
        order = np.argsort([-s for s in x.strides], kind="stable")
        left, right = x.transpose(order), out.transpose(order)
        dense = left.flags.c_contiguous and right.flags.c_contiguous
        if not dense:
            return np.maximum(x, x.dtype.type(0), out=out)
        flat, into = left.reshape(-1), right.reshape(-1)
    else:
        flat, into = x.reshape(-1), out.reshape(-1)
    whole = flat.size // _ROW * _ROW
    if whole:
        np.maximum(flat[:whole].reshape(-1, _ROW), row, out=into[:whole].reshape(-1, _ROW))
    np.maximum(flat[whole:], row[: flat.size - whole], out=into[whole:])
    return out


# KiB of shared memory that one block can have (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"), less 2 for
# what a kernel declares itself
ROOM = {75: 62, 80: 161, 86: 97, 87: 161, 89: 97, 90: 225, 100: 225, 103: 225, 110: 225, 120: 97, 121: 97}


def room(arch: int) -> int:
    """Bytes of dynamic shared memory that a block of a kernel may ask for."""
    return ROOM.get(arch, 46) * 1024
