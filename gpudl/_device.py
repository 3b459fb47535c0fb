"""Devices: cpu (NumPy), cuda (our kernels through CuPy), emulator (the same kernels on the CPU).

A device allocates, copies and knows its array module `xp`. `kernels` says whether ops take the kernel path on it.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np

from gpudl._errors import BoundsError, DeviceError

# Checks that depend on data cannot raise inside a kernel: it stores one of these codes in the device's flag.
FLAGS: dict[int, tuple[type[Exception], str]] = {
    1: (IndexError, "cross_entropy: a label is outside [0, classes) and is not ignore_index; see the labels, or set ignore_index"),
    2: (BoundsError, "indexing: an index is out of range for the dimension that it selects from"),
    5: (RuntimeError, "binary_cross_entropy: all elements of input should be between 0 and 1; see sigmoid"),
}


class device:
    """Where a tensor lives: device("cpu"), device("cuda"), device("cuda:1"), device("cuda", 1), device("emulator").

    One object per device, so `is` and `==` agree. DeviceError (a RuntimeError) for a name that gpudl does not know;
    a GPU that is missing is reported by the first use, with what to type (`python -m gpudl info` tells more).
    """

    type: str
    index: int | None
    kernels = False  # True where ops run handwritten kernels
    xp: Any = np  # the array module: views, indexing, sorting
    arch = 0  # 90 for sm_90: which rungs may run
    sms = 1  # multiprocessors: how many blocks fill the device

    _known: dict[str, device] = {}

    def __new__(cls, spec: Any = "cpu", index: int | None = None) -> device:
        if isinstance(spec, device):
            return spec
        name = f"cuda:{spec}" if isinstance(spec, int) else str(spec)
        kind, _, number = name.partition(":")
        if index is None and number:
            if not number.isdigit():
                raise DeviceError(f"device {name!r}: {number!r} is not a device number; write 'cuda:0'")
            index = int(number)
        if kind not in _KINDS or (index not in (None, 0) and kind != "cuda"):
            raise DeviceError(f"device {name!r} is not known; gpudl has 'cpu', 'cuda', 'cuda:<index>' and 'emulator'")
        index = (index or 0) if kind == "cuda" else None
        key = kind if index is None else f"{kind}:{index}"
        if key not in device._known:
            made = object.__new__(_KINDS[kind])
            made.type, made.index = kind, index
            device._known[key] = made
        return device._known[key]

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r})" if self.index is None else f"device(type={self.type!r}, index={self.index})"

    def __reduce__(self) -> Any:
        return device, (str(self),)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An uninitialised C-ordered array: every result, saved value and workspace of an op comes from here."""
        return np.empty(shape, dtype)

    def from_host(self, array: np.ndarray) -> Any:
        """A copy of a NumPy array on this device, in C order."""
        return np.array(array, order="C", copy=True)

    def to_host(self, array: Any) -> np.ndarray:
        """The array in NumPy memory: itself where it is there already."""
        return array

    def current(self) -> contextlib.AbstractContextManager[Any]:
        """While this is entered, allocations and launches go to this device."""
        return contextlib.nullcontext()

    def shares_memory(self, a: Any, b: Any) -> bool:
        return bool(np.may_share_memory(a, b))

    def flag(self) -> Any:
        """The int32 cell in which kernels report bad data (FLAGS)."""
        raise NotImplementedError

    def check_flag(self) -> None:
        """Raise what a kernel has reported since the last check."""

    def synchronize(self) -> None:
        """Wait until all launched work is done; errors of that work are raised here."""


class _Cpu(device):
    pass


class _Emulator(device):
    """NumPy memory, red-zoned by the emulator; ops take the kernel path and launch in the emulator."""

    kernels = True
    arch = 90
    sms = 4

    @functools.cached_property
    def _emulator(self) -> Any:
        import gpudl.emulator

        return gpudl.emulator

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self._emulator.empty(shape, dtype)

    def from_host(self, array: np.ndarray) -> Any:
        array = np.asarray(array)
        out = self._emulator.empty(array.shape, array.dtype)
        out[...] = array
        self._emulator.mark_initialised(out)
        return out

    @functools.cached_property
    def _flag(self) -> Any:
        return self.from_host(np.zeros(1, np.int32))

    def flag(self) -> Any:
        return self._flag

    def check_flag(self) -> None:
        if "_flag" in self.__dict__ and self._flag[0]:
            code, self._flag[0] = int(self._flag[0]), 0
            kind, message = FLAGS[code]
            raise kind(message)


class _Cuda(device):
    kernels = True

    @functools.cached_property
    def xp(self) -> Any:  # type: ignore[override]
        try:
            import cupy
        except ImportError as error:
            raise DeviceError(f"device {self}: CuPy is not installed ({error}); pip install 'gpudl[cuda13]' or 'gpudl[cuda12]'") from None
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except Exception as error:
            raise DeviceError(f"device {self}: no usable GPU ({error}); run: python -m gpudl info") from None
        if self.index is None or self.index >= count:
            raise DeviceError(f"device {self}: this machine has {count} GPU(s), numbered from 0")
        return cupy

    @functools.cached_property
    def _cupy_device(self) -> Any:
        return self.xp.cuda.Device(self.index)

    @functools.cached_property
    def arch(self) -> int:  # type: ignore[override]
        return int(self._cupy_device.compute_capability)

    @functools.cached_property
    def sms(self) -> int:  # type: ignore[override]
        return int(self._cupy_device.attributes["MultiProcessorCount"])

    def current(self) -> contextlib.AbstractContextManager[Any]:
        return self._cupy_device

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        with self._cupy_device:
            return self.xp.empty(shape, dtype)

    def from_host(self, array: np.ndarray) -> Any:
        with self._cupy_device:
            return self.xp.asarray(np.ascontiguousarray(array).reshape(np.shape(array)))

    def to_host(self, array: Any) -> np.ndarray:
        with self._cupy_device:
            host = self.xp.asnumpy(array)
        self.check_flag()
        return host

    def shares_memory(self, a: Any, b: Any) -> bool:
        return bool(self.xp.may_share_memory(a, b))

    @functools.cached_property
    def _flag(self) -> Any:
        return self.from_host(np.zeros(1, np.int32))

    def flag(self) -> Any:
        return self._flag

    def check_flag(self) -> None:
        if "_flag" in self.__dict__:
            code = int(self.xp.asnumpy(self._flag)[0])
            if code:
                self._flag.fill(0)
                kind, message = FLAGS[code]
                raise kind(message + " (found by an earlier kernel, raised at this synchronisation)")

    def synchronize(self) -> None:
        self._cupy_device.synchronize()
        self.check_flag()


_KINDS: dict[str, type[device]] = {"cpu": _Cpu, "cuda": _Cuda, "emulator": _Emulator}
cpu = device("cpu")


def of_array(array: Any) -> device:
    """The device that holds this NumPy or CuPy array (an emulator array looks like NumPy's: name its device yourself)."""
    return cpu if isinstance(array, np.ndarray) else device("cuda", array.device.id)
