"""A stand-in for CuPy on a machine without a GPU: arrays in NumPy memory, kernels run by the emulator, CuPy's strictness at the edges.

It shows that the CUDA device's Python runs and passes CuPy what CuPy takes. It says nothing about a GPU.
"""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

import numpy as np


class ndarray(np.ndarray):
    @property
    def device(self) -> Any:  # type: ignore[override]
        return types.SimpleNamespace(id=0)

    @property
    def data(self) -> Any:  # type: ignore[override]
        return types.SimpleNamespace(ptr=self.ctypes.data)

    @property
    def __cuda_array_interface__(self) -> Any:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.ctypes.data, False), "version": 3}

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")  # as CuPy says it

    def get(self) -> np.ndarray:
        return np.array(self.view(np.ndarray))


def mine(array: Any) -> Any:
    return array.view(ndarray) if isinstance(array, np.ndarray) else array


class Function:
    def __init__(self, function: Any):
        self.function = function
        self.max_dynamic_shared_size_bytes = 48 * 1024

    @property
    def kernel(self) -> Any:
        """CuPy's RawKernel.kernel, the compiled function, whose call takes enable_cooperative_groups."""
        return self

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0, enable_cooperative_groups: bool = False) -> None:
        assert type(grid) is tuple and type(block) is tuple and all(type(n) is int for n in (*grid, *block)), (grid, block)
        assert type(args) is tuple and shared_mem <= self.max_dynamic_shared_size_bytes
        plain = []
        for a in args:
            if isinstance(a, ndarray):
                plain.append(a.view(np.ndarray))
            elif isinstance(a, np.ndarray):
                assert a.size == 1 and a.dtype.names, f"a host array {a.dtype}{a.shape} reached a kernel"
                plain.append(a)
            else:
                assert isinstance(a, np.generic), f"{a!r}: CuPy passes a bare Python {type(a).__name__} as 64 bits"
                plain.append(a)
        self.function(grid, block, tuple(plain), shared_mem=shared_mem, cooperative=enable_cooperative_groups)


def compile_using_nvrtc(source: str, options: tuple[str, ...] = ()) -> tuple[bytes, None]:
    assert type(options) is tuple and all(type(o) is str for o in options)
    return pickle.dumps((source, [o for o in options if not o.startswith(("-arch", "-lineinfo"))])), None


class RawModule:
    """Of machine code alone: from source, CuPy would add -ftz=true."""

    def __init__(self, *, path: str):
        from gpudl import emulator

        with open(path, "rb") as file:
            code, options = pickle.load(file)
        self.module = emulator.compile(code, options=options, sanitize=False)

    def get_function(self, name: str) -> Function:
        return Function(self.module.get_function(name))


COMPILER = {  # of cupy.cuda
    "compiler": types.SimpleNamespace(compile_using_nvrtc=compile_using_nvrtc), "nvrtc": types.SimpleNamespace(getVersion=lambda: (0, 0)),
}  # fmt: skip


class Device:
    def __init__(self, index: int = 0):
        self.id, self.compute_capability, self.attributes = index, "90", {"MultiProcessorCount": 4}

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None: ...

    def synchronize(self) -> None: ...


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found
        if name in ("dot", "matmul", "einsum", "tensordot", "inner", "vdot"):
            raise AssertionError(f"cupy.{name} behind an op of ours")

        def call(*args: Any, **kwargs: Any) -> Any:
            out = found(*args, **kwargs)
            return type(out)(map(mine, out)) if isinstance(out, (list, tuple)) else mine(out)

        return call


def module() -> Any:
    fake: Any = _Module("cupy")
    fake.ndarray, fake.RawModule, fake.__version__ = ndarray, RawModule, "0-fake"
    fake.empty = lambda shape, dtype: np.full(shape, 77, dtype).view(ndarray)  # never zeros by luck
    fake.asnumpy = lambda a: a.get()
    fake.lib = types.SimpleNamespace(
        stride_tricks=types.SimpleNamespace(as_strided=lambda a, shape, strides: mine(np.lib.stride_tricks.as_strided(a, shape, strides)))
    )
    fake.cuda = types.SimpleNamespace(
        Device=Device,
        runtime=types.SimpleNamespace(getDeviceCount=lambda: 1),
        get_current_stream=lambda: types.SimpleNamespace(ptr=0, synchronize=lambda: None),
        **COMPILER,
    )
    return fake


def install(monkeypatch: Any) -> None:
    import gpudl
    from gpudl import kernels

    monkeypatch.setitem(sys.modules, "cupy", module())
    monkeypatch.delitem(gpudl._device.device._known, "cuda:0", raising=False)
    for ladder in kernels.ladders().values():
        for rung in ladder:
            monkeypatch.setattr(rung, "_plans", {})
