"""Kernel records, ladders and launches.

A ladder is one pass of one op (`softmax.forward`, `conv2d.dgrad`); its rungs are the `.cu` files of kernels/<op>/<pass>/, first to last
the order of the lesson. `ladder(name)` lists them, `use(name, rung)` picks one for everything that runs after it or inside its `with`.
"""

from __future__ import annotations

import ast
import contextlib
import contextvars
import difflib
import functools
import hashlib
import inspect
import os
import re
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpudl import _determinism, _dtypes, _precision, _tuning
from gpudl._device import device as Device
from gpudl._errors import KernelError
from gpudl._files import atomic_write, cache_folder

# Inside a wheel the sources lie under a private name; in a checkout they are the top-level folder.
_packaged = Path(__file__).parent / "_kernels"
FOLDER = _packaged if _packaged.is_dir() else Path(__file__).parent.parent / "kernels"

MAX_DIMS = 8
DIMS = np.dtype([("ndim", np.int32), ("pad", np.int32), ("shape", np.int64, MAX_DIMS), ("stride", np.int64, (3, MAX_DIMS))])

_SCALARS = {
    "int": np.int32, "unsigned": np.uint32, "float": np.float32, "double": np.float64, "bool": np.bool_,
    "int8_t": np.int8, "uint8_t": np.uint8, "int16_t": np.int16, "uint16_t": np.uint16, "int32_t": np.int32, "uint32_t": np.uint32,
    "int64_t": np.int64, "uint64_t": np.uint64, "size_t": np.uint64,
}  # fmt: skip
_C_TO_DTYPE = {name: np.dtype(t) for name, t in _SCALARS.items()} | {"Half": _dtypes.float16, "BFloat16": _dtypes.bfloat16}
_STRUCTS = {"Dims": DIMS}
_HEADER_FIELD = re.compile(r"^// (\w+(?: \d+)?)\s{2,}(.*)$")


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def dims(shape: tuple[int, ...], *operands: Any) -> np.ndarray:
    """The `Dims` argument of a strided kernel: shape and element strides of up to three operands (arrays of that shape), axes merged.

    An axis of an operand with stride 0 is broadcast. Neighbouring axes that every operand walks through as one become one.
    """
    return _dims(shape, tuple([(a.strides, a.itemsize) for a in operands]))


