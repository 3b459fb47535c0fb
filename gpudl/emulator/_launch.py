"""Modules and functions: checking arguments, passing them, launching, and turning faults into reports."""

from __future__ import annotations

import ctypes
import functools
import operator
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gpudl.emulator import _build, _memory, _symbols
from gpudl.emulator._errors import CompileError, LaunchError, Report, SanitizerError

ORDERS = {"ascending": 0, "descending": 1, "random": 2}
# KiB of shared memory that a block may have, by architecture
SHARED_LIMITS = {
    70: 96,
    72: 96,
    75: 64,
    80: 163,
    86: 99,
    87: 163,
    89: 99,
    90: 227,
    100: 227,
    101: 227,
    103: 227,
    110: 227,
    120: 99,
    121: 99,
}
MAX_FAULTS = 32


# ---- Mirrors of the structs in runtime.h.
class _Index(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint32), ("y", ctypes.c_uint32), ("z", ctypes.c_uint32)]


class _Fault(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int), ("block", ctypes.c_uint32 * 3), ("other_block", ctypes.c_uint32), ("thread", ctypes.c_int), ("other_thread", ctypes.c_int),
        ("address", ctypes.c_uint64), ("pc", ctypes.c_uint64), ("other_pc", ctypes.c_uint64), ("size", ctypes.c_uint64), ("base", ctypes.c_uint64),
        ("access", ctypes.c_int), ("other_access", ctypes.c_int), ("space", ctypes.c_int), ("count", ctypes.c_uint64), ("text", ctypes.c_char * 200),
    ]  # fmt: skip


class _Module(ctypes.Structure):
    _fields_: Any = [("anchor", ctypes.c_void_p)] + [
        (name, ctypes.c_uint64)
        for name in ("anchor_offset", "static_offset", "static_bytes", "dynamic_offset", "dynamic_bytes", "text_begin", "text_end", "data_begin",
                     "data_end", "constant_begin", "constant_end", "image_begin", "image_end")
    ] + [("arrays", ctypes.c_void_p), ("array_count", ctypes.c_uint32), ("sanitized", ctypes.c_uint32),
         ("shuffles", ctypes.c_uint32), ("reserved", ctypes.c_uint32)]  # fmt: skip


class _Launch(ctypes.Structure):
    _fields_ = [
        ("call", ctypes.c_void_p), ("arguments", ctypes.c_void_p), ("module", ctypes.POINTER(_Module)), ("grid", _Index), ("block", _Index),
        ("shared_bytes", ctypes.c_uint32), ("order", ctypes.c_uint32), ("seed", ctypes.c_uint32), ("workers", ctypes.c_uint32),
        ("profile", ctypes.c_uint32), ("cooperative", ctypes.c_uint32), ("traced_block", ctypes.c_uint32),
        ("traced_warp", ctypes.c_uint32), ("timeout", ctypes.c_double), ("writable", ctypes.c_uint64),
        ("faults", _Fault * MAX_FAULTS), ("fault_count", ctypes.c_uint32), ("stopped", ctypes.c_uint32), ("barriers", ctypes.c_uint64),
        ("switches", ctypes.c_uint64), ("output", ctypes.c_uint64),
    ]  # fmt: skip


class _Record(ctypes.Structure):
    _fields_ = [("call", ctypes.c_void_p), ("parameters", ctypes.c_void_p), ("count", ctypes.c_int)]


