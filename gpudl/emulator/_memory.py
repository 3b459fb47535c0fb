"""Device memory of the emulator: NumPy arrays between red zones, with a shadow that remembers what was written."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gpudl.emulator._build import runtime


class _Block:
    """Owns one allocation; the array made from it keeps it alive, and so do the array's views."""

    __slots__ = ("__array_interface__", "_free", "address")

    def __init__(self, size: int):
        library = runtime()
        address = library.gpudl_emu_allocate(size)
        if not address:
            raise MemoryError(f"emulator: no room for {size} bytes")
        self.address, self._free = address, library.gpudl_emu_free
        self.__array_interface__ = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._free(self.address)


def empty(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """An array in emulator memory whose elements count as uninitialised until a kernel writes them or mark_initialised is called.

    Out-of-bounds accesses of a sanitized launch are found because red zones lie on both sides. The memory is returned when the
    array and its views are gone.
    """
    dtype = np.dtype(dtype)
    if dtype.hasobject:
        raise TypeError(f"empty: dtype {dtype} holds Python objects; device memory holds numbers")
    shape = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    size = dtype.itemsize
    for n in shape:
        if n < 0:
            raise ValueError(f"empty: negative dimension in shape {shape}")
        size *= n
    return np.asarray(_Block(size)).view(dtype).reshape(shape)


def mark_initialised(array: np.ndarray) -> np.ndarray:
    """Tell the sanitizer that the host wrote this array (or view): writes made through NumPy cannot be seen. Returns the array."""
    if not array.size:
        return array
    if array.flags.c_contiguous:
        runtime().gpudl_emu_mark(array.__array_interface__["data"][0], array.nbytes)
        return array
    if array.ndim > 1 or array.strides[0] != array.itemsize:
        inner = array if abs(array.strides[-1]) == array.itemsize else None
        if inner is None or array.ndim == 1:
            for element in np.ndindex(array.shape):
                at = array.__array_interface__["data"][0] + sum(i * s for i, s in zip(element, array.strides, strict=True))
                runtime().gpudl_emu_mark(at, array.itemsize)
        else:
            for row in np.ndindex(array.shape[:-1]):
                low, high = byte_bounds(array[row])
                runtime().gpudl_emu_mark(low, high - low)
    return array


def array(values: Any, dtype: Any = None) -> np.ndarray:
    """A copy of an array (or list) in emulator memory, initialised."""
    values = np.asarray(values, dtype)
    out = empty(values.shape, values.dtype)
    out[...] = values
    return mark_initialised(out)


@functools.cache
def arena() -> tuple[int, int]:
    """First and last address of device memory."""
    base, size = ctypes.c_uint64(), ctypes.c_uint64()
    runtime().gpudl_emu_arena(ctypes.byref(base), ctypes.byref(size))
    return base.value, base.value + size.value


def find(address: int) -> tuple[int, int] | None:
    """Start and size of the allocation that holds or precedes an address."""
    start, size = ctypes.c_uint64(), ctypes.c_uint64()
    runtime().gpudl_emu_find(address, ctypes.byref(start), ctypes.byref(size))
    return (start.value, size.value) if start.value else None


def memory_in_use() -> int:
    """Bytes held by live arrays in emulator memory."""
    return int(runtime().gpudl_emu_in_use())


def owns(array: np.ndarray) -> bool:
    """Whether the array lies in emulator memory, so that a launch uses it in place."""
    low, high = arena()
    return low <= array.__array_interface__["data"][0] < high