@functools.lru_cache(4096)
def _dims(shape: tuple[int, ...], operands: tuple[tuple[tuple[int, ...], int], ...]) -> np.ndarray:
    strides = [[s // itemsize for s in steps] for steps, itemsize in operands]
    merged: list[list[int]] = []  # [extent, stride of each operand]
    for axis, extent in enumerate(shape):
        step = [s[axis] for s in strides]
        if extent == 1:
            continue
        if merged and all(last == mine * extent for last, mine in zip(merged[-1][1:], step, strict=True)):
            merged[-1] = [merged[-1][0] * extent, *step]
        else:
            merged.append([extent, *step])
    if len(merged) > MAX_DIMS:
        raise KernelError(f"{len(merged)} dimensions that cannot be merged; kernels index at most {MAX_DIMS}. Make the operands contiguous")
    out = np.zeros(1, DIMS)
    out["ndim"] = len(merged)
    for d, (extent, *step) in enumerate(merged):
        out["shape"][0, d] = extent
        for k, s in enumerate(step):
            out["stride"][0, k, d] = s
    out.flags.writeable = False  # it is shared
    return out


@functools.cache
def headers_hash() -> str:
    """A hash of every shared header: compile caches look at the source and the options, not into what a source includes."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*.cuh")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Parameter:
    """One parameter of a kernel as its signature in the .cu states it."""

    __slots__ = ("const", "name", "pointer", "type")

    def __init__(self, text: str):
        text = re.sub(r"\b(__restrict__|__grid_constant__|volatile)\b", " ", text)
        self.pointer = "*" in text
        self.const = bool(re.search(r"\bconst\b", text))
        words = re.sub(r"\bconst\b|[*&]", " ", text).split()
        self.name = words[-1]
        self.type = " ".join(words[:-1]).replace("unsigned int", "unsigned")


@functools.cache
def read_source(path: Path) -> tuple[dict[str, tuple[Parameter, ...]], dict[str, str]]:
    """Entries with their parameters, and the header facts, of a .cu file."""
    text = path.read_text()
    facts: dict[str, str] = {}
    last = ""
    for number, line in enumerate(text.splitlines()):
        if not line.startswith("//"):
            break
        field = _HEADER_FIELD.match(line)
        if number == 0:
            facts["Title"] = line[3:]
        elif field:
            last = field[1]
            facts[last] = field[2]
        elif last and line[3:].strip():
            facts[last] += " " + line[3:].strip()
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    entries = {}
    for match in re.finditer(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^{;]*?\)\s*)?(\w+)\s*\(([^)]*)\)', code):
        entries[match[1]] = tuple(Parameter(p) for p in match[2].split(",") if p.strip())
    if not entries:
        raise KernelError(f'{path.name}: no entry found; a kernel starts with: extern "C" __global__ void name(...)')
    return entries, facts


def _names(function: Any) -> tuple[str, ...]:
    """The parameters of a formula. inspect.signature says the same, and the records' thousand formulas would feel it in `import gpudl`."""
    code = getattr(function, "__code__", None)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else tuple(inspect.signature(function).parameters)


class Formula:
    """A value of the record: a constant, or a function of the launch's scalars and the tiles, whose parameters name what it needs."""

    __slots__ = ("function", "names", "value")

    def __init__(self, value: Any):
        self.function = value if callable(value) else None
        self.names = _names(value) if callable(value) else ()
        self.value = value

    def __call__(self, scope: Mapping[str, Any]) -> Any:
        if self.function is None:
            return self.value
        missing = [n for n in self.names if n not in scope]
        if missing:
            raise TypeError(f"a formula of the kernel record needs {', '.join(missing)}; the launch gives {', '.join(scope)}")
        return self.function(*[scope[n] for n in self.names])


class Step:
    """One launch of a rung that takes several (two passes of a reduction): an entry of the same file with its own grid and block."""

    def __init__(self, entry: str, *, grid: Any, block: Any, smem: Any = 0):
        self.entry, self.grid, self.block, self.smem = entry, Formula(grid), Formula(block), Formula(smem)


class Kernel:
    """All that choosing, compiling and launching one rung needs.

    source        file in the ladder's folder
    grid, block   int or tuple, or a function of the scalars of the launch (M, N, ...), the tiles, `itemsize` and `sms`
    *steps        instead of grid and block: several launches in order, each of its own entry
    dtypes        what the type parameter T may be
    when          where the rung applies: a function of scalars, tiles, `dtype`, `arch`
    name          the rung's, where one source has several records (tiles for another class of shapes); else the source's
    smem          dynamic shared memory, bytes
    scalars       kernel parameters that follow from the launch's own: name -> function (how many slices K is cut into)
    workspace     scratch arrays by parameter name: function -> (shape, dtype or "acc"; "acc" is acc_t: float32, float64, int64); with a third
                  element "kept" the array was zeroed once and stays: the kernel must leave it zero. Each stream has its own
    align         bytes that every pointer must be a multiple of (an input that is not is copied)
    aligned       the parameters that `align` is about, where it is not about all
    strided       parameters that take any strides (the op passes them as scalars); all others are C-contiguous
    arch          smallest compute capability, as 80 for sm_80; a string such as "90a" is that one only
    cooperative   all blocks are resident at once (grid barrier)
    deterministic bitwise repeatable
    precision     "ieee": products of the dtype itself; another name ("tf32") is a rung that rounds its inputs further and runs only where asked for
    traffic       bytes requested, a function of the scalars: the header's formula, evaluated
    spills        why registers spill, where they do
    tiles         every other keyword is a macro of the .cu (-DBM=128); their only home
    """

    backend = "cuda"

    def __init__(
        self,
        source: str,
        *steps: Step,
        grid: Any = None,
        block: Any = None,
        dtypes: tuple[np.dtype, ...] = _dtypes.FLOATS,
        when: Callable[..., bool] | None = None,
        entry: str | None = None,
        name: str | None = None,
        smem: Any = 0,
        scalars: Mapping[str, Callable[..., Any]] | None = None,
        workspace: Mapping[str, Callable[..., Any]] | None = None,
        align: int = 1,
        aligned: tuple[str, ...] = (),
        strided: tuple[str, ...] = (),
        arch: int | str = 75,
        cooperative: bool = False,
        deterministic: bool = True,
        precision: str = "ieee",
        traffic: Callable[..., float] | None = None,
        spills: str = "",
        **tiles: Any,
    ):
        self.source, self.name = source, name or Path(source).stem
        self.dtypes, self.when, self.entry = dtypes, when and Formula(when), entry
        self._given = steps or (grid, block, smem)
        self.scalars = {name: Formula(f) for name, f in (scalars or {}).items()}
        self.workspace = {name: Formula(f) for name, f in (workspace or {}).items()}
        if align > 1 and set(aligned or strided) & set(strided):
            raise ValueError(f"{source}: {', '.join(strided)} cannot be both strided and aligned: a copy would not lie as the launch describes it")
        self.align, self.aligned, self.strided, self.arch = align, frozenset(aligned), frozenset(strided), arch
        self.cooperative, self.deterministic, self.traffic = cooperative, deterministic, traffic and Formula(traffic)
        self.precision, self.spills, self.tiles = precision, spills, tiles
        self.ladder: Ladder
        self._plans: dict[Any, Any] = {}
        self._kept: dict[Any, Any] = {}
        self.launches = 0  # launches so far in this process

    def __repr__(self) -> str:
        return f"<{self.ladder.name}/{self.source}>"

    @property
    def path(self) -> Path:
        return FOLDER / self.ladder.folder / self.source

    @functools.cached_property
    def steps(self) -> tuple[Step, ...]:
        if isinstance(self._given[0], Step):
            return self._given  # type: ignore[return-value]
        grid, block, smem = self._given
        return (Step(self.entry or next(iter(self.entries)), grid=grid, block=block, smem=smem),)

    @property
    def entries(self) -> dict[str, tuple[Parameter, ...]]:
        return read_source(self.path)[0]

    @property
    def header(self) -> dict[str, str]:
        """The facts of the header comment: Computes, Launch, FLOPs, Traffic, Intensity, Since .., Numerics, Source."""
        return read_source(self.path)[1]

    @property
    def min_arch(self) -> int:
        return int(str(self.arch).rstrip("a"))

    def options(self, types: Mapping[str, np.dtype], defines: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Compile options without the architecture: the type macros, the tiles, the op's own macros, the include folders."""
        macros = {name: _dtypes.C_NAMES[dtype] for name, dtype in sorted(types.items())} | self.tiles | dict(defines or {})
        return (
            "-std=c++17",
            f"-I{FOLDER}",
            f"-I{self.path.parent}",
            *(f"-D{name}={int(value) if isinstance(value, bool) else value}" for name, value in macros.items()),
        )

    def scope(self, scalars: Mapping[str, Any], dtype: np.dtype, device: Device) -> dict[str, Any]:
        """What the record's formulas may name."""
        scope = {**self.tiles, "dtype": dtype, "itemsize": dtype.itemsize, "arch": device.arch, "sms": device.sms, **scalars}
        for name, formula in self.scalars.items():
            scope[name] = formula(scope)
        return scope

    def takes(self, scalars: Mapping[str, Any], dtype: np.dtype, device: Device) -> bool:
        """Whether this rung computes a launch of these sizes and this dtype on this device."""
        if dtype not in self.dtypes or device.arch < self.min_arch or (isinstance(self.arch, str) and device.arch != self.min_arch):
            return False
        return self.when is None or bool(self.when(self.scope(scalars, dtype, device)))

    def launch(self, device: Device, arguments: dict[str, Any], defines: Mapping[str, Any], key: tuple[Any, ...] | None = None) -> None:
        """Launch on arguments given by the names of the parameters. key: `signature` of these arguments, where it is known already."""
        key = signature(device, arguments, defines) if key is None else key
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) > 4096:
                self._plans.clear()
            arrays = {k: v for k, v in arguments.items() if _is_array(v)}
            plan = self._plans[key] = self._plan(device, arguments, arrays, defines)
        copies, workspace, launches = plan
        values = dict(arguments)
        for name, shape, dtype, kept in workspace:
            values[name] = self._zeroed(device, name, shape, dtype) if kept else device.empty(shape, dtype)
        for name in copies:
            values[name] = contiguous(device, values[name])
        if self.align > 1:
            for name, value in arguments.items():
                if _is_array(value) and (not self.aligned or name in self.aligned):
                    values[name] = self._aligned(device, values[name], name, launches)
        self.launches += 1
        for run, names, casts in launches:
            run([casts[n] if n in casts else values[n] for n in names])
        if "flag" in arguments and device.type == "emulator":
            device.check_flag()

    def _zeroed(self, device: Device, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        """The array that this stream's launches of these sizes find as the last one has left it."""
        with device.current():  # each GPU has a current stream
            key = (device, name, shape, dtype, device.xp.cuda.get_current_stream().ptr if device.type == "cuda" else 0)
        if key not in self._kept:
            self._kept[key] = device.empty(shape, dtype)
            fill(device, self._kept[key].view(np.int32), 0)
        return self._kept[key]

    def _aligned(self, device: Device, array: Any, name: str, launches: Any) -> Any:
        if array.size == 0 or pointer(array) % self.align == 0:
            return array
        if not all(p.const for step in self.steps for p in self.entries[step.entry] if p.name == name):
            raise KernelError(f"{self!r}: {name} must start at a multiple of {self.align} bytes and is written, so it cannot be copied")
        return contiguous(device, array, copy=True)

    def _plan(self, device: Device, arguments: dict[str, Any], arrays: dict[str, Any], defines: Mapping[str, Any]) -> Any:
        where = f"{self.ladder.folder}/{self.source}"
        types: dict[str, np.dtype] = {}
        for step in self.steps:
            for p in self.entries[step.entry]:
                if p.pointer and p.name in arrays and _is_type_variable(p.type):
                    types.setdefault(p.type, arrays[p.name].dtype)
        dtype = types.get("T", next(iter(types.values()), _dtypes.float32))
        scalars = {k: v for k, v in arguments.items() if k not in arrays}
        scope = self.scope(scalars, dtype, device)
        acc = _accumulator(dtype)
        workspace = []
        for name, formula in self.workspace.items():
            shape, kind, *kept = formula(scope)
            workspace.append((name, tuple(shape), acc if kind == "acc" else np.dtype(kind), bool(kept)))
        scratch = {name: kind for name, _, kind, _ in workspace}
        copies: list[str] = []
        launches: list[Any] = []
        used: set[str] = set()
        for step in self.steps:
            what = f"{where}:{step.entry}"
            parameters = self.entries[step.entry]
            casts: dict[str, Any] = {}
            for p in parameters:
                used.add(p.name)
                if p.name in scratch:
                    given: Any = scratch[p.name]
                elif p.name in self.scalars:
                    given = None
                elif p.name not in arguments:
                    raise TypeError(f"{what}: no argument {p.name}; the launch gives {', '.join(arguments)}")
                elif p.pointer != (p.name in arrays):
                    raise TypeError(
                        f"{what}: {p.name} is {'an array' if p.name in arrays else 'a scalar'}, the kernel takes {p.type}{'*' * p.pointer}"
                    )
                else:
                    given = arrays[p.name].dtype if p.pointer else None
                if p.pointer:
                    wanted = types[p.type] if p.type in types else acc if p.type == "acc_t" else _C_TO_DTYPE.get(p.type)
                    if given != wanted:
                        raise TypeError(f"{what}: {p.name} is {given}, the kernel reads {wanted or p.type}")
                    array = arrays.get(p.name)
                    if array is not None and p.name not in self.strided and not array.flags.c_contiguous and p.name not in copies:
                        if not p.const:
                            raise KernelError(f"{what}: {p.name} is written and must be C-contiguous; its strides are {array.strides}")
                        copies.append(p.name)
                elif p.type in _STRUCTS:
                    casts[p.name] = arguments[p.name]
                else:
                    kind = acc if p.type == "acc_t" else types[p.type] if p.type in types else _SCALARS.get(p.type)
                    if kind is None:
                        raise TypeError(f"{what}: {p.name} has type {p.type}, which a launch cannot pass")
                    casts[p.name] = np.dtype(kind).type(scope[p.name])
            grid, block = _triple(step.grid(scope)), _triple(step.block(scope))
            if 0 in grid:
                continue  # nothing to compute
            facts = " ".join(f"{k}={v}" for k, v in scalars.items() if isinstance(v, (int, float)))
            run = self.prepare(device, step.entry, types, defines, grid, block, int(step.smem(scope)), f"{what}: %s [{facts}]")
            launches.append((run, tuple(p.name for p in parameters), casts))
        unknown = set(arguments) - used - {n for n in scalars}
        if unknown:
            raise TypeError(f"{where}: no parameter called {', '.join(sorted(unknown))}")
        return copies, workspace, launches

    def prepare(
        self, device: Device, entry: str, types: Any, defines: Any, grid: Any, block: Any, smem: int, message: str
    ) -> Callable[[list[Any]], None]:
        """A function that launches with a list of arguments; compiled here, at the first launch of this plan."""
        threads = block[0] * block[1] * block[2]
        if threads > 1024 or threads == 0:
            raise KernelError(message % f"block {block} is {threads} threads, this GPU allows 1 to 1024")
        if grid[0] >= 2**31 or grid[1] >= 65536 or grid[2] >= 65536:
            raise KernelError(message % f"grid {grid} is over the limit (2^31-1, 65535, 65535)")
        options = self.options(types, defines)
        if device.type == "emulator":
            settings = dict(_setting.get())
            module = _emulator_module(self.path, options, headers_hash(), self.path.stat().st_mtime_ns, tuple(sorted(settings.items())))
            function = module.get_function(entry)
            extra = {"cooperative": True} if self.cooperative else {}
            return lambda values: function(grid, block, values, shared_mem=smem, **extra)
        arch = f"-arch=sm_{self.arch}" if isinstance(self.arch, str) else None
        function = _cuda_function(device, self.path, entry, (*options, *([arch] if arch else [])))
        if smem:  # static and dynamic bytes together may pass the default limit; other plans share the function, so it never sinks
            with device.current():
                function.max_dynamic_shared_size_bytes = max(smem, function.max_dynamic_shared_size_bytes)
        blocking = os.environ.get("GPUDL_LAUNCH_BLOCKING", "0") not in ("", "0")

        def run(values: list[Any]) -> None:
            try:
                with device.current():
                    if self.cooperative:  # asked for here alone: as an option of the compilation, CuPy would link the toolkit's cudadevrt
                        function.kernel(grid, block, tuple(values), shared_mem=smem, enable_cooperative_groups=True)
                    else:
                        function(grid, block, tuple(values), shared_mem=smem)
                    if blocking:
                        device.synchronize()
            except Exception as error:
                if isinstance(error, IndexError):
                    raise
                raise KernelError(message % f"launch failed: {error}") from error

        return run


class NumbaKernel(Kernel):
    """A rung written in Python: a `@cuda.jit` function of the ladder's numba.py. In the emulator device it needs Numba's simulator.

    What is a macro in a .cu is a global there, given when the file is loaded: tiles, the launch's own macros, T and acc_t as Numba types.
    Arrays are flat, as pointers are; a strided one begins at its first element and the scalars say how to walk it.
    """

    backend = "numba"

    def __init__(self, entry: str, **facts: Any):
        super().__init__(f"../numba.py:{entry}", entry=entry, **facts)
        self.name = f"numba_{entry}"

    @property
    def path(self) -> Path:
        return FOLDER / self.ladder.folder.split("/")[0] / "numba.py"

    @functools.cached_property
    def _definition(self) -> ast.FunctionDef:
        for node in ast.parse(self.path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == self.entry:
                return node
        raise KernelError(f"{self.path.parent.name}/numba.py has no function {self.entry}")

    @functools.cached_property
    def entries(self) -> dict[str, tuple[Parameter, ...]]:  # type: ignore[override]
        """From the Python signature, whose annotations are C types: `x: "const T*"`, `M: "int64_t"`."""
        arguments = self._definition.args.args
        return {self.entry or "": tuple(Parameter(f"{ast.literal_eval(a.annotation)} {a.arg}") for a in arguments if a.annotation)}

    @property
    def header(self) -> dict[str, str]:
        return {"Title": (ast.get_docstring(self._definition) or "").partition("\n")[0]}

    def takes(self, scalars: Mapping[str, Any], dtype: np.dtype, device: Device) -> bool:
        if device.type == "emulator":
            from numba import config

            if not getattr(config, "ENABLE_CUDASIM", 0):
                return False
        return super().takes(scalars, dtype, device)

    def prepare(
        self, device: Device, entry: str, types: Any, defines: Any, grid: Any, block: Any, smem: int, message: str
    ) -> Callable[[list[Any]], None]:
        macros = {**self.tiles, **types, **(defines or {})}
        if "T" in types:
            macros["acc_t"] = _accumulator(types["T"])
        function = _numba_functions(self.path, tuple(sorted(macros.items(), key=lambda m: m[0])), device.type == "emulator")[entry]

        def run(values: list[Any]) -> None:
            flat = [_memory(device, v) if _is_array(v) else v for v in values]
            if device.type == "emulator":
                function[grid, block, 0, smem](*flat)
                return
            from numba import cuda

            with device.current():  # sync=False: the launch is on CuPy's own stream, and Numba would wait for it at every array
                flat = [cuda.as_cuda_array(v, sync=False) if _is_array(v) else v for v in flat]
                stream = cuda.external_stream(device.xp.cuda.get_current_stream().ptr)
                function[grid, block, stream, smem](*flat)

        return run


def _memory(device: Device, array: Any) -> Any:
    """The array's memory as one flat array from its first element on: what a kernel gets as a pointer."""
    if array.flags.c_contiguous or array.size == 0:
        return array.reshape(-1)
    span = 1 + sum((n - 1) * s for n, s in zip(array.shape, array.strides)) // array.itemsize
    return device.xp.lib.stride_tricks.as_strided(array, (span,), (array.itemsize,))


def _accumulator(dtype: np.dtype) -> np.dtype:
    """acc_t: what values of this dtype are summed in."""
    return _dtypes.float64 if dtype == _dtypes.float64 else _dtypes.float32 if _dtypes.is_float(dtype) else _dtypes.int64


@functools.cache
def _numba_functions(path: Path, macros: tuple[tuple[str, Any], ...], simulated: bool) -> dict[str, Any]:
    """The functions of a numba.py, loaded with these globals. Numba compiles globals as constants, so each setting has functions of its own."""
    import numba

    if simulated:
        from gpudl.emulator import _numba_shuffles

        _numba_shuffles.install()
    found: dict[str, Any] = {"__name__": f"gpudl_numba_{path.parent.name}"}
    for name, value in macros:
        value = _C_TO_DTYPE.get(value, value) if isinstance(value, str) else value
        found[name] = numba.from_dtype(value) if isinstance(value, np.dtype) else value
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), found)
    return found


class Ladder:
    """The rungs of one pass, in the order of the lesson. Indexing and iteration give `Kernel` records; printing gives their facts."""

    def __init__(self, name: str, rungs: tuple[Kernel, ...], choose: Callable[..., str] | None):
        self.name, self.rungs = name, rungs
        self.folder = name.replace(".", "/")
        self._choose = choose and Formula(choose)
        self._chosen: dict[Any, dict[Any, tuple[Kernel, Any]]] = {}  # by what `use` picked and the modes, then the launch: rung, table
        for rung in rungs:
            rung.ladder = self

    def __iter__(self) -> Iterator[Kernel]:
        return iter(self.rungs)

    def __len__(self) -> int:
        return len(self.rungs)

    def __getitem__(self, rung: str | int) -> Kernel:
        if isinstance(rung, int):
            return self.rungs[rung]
        wanted = rung.removesuffix(".cu")
        found = [k for k in self.rungs if k.name == wanted] or [k for k in self.rungs if k.name.startswith(wanted + "_")]
        if len({(k.path, k.entry) for k in found}) != 1:  # of several records of one source the first is meant
            raise KeyError(f"{self.name} has no rung {rung!r}; it has {', '.join(k.name for k in self.rungs)}")
        return found[0]

    def __repr__(self) -> str:
        lines = [f"{self.name}: {len(self.rungs)} rung(s)"]
        for rung in self.rungs:
            lines.append(f"  {rung.name:24} {', '.join(str(d) for d in rung.dtypes)}")
            lines += [f"      {field:10} {text}" for field, text in rung.header.items()]
        return "\n".join(lines)

    def choose(self, scalars: Mapping[str, Any], dtype: np.dtype, device: Device, picked: Mapping[str, str]) -> Kernel:
        """The rung for one launch: the one picked with `use`, else a measured table's, else the dispatch rule's, else the last that takes it."""
        repeatable = _determinism.mode != _determinism.OFF  # only such rungs
        wanted = picked.get(self.name)
        if wanted is not None:
            rung = self[wanted]
            takes = rung.takes(scalars, dtype, device)
            if takes and (rung.deterministic or not repeatable):
                return rung
            why = "is not bitwise repeatable" if takes else f"does not take {dtype} [{_sizes(scalars)}] on {device}"
            warnings.warn(f"{self.name}: rung {rung.name} {why}; another rung runs this launch", stacklevel=4)
        else:
            for name in self._wishes(scalars, dtype, device):
                rung = self[name]
                if (rung.deterministic or not repeatable) and rung.takes(scalars, dtype, device):
                    return rung
        last = None
        for rung in reversed(self.rungs):
            if rung.backend == "cuda" and rung.precision == "ieee" and rung.takes(scalars, dtype, device):
                if rung.deterministic or not repeatable:
                    return rung
                last = last or rung
        if last is not None:
            _determinism.missing(self.name, f"{dtype} [{_sizes(scalars)}]")
            return last
        raise KernelError(f"{self.name}: no rung takes {dtype} on {device} (sm_{device.arch}) [{_sizes(scalars)}]; the CPU device computes it")

    def _wishes(self, scalars: Mapping[str, Any], dtype: np.dtype, device: Device) -> Iterator[str]:
        """What a measured table names for this launch (gpudl/_tuning.py), then what the rule does."""
        measured = _tuning.rung(self.name, scalars, dtype, device) if _precision.mode == "highest" else None
        if measured is not None and self[measured].precision == "ieee":  # a faster rung of less precision is not what was asked for
            yield measured
        if self._choose is not None:
            yield self._choose({"dtype": dtype, "itemsize": dtype.itemsize, "arch": device.arch, "sms": device.sms, **scalars})


def _sizes(scalars: Mapping[str, Any]) -> str:
    return " ".join(f"{k}={v}" for k, v in scalars.items() if isinstance(v, (int, float)))


_ladders: dict[str, Ladder] = {}
_picked: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar(
    "gpudl.kernels.use", default=types.MappingProxyType({})
)
_setting: contextvars.ContextVar[tuple[tuple[str, Any], ...]] = contextvars.ContextVar(
    "gpudl.kernels.emulation", default=(("sanitize", False),)
)


def ladder(name: str, *rungs: Kernel, choose: Callable[..., str] | None = None) -> Ladder:
    """The ladder of that name; with rungs, register it (an op file does). KeyError for an unknown name: which ladder serves such an
    operation, or has such a name, and all there are.

    choose: the dispatch rule, a function of the launch's scalars (and dtype, arch, sms) that returns a rung's name.
    """
    if rungs:
        _ladders[name] = Ladder(name, rungs, choose)
    if name not in _ladders:
        raise KeyError(f"no ladder {name!r}; {_meant(name)}there are {', '.join(sorted(_ladders))}")
    return _ladders[name]


def _meant(name: str) -> str:
    """For an unknown ladder: those that the operation of its first name launches, and names like it."""
    from gpudl.autograd import Op

    first, _, last = name.partition(".")
    found: list[str] = []
    for op in Op.registry.values():
        if first in (op.name, op.function):
            found += op.ladders or [n for n in _ladders if n.split(".")[0] == op.name]
            for base in op.__mro__[1 : op.__mro__.index(Op)]:  # of a family (exp, add, ...) some say what all of them launch
                if not found:
                    found += [n for other in Op.registry.values() if issubclass(other, base) for n in other.ladders]
    if found:
        found = sorted(dict.fromkeys(found), key=lambda n: not n.endswith(f".{last}"))  # those of this pass first
        return f"{first} launches {', '.join(found)}. In all, "
    close = difflib.get_close_matches(name, [*_ladders, *(n.split(".")[0] for n in _ladders)], n=3)
    close = list(dict.fromkeys(n for c in close for n in _ladders if n == c or n.split(".")[0] == c))
    return f"did you mean {' or '.join(close)}? In all, " if close else ""


def ladders() -> dict[str, Ladder]:
    """Every ladder by name."""
    return dict(_ladders)


class use:
    """Pick the rung that a ladder launches: use("softmax.forward", "01_naive"), as a call or in a `with`; None picks the dispatch rule again.

    It holds in this thread (context) alone. The backward of a graph keeps what was picked when its forward ran. A launch that
    the rung does not take (its record's `when` and `dtypes`) runs on another rung and warns.
    """

    def __init__(self, ladder_name: str, rung: str | int | None):
        found = ladder(ladder_name)
        picked = dict(_picked.get())
        if rung is None:
            picked.pop(ladder_name, None)
        else:
            picked[ladder_name] = found[rung].name
        self._token = _picked.set(picked)

    def __enter__(self) -> use:
        return self

    def __exit__(self, *_: object) -> None:
        _picked.reset(self._token)


@contextlib.contextmanager
def emulation(**settings: Any) -> Iterator[None]:
    """How launches on the emulator device run inside this `with`: sanitize=True, order="random", ... (gpudl.emulator.compile's keywords)."""
    token = _setting.set(tuple(sorted((dict(_setting.get()) | settings).items())))
    try:
        yield
    finally:
        _setting.reset(token)


def launch(
    device: Device,
    ladder_name: str,
    arguments: dict[str, Any],
    picked: Mapping[str, str] | None = None,
    defines: Mapping[str, Any] | None = None,
) -> Kernel:
    """Launch a rung of the ladder on arguments given by the names of the kernel's parameters; returns the rung that ran."""
    found = _ladders[ladder_name]
    use = _picked.get() if picked is None else picked
    wanted = use.get(ladder_name)
    key = signature(device, arguments, defines)
    asked = (wanted, _determinism.mode, _precision.mode, _tuning.state)
    chosen = found._chosen.get(asked)
    if chosen is None or len(chosen) > 4096:
        chosen = found._chosen[asked] = {}
    rung, table = chosen.get(key, (None, None))
    if rung is None or table is not _tuning._tables.get(device):
        scalars = {k: v for k, v in arguments.items() if not _is_array(v)}
        dtype = next((v.dtype for k, v in arguments.items() if k not in scalars), _dtypes.float32)
        rung = found.choose(scalars, dtype, device, use)
        if wanted in (None, rung.name) and rung.backend == "cuda" and (rung.deterministic or not _determinism.mode):  # others warn each time
            chosen[key] = rung, _tuning._tables.get(device)
    rung.launch(device, arguments, defines or {}, key)
    return rung


def signature(device: Device, arguments: Mapping[str, Any], defines: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """All that the choice of a rung and the plan of its launch depend on: device, macros, shapes, strides and dtypes, scalars bit for bit."""
    key: list[Any] = [device, tuple(defines.items()) if defines else None, _setting.get() if device.type == "emulator" else None]
    for name, value in arguments.items():
        kind = type(value)
        if kind is int:
            key.append((name, value))
        elif kind is float:  # 0.0 and -0.0 are equal, and NaN is not equal to itself
            key.append((name, kind, value if value and value == value else str(value)))
        elif isinstance(value, np.generic) or (kind is np.ndarray and value.dtype.names is not None):
            key.append((name, kind, value.tobytes()))
        elif hasattr(value, "strides"):
            key.append((name, value.shape, value.strides, value.dtype))
        else:
            key.append((name, kind, value))
    return tuple(key)


def picked() -> Mapping[str, str]:
    """What `use` has picked in this context: ladder name to rung name."""
    return _picked.get()


def pointer(array: Any) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def contiguous(device: Device, array: Any, copy: bool = False) -> Any:
    """The array in C order on its device, copied by our own kernel where it is not (or where copy asks for it)."""
    if array.flags.c_contiguous and not copy:
        return array
    out = device.empty(array.shape, array.dtype)
    copy_into(device, out, array)
    return out


def copy_into(device: Device, out: Any, x: Any) -> None:
    """out[...] = x with broadcasting and a cast, strides of both free; on a kernel device by the ladder `copy.forward`."""
    if not device.kernels:
        out[...] = x if x.dtype == out.dtype else cast(x, out.dtype)
        return
    if x.shape != out.shape:
        x = device.xp.broadcast_to(x, out.shape)
    launch(device, "copy.forward", {"x": x, "y": out, "dims": dims(out.shape, x, out), "size": out.size})


def cast(x: Any, dtype: np.dtype) -> Any:
    with np.errstate(invalid="ignore", over="ignore"):  # float to integer out of range is undefined, as in PyTorch
        return x.astype(dtype)


def fill(device: Device, out: Any, value: Any) -> None:
    """out[...] = value; on a kernel device by the ladder `fill.forward`, without a copy from the host."""
    if not device.kernels:
        out[...] = value
        return
    integer = not _dtypes.is_float(out.dtype)
    launch(device, "fill.forward", {
        "y": out, "dims": dims(out.shape, out), "size": out.size,
        "value": 0.0 if integer else float(value), "integer": int(value) if integer else 0,
    })  # fmt: skip


def _is_array(value: Any) -> bool:
    """Whether a launch argument is memory; NumPy scalars and by-value structs are not."""
    return hasattr(value, "strides") and not isinstance(value, np.generic) and value.dtype.names is None


def nvrtc_source(path: Path, options: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The text and options that NVRTC compiles: macros move from the options into the text, where `#line` keeps the file's own numbers.

    As an option, -DT=float would reach the header that NVRTC reads before the source, and that one has templates over a type T.
    """
    macros = [o[2:].replace("=", " ", 1) for o in options if o.startswith("-D")]
    text = "".join(f"#define {macro}\n" for macro in macros) + f'#line 1 "{path.as_posix()}"\n' + path.read_text(encoding="utf-8")
    return text, tuple(o for o in options if not o.startswith("-D"))


def _is_type_variable(name: str) -> bool:
    return name not in _C_TO_DTYPE and name != "acc_t"


def _triple(value: Any) -> tuple[int, int, int]:
    parts = (value,) if isinstance(value, (int, np.integer)) else tuple(value)
    return (*(int(p) for p in parts), *((1,) * (3 - len(parts))))  # type: ignore[return-value]


@functools.cache
def _emulator_module(path: Path, options: tuple[str, ...], _headers: str, _mtime: int, settings: tuple[tuple[str, Any], ...]) -> Any:
    import gpudl.emulator

    return gpudl.emulator.compile(path, options=options, **dict(settings))


def cuda_source(path: Path, options: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """What a GPU's compiler is given for these options of a rung: one text for one set of macros, in whatever order they come."""
    return nvrtc_source(path, tuple(sorted((*options, f"-DGPUDL_HEADERS=0x{headers_hash()}"))))


def cuda_code(cupy: Any, source: str, options: tuple[str, ...]) -> Path:
    """The file with the machine code of a source for the current device. Subnormal numbers stay what they are, as on the CPU, in the emulator and
    in PyTorch: RawModule(code=) would add -ftz=true, which makes zeros of them."""
    facts = (source, options, cupy.cuda.Device().compute_capability, cupy.cuda.nvrtc.getVersion(), cupy.__version__)
    file = cache_folder("cuda") / f"{hashlib.sha256(repr(facts).encode()).hexdigest()}.cubin"
    if not file.is_file():
        code, _ = cupy.cuda.compiler.compile_using_nvrtc(source, options)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as out:
            out.write(code if isinstance(code, bytes) else code.encode())  # PTX where this NVRTC does not know the GPU yet
    return file


@functools.cache
def _cuda_function(device: Device, path: Path, entry: str, options: tuple[str, ...]) -> Any:
    with device.current():
        try:
            return device.xp.RawModule(path=str(cuda_code(device.xp, *cuda_source(path, options)))).get_function(entry)
        except Exception as error:
            raise KernelError(f"{path.parent.parent.name}/{path.name}:{entry}: does not compile on {device}: {error}") from error