class _CParameter(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_char),
        ("pointee", ctypes.c_char),
        ("pointee_bytes", ctypes.c_uint16),
        ("bytes", ctypes.c_uint32),
        ("alignment", ctypes.c_uint32),
    ]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel. kind: pointer, int, unsigned, float, bool or struct; const: a pointer to const."""

    name: str
    type: str
    kind: str
    size: int
    const: bool = False
    pointee: str = ""
    pointee_size: int = 0


_KINDS = {
    b"p": "pointer",
    b"P": "pointer",
    b"i": "int",
    b"u": "unsigned",
    b"f": "float",
    b"b": "bool",
    b"s": "struct",
    b"v": "void",
    b"\0": "",
}
_CTYPES = {
    ("int", 1): ctypes.c_int8, ("int", 2): ctypes.c_int16, ("int", 4): ctypes.c_int32, ("int", 8): ctypes.c_int64,
    ("unsigned", 1): ctypes.c_uint8, ("unsigned", 2): ctypes.c_uint16, ("unsigned", 4): ctypes.c_uint32, ("unsigned", 8): ctypes.c_uint64,
    ("float", 4): ctypes.c_float, ("float", 8): ctypes.c_double, ("bool", 1): ctypes.c_bool,
}  # fmt: skip
_FAMILY = {"i": "int", "u": "unsigned", "f": "float", "b": "bool", "V": "struct", "c": "complex"}


class Module:
    """A compiled source. get_function(name) gives its kernels; get_global(name) a view of a __device__ or __constant__ variable."""

    def __init__(
        self,
        built: _build.Built,
        sanitize: bool,
        profile: bool,
        order: str,
        seed: int,
        timeout: float | None,
        workers: int | None,
        options: tuple[str, ...],
    ):
        self.path, self.sanitize, self.profile, self.order, self.seed = built.path, sanitize, profile, order, seed
        self.timeout = (120.0 if sanitize else 60.0) if timeout is None else timeout
        self.workers = int(os.environ.get("GPUDL_EMULATOR_WORKERS", "1")) if workers is None else workers
        self.architecture, self.sources = built.architecture, built.sources
        self._built, self.options = built, options
        library = _build.runtime()
        for what, mirror in enumerate((_Launch, _Module, _Fault)):
            assert library.gpudl_emu_sizes(what) == ctypes.sizeof(mirror), mirror
        self._library = ctypes.CDLL(str(built.path))  # RTLD_LOCAL: kernels of equal names in other modules stay apart
        elf = built.elf
        anchor = ctypes.cast(self._library.gpudl_module_anchor, ctypes.c_void_p).value or 0
        base = self.base = anchor - elf["anchor"]["function"]
        dynamic = next((s for s in elf["shared"] if s[0] == built.dynamic and s[2] == _build.DYNAMIC_BYTES), None)
        listed = [s for s in elf["shared"] if s[0] != "gpudl_anchor" and not (dynamic and s[1] == dynamic[1])]
        self.shared = [tuple(s[:3]) for s in listed]
        self._owners = [s[3] for s in listed]
        self.dynamic = (dynamic[0], dynamic[1]) if dynamic else None
        low = min((s[1] for s in self.shared), default=0)
        high = max((s[1] + s[2] for s in self.shared), default=0)
        self.data = [(name, base + at, size) for name, at, size in elf["data"]]
        self._extents = (ctypes.c_uint64 * (2 * len(self.shared) + 1))(*[n for s in self.shared for n in s[1:]])
        self._module = _Module(
            anchor, elf["anchor"]["tls"], low, high - low, dynamic[1] if dynamic else 0, dynamic[2] if dynamic else 0, *[base + a for a in elf["text"]],
            *(base + a if elf["data_range"][1] else 0 for a in elf["data_range"]), *(base + a if elf["constant"][1] else 0 for a in elf["constant"]),
            base, base + elf["image"], ctypes.addressof(self._extents), len(self.shared), sanitize, elf["shuffles"], 0,
        )  # fmt: skip
        self._functions: dict[str, Function] = {}

    @property
    def kernels(self) -> tuple[str, ...]:
        """The names that get_function takes."""
        return tuple(e["name"] for e in self._built.entries)

    def get_function(self, name: str) -> Function:
        """The kernel of that name; AttributeError names those there are."""
        if name not in self._functions:
            for number, entry in enumerate(self._built.entries):
                if entry["name"] == name or entry["name"].split("::")[-1] == name:
                    self._functions[name] = Function(self, number, entry)
                    break
            else:
                hint = (
                    f" {name} is a template: name an instance in name_expressions, such as '{name}<float>'"
                    if name in self._built.templates
                    else ""
                )
                raise AttributeError(f"{self.sources[0]}: no kernel {name!r}; there are {', '.join(self.kernels) or 'none'}.{hint}")
        return self._functions[name]

    def get_global(self, name: str) -> np.ndarray:
        """The bytes of a __device__ or __constant__ variable, as a uint8 view: view(dtype) gives its elements."""
        for found, address, size in self.data:
            if found == name:
                return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)
        raise AttributeError(
            f"{self.sources[0]}: no __device__ or __constant__ variable {name!r}; there are {', '.join(d[0] for d in self.data) or 'none'}"
        )


class Function:
    """A kernel: f(grid, block, args, shared_mem=0). Arguments are NumPy arrays and scalars; structs are size-1 structured arrays."""

    def __init__(self, module: Module, number: int, entry: dict[str, Any]):
        self.module, self.name = module, entry["name"]
        record = _Record.in_dll(module._library, f"gpudl_kernel_{number}")
        raw = (_CParameter * record.count).from_address(record.parameters) if record.count else ()
        names = entry["parameters"] if len(entry["parameters"]) == record.count else [""] * record.count
        types = entry["types"] if len(entry["types"]) == record.count else [""] * record.count
        self.parameters = tuple(
            Parameter(n or f"argument {i}", t, _KINDS[p.kind], p.bytes, p.kind == b"P", _KINDS[p.pointee], p.pointee_bytes)
            for i, (p, n, t) in enumerate(zip(raw, names, types, strict=True))
        )
        mine = {self.name.split("::")[-1].split("<")[0], *([""] if len(module.kernels) > 1 else module._owners)}
        self._static_shared = sum(s[2] for s, owner in zip(module.shared, module._owners, strict=True) if owner in mine)
        self.max_threads_per_block: int = entry.get("bounds") or 1024  # of __launch_bounds__
        self.profile: Any = None
        self.strict = False  # refuse what CuPy would get wrong in silence: a Python float where the kernel takes a float
        self.cooperative = False
        self.max_dynamic_shared_size_bytes = 0  # CuPy's attribute; here the limit is the architecture's
        count = len(self.parameters)
        self._slots = (ctypes.c_uint64 * max(count, 1))()
        self._arguments = (ctypes.c_void_p * max(count, 1))(*[ctypes.addressof(self._slots) + 8 * i for i in range(count)])
        self._launch = _Launch()
        self._launch.call = record.call
        self._launch.arguments = ctypes.addressof(self._arguments)
        self._launch.module = ctypes.pointer(module._module)
        self._launch.order, self._launch.seed = ORDERS[module.order], module.seed
        self._launch.timeout = module.timeout
        self._launch.workers = module.workers
        self._launch.profile = module.profile
        self._launch.traced_block = 0xFFFFFFFF  # none
        for i, p in enumerate(self.parameters):
            if p.kind == "pointer" and not p.const and i < 64:
                self._launch.writable |= 1 << i
        self._at = ctypes.addressof(self._launch)
        self._accepted: list[set[np.dtype]] = [set() for _ in self.parameters]
        self._lock = threading.Lock()
        self._put = [self._array if p.kind == "pointer" else self._struct if p.kind == "struct" else self._scalar for p in self.parameters]
        self._limits_seen: Any = None
        self._run = _build.runtime().gpudl_emu_launch
        self._low, self._high = _memory.arena()

    def __repr__(self) -> str:
        return f"<emulated kernel {self.name}({', '.join(f'{p.type} {p.name}' for p in self.parameters)})>"

    @property
    def shared_size_bytes(self) -> int:
        """Static shared memory of the kernel, bytes; arrays of the functions that it calls count where the file has no other kernel."""
        return self._static_shared

    # ---- CuPy's attributes. What the compiler alone knows comes from NVRTC, where it is installed.
    @functools.cached_property
    def _compiler_report(self) -> Any:
        from gpudl.emulator import _profile

        try:
            return _profile.compiler_report(self, Path(self.module.sources[0]), self.module.options)
        except StopIteration:
            reason = "NVRTC compiled the source without this kernel (an instance of a template is not reported)"
        except Exception as error:
            reason = str(error)
        raise AttributeError(f"{self.name}: registers and local memory are the GPU compiler's choice, which is not known here: {reason}")

    @property
    def num_regs(self) -> int:
        """Registers a thread, as NVRTC chose for the module's architecture; AttributeError where there is no NVRTC."""
        return int(self._compiler_report.registers)

    @property
    def local_size_bytes(self) -> int:
        """Local memory a thread (stack and spills), as NVRTC chose; AttributeError where there is no NVRTC."""
        return int(self._compiler_report.stack)

    @property
    def const_size_bytes(self) -> int:
        """Bytes of the module's __constant__ variables."""
        low, high = self.module._built.elf["constant"]
        return int(high - low)

    @property
    def binary_version(self) -> int:
        return self.module.architecture

    ptx_version = binary_version
    cache_mode_ca = 0
    preferred_shared_memory_carveout = -1  # the driver's choice

    @property
    def attributes(self) -> dict[str, int]:
        """CuPy's attributes of a kernel; registers and local memory are in it where NVRTC can tell them."""
        names = ("max_threads_per_block", "shared_size_bytes", "const_size_bytes", "local_size_bytes", "num_regs", "ptx_version", "binary_version",
                 "cache_mode_ca", "max_dynamic_shared_size_bytes", "preferred_shared_memory_carveout")  # fmt: skip
        return {n: getattr(self, n) for n in names if hasattr(self, n)}

    def linear_launch(self, size: int, args: Sequence[Any], shared_mem: int = 0, block_max_size: int = 128, stream: Any = None) -> None:
        """Launch with at least `size` threads in one dimension, as CuPy's."""
        block = max(1, min(block_max_size, size))
        self((-(-size // block),), (block,), args, shared_mem, stream=stream)

    def __call__(
        self,
        grid: Any,
        block: Any,
        args: Sequence[Any],
        shared_mem: int = 0,
        *,
        cooperative: bool | None = None,
        stream: Any = None,
        enable_cooperative_groups: bool | None = None,
    ) -> None:
        """Launch. TypeError for arguments that do not fit the parameters, LaunchError for sizes over the architecture's limits,
        SanitizerError for faults found while running. enable_cooperative_groups: CuPy's name for cooperative."""
        del stream  # launches run when they are called
        cooperative = enable_cooperative_groups if cooperative is None else cooperative
        cooperative = self.cooperative if cooperative is None else cooperative
        with self._lock:
            limits = (grid, block, shared_mem, cooperative, self.max_dynamic_shared_size_bytes)
            if limits != self._limits_seen:
                self._set_sizes(grid, block, shared_mem, cooperative)
                self._limits_seen = limits
            if len(args) != len(self.parameters):
                raise TypeError(
                    f"{self.name}: takes {len(self.parameters)} arguments ({', '.join(p.name for p in self.parameters)}), got {len(args)}"
                )
            foreign: list[tuple[int, np.ndarray]] = []
            keep: list[Any] = []
            for i, value in enumerate(args):
                self._put[i](i, value, foreign, keep)
            groups = self._copy_in(foreign, keep) if foreign else ()
            status = self._run(self._at)
            if self._launch.output:
                _print_output()
            for home, host, size, written in groups:
                if written:
                    ctypes.memmove(host, home, size)
            if self.module.profile:
                from gpudl.emulator import _profile

                self.profile = _profile.collect(self, args)
            if status == 0:
                return
            reports = self._reports(args, foreign, groups) if status != 3 else []
        if status == 3:
            raise KeyboardInterrupt
        if status == 2:
            raise MemoryError(f"{self.name}: no address space for the emulator's stacks")
        if reports:
            raise SanitizerError(reports)

    # ---- Sizes.
    def _set_sizes(self, grid: Any, block: Any, shared_mem: int, cooperative: bool) -> None:
        g, b = _triple(grid, "grid"), _triple(block, "block")
        arch = self.module.architecture
        allowed = SHARED_LIMITS.get(arch, 227) * 1024
        problem = None
        for name, size, most in (("grid", g, (2**31 - 1, 65535, 65535)), ("block", b, (1024, 1024, 64))):
            for axis, n, limit in zip("xyz", size, most, strict=True):
                if not 1 <= n <= limit:
                    problem = problem or f"{name} {size}: {name}.{axis} = {n}, a GPU takes 1 to {limit}"
        if b[0] * b[1] * b[2] > 1024:
            problem = problem or f"block {b} is {b[0] * b[1] * b[2]} threads, a GPU takes at most 1024"
        if b[0] * b[1] * b[2] > self.max_threads_per_block:
            problem = problem or f"block {b} is {b[0] * b[1] * b[2]} threads, __launch_bounds__ of {self.name} allows {self.max_threads_per_block}"
        if shared_mem < 0 or shared_mem + self._static_shared > allowed:
            problem = (
                problem
                or f"{self._static_shared} bytes of static and {shared_mem} of dynamic shared memory, sm_{arch} has {allowed} for a block"
            )
        if self.strict and shared_mem > 48 * 1024 and shared_mem > self.max_dynamic_shared_size_bytes:
            problem = (
                problem
                or f"{shared_mem} bytes of dynamic shared memory: over 49152 a kernel must ask first (max_dynamic_shared_size_bytes = {shared_mem})"
            )
        if self._static_shared > 48 * 1024:
            problem = problem or f"{self._static_shared} bytes of static shared memory, the limit is {48 * 1024}; more must be dynamic"
        if cooperative and g[0] * g[1] * g[2] > 64:
            problem = (
                problem
                or f"a cooperative grid of {g[0] * g[1] * g[2]} blocks; the emulator keeps at most 64 resident (its virtual device has 4 SMs)"
            )
        if problem:
            raise LaunchError(
                [Report("limit", problem, self.module.sources[0], None, self.name, cause="the launch asks for more than the hardware has")]
            )
        launch = self._launch
        launch.grid, launch.block = _Index(*g), _Index(*b)
        launch.shared_bytes, launch.cooperative = int(shared_mem), int(cooperative)
        self._block_shape = b

    # ---- Arguments.
    def _scalar(self, i: int, value: Any, foreign: list[Any], keep: list[Any]) -> None:
        p = self.parameters[i]
        c: Any = _CTYPES[p.kind, p.size]
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, np.generic):
            family = _FAMILY.get(value.dtype.kind, "?")
            same = family == p.kind or {family, p.kind} <= {"int", "unsigned"}
            if not same or value.dtype.itemsize != p.size:
                raise TypeError(f"{self.name}: {p.name} is {value.dtype}, the kernel takes {p.type or p.kind} ({p.kind}, {p.size} bytes)")
            plain: Any = value.item()
        elif isinstance(value, (bool, int, float)):
            if isinstance(value, float) and p.kind != "float":
                raise TypeError(f"{self.name}: {p.name} is a float ({value}), the kernel takes {p.type or p.kind}")
            if self.strict and p.kind == "float" and (p.size != 8 or not isinstance(value, float)):
                raise TypeError(f"{self.name}: {p.name} is a Python {type(value).__name__} (CuPy passes its 8 bytes as they are), the kernel takes {p.type}: "
                                f"write numpy.float{8 * p.size}({value})")  # fmt: skip
            plain = float(value) if p.kind == "float" else int(value)
        else:
            raise TypeError(f"{self.name}: {p.name} is {_what(value)}, the kernel takes {p.type or p.kind}")
        if p.kind in ("int", "unsigned"):
            bits = 8 * p.size
            if not -(1 << (bits - 1)) <= plain < 1 << bits or (
                p.kind == "int" and plain >= 1 << (bits - 1) and not isinstance(value, np.generic)
            ):
                raise TypeError(f"{self.name}: {p.name} = {plain} does not fit {p.type or p.kind} ({p.size} bytes)")
            self._slots[i] = plain & 0xFFFFFFFFFFFFFFFF
        else:
            c.from_address(ctypes.addressof(self._slots) + 8 * i).value = plain

    def _struct(self, i: int, value: Any, foreign: list[Any], keep: list[Any]) -> None:
        p = self.parameters[i]
        array = np.ascontiguousarray(value) if isinstance(value, (np.ndarray, np.void, np.generic)) else None
        if array is None or array.nbytes != p.size:
            got = f"{array.nbytes} bytes" if array is not None else _what(value)
            raise TypeError(
                f"{self.name}: {p.name} is {got}, the kernel takes the struct {p.type} of {p.size} bytes (pass a size-1 structured array)"
            )
        keep.append(array)
        self._arguments[i] = array.__array_interface__["data"][0]

    def _array(self, i: int, value: Any, foreign: list[Any], keep: list[Any]) -> None:
        if not isinstance(value, np.ndarray):
            if value is None:
                self._slots[i] = 0
                return
            raise TypeError(
                f"{self.name}: {self.parameters[i].name} is {_what(value)}, the kernel takes {self.parameters[i].type or 'a pointer'}"
            )
        dtype = value.dtype
        if dtype not in self._accepted[i]:
            self._check_dtype(self.parameters[i], dtype)
            self._accepted[i].add(dtype)
        address = value.__array_interface__["data"][0]
        if self._low <= address < self._high:
            self._slots[i] = address
        else:
            foreign.append((i, value))

    def _check_dtype(self, p: Parameter, dtype: np.dtype) -> None:
        if dtype.hasobject:
            raise TypeError(f"{self.name}: {p.name} holds Python objects")
        if p.pointee in ("void", "struct", "pointer") or p.pointee_size == 1:
            return
        family = _FAMILY.get(dtype.kind, "?")
        if dtype.itemsize == p.pointee_size and (family == p.pointee or {family, p.pointee} <= {"int", "unsigned"} or family == "struct"):
            return
        if family == "complex" and p.pointee == "float" and dtype.itemsize == 2 * p.pointee_size:
            return
        if p.pointee == "unsigned" and p.pointee_size == 2 and dtype.itemsize == 2:
            return  # the bits of a half
        raise TypeError(f"{self.name}: {p.name} is {dtype}, the kernel {'reads' if p.const else 'takes'} {p.type or p.pointee}")

    def _copy_in(self, foreign: list[tuple[int, np.ndarray]], keep: list[Any]) -> list[tuple[int, int, int, bool]]:
        """Copy NumPy's own arrays between red zones. Arrays that overlap are copied as one, so that aliasing holds."""
        spans = []
        for i, value in foreign:
            low, high = byte_bounds(value) if value.size else (value.__array_interface__["data"][0],) * 2
            spans.append((low, high, i, value))
        spans.sort(key=lambda s: (s[0], s[1]))
        groups: list[list[Any]] = []
        for low, high, i, value in spans:
            written = not self.parameters[i].const and value.flags.writeable
            if groups and low < groups[-1][1]:
                groups[-1][1] = max(groups[-1][1], high)
                groups[-1][2].append((i, value))
                groups[-1][3] |= written
            else:
                groups.append([low, high, [(i, value)], written])
        result = []
        for low, high, members, written in groups:
            home = _memory._Block(max(high - low, 0))
            keep.append(home)
            ctypes.memmove(home.address, low, high - low)
            _build.runtime().gpudl_emu_mark(home.address, high - low)
            for i, value in members:
                self._slots[i] = home.address + value.__array_interface__["data"][0] - low
            result.append((home.address, low, high - low, written))
        return result

    # ---- Faults.
    def _reports(self, args: Sequence[Any], foreign: list[Any], groups: Iterable[Any]) -> list[Report]:
        launch = self._launch
        faults = [launch.faults[k] for k in range(launch.fault_count)]
        places = [
            (p.name, self._slots[i], args[i])
            for i, p in enumerate(self.parameters)
            if p.kind == "pointer" and isinstance(args[i], np.ndarray)
        ]
        return _symbols.explain(self, faults, places)


def _print_output() -> None:
    """Write what a launch has printed, to Python's own standard output."""
    library = _build.runtime()
    lost = ctypes.c_uint64()
    size = library.gpudl_emu_output(None, 0, None)
    text = ctypes.create_string_buffer(max(size, 1))
    library.gpudl_emu_output(ctypes.addressof(text), max(size, 1), ctypes.byref(lost))
    sys.stdout.write(text.raw[:size].decode(errors="replace"))
    if lost.value:
        sys.stdout.write(f"[{lost.value} more printf calls: a launch keeps 1 MiB of output]\n")


def _what(value: Any) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def _triple(value: Any, what: str) -> tuple[int, int, int]:
    try:
        parts = [operator.index(p) for p in (value if isinstance(value, (tuple, list)) else (value,))]
    except TypeError:
        raise TypeError(f"{what} {value!r}: an integer, or one to three of them, is needed") from None
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"{what} {value!r}: one to three sizes")
    return (*parts, *((1,) * (3 - len(parts))))  # type: ignore[return-value]


def compile(
    source: str | os.PathLike[str],
    options: Sequence[str] = (),
    sanitize: bool = True,
    profile: bool = False,
    order: str = "ascending",
    *,
    seed: int = 0,
    name_expressions: Sequence[str] = (),
    timeout: float | None = None,
    workers: int | None = None,
) -> Module:
    """Compile a .cu file (a path) or the text of one for the emulator.

    options   as for nvcc and NVRTC: -D, -U, -I, -std and the architecture are used, the rest is ignored
    sanitize  check every access while running (SanitizerError); False runs at full speed and trusts the source
    profile   count requests, sectors and wavefronts by source line; implies sanitize
    order     in which threads, warps and blocks run: ascending, descending or random (with `seed`)
    timeout   seconds after which a launch is stopped; workers: OS threads that run blocks side by side in fast mode
    CompileError carries the compiler's message; CompilerMissingError says what to install.
    """
    if order not in ORDERS:
        raise ValueError(f"compile: order {order!r}; there are {', '.join(ORDERS)}")
    if isinstance(options, str):
        raise TypeError("compile: options is a sequence of strings, such as ('-DN=4',)")
    sanitize = bool(sanitize or profile)
    built = _build.build(source, tuple(options), sanitize, tuple(name_expressions))
    return Module(built, sanitize, profile, order, seed, timeout, workers, tuple(options))


__all__ = ["CompileError", "Function", "Module", "Parameter", "compile"]
