"""Making tensors: from data, filled, ranges. Random ones are in _random.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._device import cpu
from gpudl._device import device as Device
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor, as_shape, wrap

_default_device = cpu


def set_default_device(where: Any) -> None:
    """Where tensors are made when no device is given (`cpu` at the start)."""
    global _default_device
    _default_device = cpu if where is None else Device(where)


def get_default_device() -> Device:
    return _default_device


def place(where: Any) -> Device:
    return _default_device if where is None else Device(where)


def _finish(array: Any, where: Device, requires_grad: bool) -> Tensor:
    made = wrap(array, where)
    return made.requires_grad_() if requires_grad else made


def as_host(data: Any, dtype: Any = None) -> np.ndarray:
    """Python data as a NumPy array with PyTorch's choice of dtype: floats float32, ints int64, bools bool; an ndarray keeps its own."""
    if isinstance(data, np.ndarray) or isinstance(data, np.generic):
        host = np.asarray(data)
    elif isinstance(data, Tensor):
        host = data.device.to_host(data._array)
    else:

        def plain(x: Any) -> Any:
            return [plain(y) for y in x] if isinstance(x, (list, tuple)) else x.detach().cpu().numpy() if isinstance(x, Tensor) else x

        try:
            host = np.asarray(plain(data))
        except ValueError as error:
            raise ShapeError(f"tensor: nested lists must have equal lengths at each depth ({error})") from None
        typed = isinstance(data, (list, tuple)) and _holds_arrays(data)
        if host.dtype == np.float64 and not typed:
            host = host if dtype is not None else host.astype(_dtypes.get_default_dtype())
        elif host.size == 0 and not typed:
            host = host.astype(_dtypes.get_default_dtype())
    if dtype is not None:
        wanted = _dtypes.as_dtype(dtype)
        return host if host.dtype == wanted else kernels.cast(host, wanted)
    if host.dtype.kind not in "fiub" and host.dtype != _dtypes.bfloat16:
        raise TypeError(f"tensor: {host.dtype} data ({type(data).__name__}) has no tensor dtype; numbers and booleans do")
    return host.astype(_dtypes.as_dtype(host.dtype), copy=False)


def _holds_arrays(data: Any) -> bool:
    return any(isinstance(x, (np.ndarray, np.generic, Tensor)) or (isinstance(x, (list, tuple)) and _holds_arrays(x)) for x in data)


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`: an ndarray (its dtype is kept), a list or a number (floats float32, ints int64, bools bool).

    TypeError for data or a dtype that is not numeric, ShapeError for ragged lists, RuntimeError for requires_grad on integers.
    """
    where = place(device if device is not None or not isinstance(data, Tensor) else data.device)
    host = as_host(data, dtype)
    return _finish(where.from_host(host), where, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of `data`, sharing memory where that is possible (a Tensor, or an ndarray on the CPU, of the wanted dtype)."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype) if device is not None or dtype is not None else data
    if isinstance(data, np.ndarray) and place(device) is cpu and (dtype is None or _dtypes.as_dtype(dtype) == data.dtype):
        return from_numpy(data)
    return tensor(data, dtype=dtype, device=device)


asarray = as_tensor


def from_numpy(array: np.ndarray) -> Tensor:
    """A CPU tensor that shares the array's memory (writes through the array are not seen by the in-place check)."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy.ndarray, got {type(array).__name__}")
    if not array.dtype.isnative:
        raise TypeError(f"from_numpy: {array.dtype} has foreign byte order; use array.astype(array.dtype.newbyteorder('='))")
    _dtypes.as_dtype(array.dtype)
    return wrap(array, cpu)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares memory with an array of another library, through DLPack."""
    if not hasattr(source, "__dlpack_device__"):
        raise TypeError(f"from_dlpack: {type(source).__name__} has no __dlpack__; an array of a library that speaks DLPack is needed")
    kind = source.__dlpack_device__()[0]
    if int(kind) == 1:
        return from_numpy(np.from_dlpack(source))
    if int(kind) == 2:
        where = Device("cuda", int(source.__dlpack_device__()[1]))
        return wrap(where.xp.from_dlpack(source), where)
    raise BufferError(f"from_dlpack: DLPack device type {int(kind)} is not supported; gpudl takes CPU (1) and CUDA (2) memory")


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """An uninitialised tensor."""
    where, shape = place(device), _checked("empty", size)
    return _finish(where.empty(shape, _dtypes.as_dtype(dtype or _dtypes.get_default_dtype())), where, requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value; its dtype is that of the value (float32, int64, bool) unless given."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    kind = _dtypes.as_dtype(dtype) if dtype is not None else as_host(fill_value).dtype
    where, shape = place(device), _checked("full", (size,) if isinstance(size, (tuple, list)) else size)
    out = where.empty(shape, kind)
    kernels.fill(where, out, fill_value)
    return _finish(out, where, requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return full(as_shape(size), 0, dtype=dtype or _dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return full(as_shape(size), 1, dtype=dtype or _dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


def _checked(what: str, size: Any) -> tuple[int, ...]:
    shape = as_shape(size if isinstance(size, (tuple, list)) else (size,))
    if any(n < 0 for n in shape):
        raise ShapeError(f"{what}: negative size in {shape}")
    return shape


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return empty(input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return full(input.shape, fill_value, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below end; int64 for integer arguments, else the default floating dtype."""
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange: step {step} does not lead from {start} to {end}")
    whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    where = place(device)
    host = np.arange(start, end, step, dtype=np.int64 if whole else np.float64)
    return _finish(where.from_host(kernels.cast(host, _dtypes.as_dtype(dtype or (int if whole else float)))), where, requires_grad)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`steps` values from start to end, both included."""
    where = place(device)
    return _finish(where.from_host(kernels.cast(np.linspace(start, end, steps), _dtypes.as_dtype(dtype or float))), where, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The identity matrix (n, m)."""
    where = place(device)
    return _finish(where.from_host(np.eye(n, m, dtype=_dtypes.as_dtype(dtype or float))), where, requires_grad)
