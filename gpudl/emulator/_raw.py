"""RawModule and RawKernel with CuPy's arguments: code moves between the two by changing one import."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

from gpudl.emulator._launch import Function, Module, compile


class RawModule:
    """A module of CUDA C++ source, as cupy.RawModule, run by the emulator (under the sanitizer unless sanitize=False).

    code or path: the text of a source, or a .cu file. name_expressions: instances of templates, such as "kernel<float, 4>".
    Compilation waits for the first use, as CuPy's does. Kernels are called as kernel(grid, block, args, shared_mem=0) with NumPy
    arrays; a Python float is refused where the kernel takes a float, because CuPy would pass eight bytes.
    """

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: bool = False,
        sanitize: bool = True,
        profile: bool = False,
        order: str = "ascending",
        **settings: Any,
    ):
        if (code is None) == (path is None):
            raise TypeError("RawModule: exactly one of code and path")
        del translate_cucomplex  # how CuPy brings cuComplex.h to Thrust's numbers; the emulator has both
        if backend not in ("nvrtc", "nvcc"):
            raise ValueError(f"RawModule: backend {backend!r}; CuPy knows 'nvrtc' and 'nvcc'")
        self.code, self.file_path, self.options, self.backend = code, path, tuple(options), backend
        self.name_expressions = tuple(name_expressions or ())
        self.enable_cooperative_groups = enable_cooperative_groups
        source: Any = code if path is None else os.fspath(path)
        if code is not None and "\n" not in code:
            source = code + "\n"  # a one-line source is not a path
        self._arguments = (source, self.options, sanitize, profile, order)
        self._settings = settings
        del jitify  # how CuPy finds headers; ours are found anyway

    @functools.cached_property
    def module(self) -> Module:
        """The emulator's module, compiled now if it was not yet."""
        return compile(*self._arguments, name_expressions=self.name_expressions, **self._settings)

    def compile(self, log_stream: Any = None) -> None:
        """Compile now; CompileError carries the compiler's message."""
        del log_stream
        _ = self.module

    def get_function(self, name: str) -> Function:
        function = self.module.get_function(name)
        function.strict = True
        function.cooperative = self.enable_cooperative_groups
        return function

    def get_global(self, name: str) -> Any:
        """The bytes of a __device__ or __constant__ variable as a NumPy view (CuPy gives a MemoryPointer)."""
        return self.module.get_global(name)


class RawKernel:
    """One kernel of a source, as cupy.RawKernel: RawKernel(code, name)(grid, block, args, shared_mem=0)."""

    def __init__(
        self,
        code: str,
        name: str,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        *,
        enable_cooperative_groups: bool = False,
        jitify: bool = False,
        **settings: Any,
    ):
        expressions = (name,) if "<" in name else ()
        self.name, self.code, self.options = name, code, tuple(options)
        self._module = RawModule(
            code, options=options, backend=backend, translate_cucomplex=translate_cucomplex, enable_cooperative_groups=enable_cooperative_groups,
            name_expressions=expressions, jitify=jitify, **settings,
        )  # fmt: skip

    @functools.cached_property
    def kernel(self) -> Function:
        """The emulator's function: parameters, profile."""
        return self._module.get_function(self.name)

    def compile(self, log_stream: Any = None) -> None:
        self._module.compile(log_stream)

    def __call__(self, grid: Any, block: Any, args: Sequence[Any], *, shared_mem: int = 0) -> None:
        self.kernel(grid, block, args, shared_mem)

    @property
    def profile(self) -> Any:
        return self.kernel.profile

    def linear_launch(self, size: int, args: Sequence[Any], shared_mem: int = 0, block_max_size: int = 128) -> None:
        self.kernel.linear_launch(size, args, shared_mem, block_max_size)

    # CuPy's attributes, as documented at Function.
    attributes = property(lambda self: self.kernel.attributes)
    max_threads_per_block = property(lambda self: self.kernel.max_threads_per_block)
    shared_size_bytes = property(lambda self: self.kernel.shared_size_bytes)
    const_size_bytes = property(lambda self: self.kernel.const_size_bytes)
    local_size_bytes = property(lambda self: self.kernel.local_size_bytes)
    num_regs = property(lambda self: self.kernel.num_regs)
    ptx_version = property(lambda self: self.kernel.ptx_version)
    binary_version = property(lambda self: self.kernel.binary_version)
    cache_mode_ca = property(lambda self: self.kernel.cache_mode_ca)
    preferred_shared_memory_carveout = property(lambda self: self.kernel.preferred_shared_memory_carveout)

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self.kernel.max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, value: int) -> None:
        self.kernel.max_dynamic_shared_size_bytes = value
