"""CUDA source to a cubin without a GPU, a driver, CuPy or a toolkit: NVRTC from its wheel, bound through ctypes.

NVRTC comes from `pip install nvidia-cuda-nvrtc` (in gpudl's `test` extra); a system's libnvrtc serves where the wheel is missing.
Source: NVRTC User Guide, https://docs.nvidia.com/cuda/nvrtc/; the log format is ptxas's (`--ptxas-options=-v`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpudl._errors import KernelError
from gpudl._files import atomic_write, cache_folder
from gpudl.kernels import Kernel, nvrtc_source


class CompileError(KernelError):
    """The compiler's message, with the user's file and line; `.log` has all of it."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class NvrtcMissing(KernelError):
    """No NVRTC library can be loaded; the message says what to type."""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes: registers a thread, static shared memory a block, and bytes a thread in local memory."""

    registers: int
    shared: int
    spill_stores: int
    spill_loads: int
    stack: int


@dataclass(frozen=True)
class Compiled:
    """One source, compiled for one architecture. `functions` has every `__global__` function by its (mangled) name."""

    cubin: bytes
    log: str
    functions: dict[str, Resources]


def candidates() -> list[str]:
    """Where NVRTC is looked for, in order: the wheels' folders on sys.path, then what the system's loader finds."""
    patterns = ["nvidia/cu13/lib/libnvrtc.so.13", "nvidia/cuda_nvrtc/lib/libnvrtc.so.1[23]"]
    names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]
    if os.name == "nt":
        patterns = ["nvidia/cu13/bin/**/nvrtc64_13*.dll", "nvidia/cuda_nvrtc/bin/nvrtc64_12*.dll"]
        names = ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"]
    folders = [Path(p) for p in sys.path if p and Path(p).is_dir()]
    wheels = [str(f) for pattern in patterns for folder in folders for f in sorted(folder.glob(pattern)) if ".alt." not in f.name]
    return wheels + names


@functools.cache
def _library() -> ctypes.CDLL:
    for path in candidates():
        try:
            # NVRTC opens its builtins by bare name, which the loader finds only if they are loaded already.
            for builtins in Path(path).parent.glob("libnvrtc-builtins.so.*") if os.path.isabs(path) else ():
                ctypes.CDLL(str(builtins))
            lib = ctypes.CDLL(path)
        except OSError:
            continue
        lib.nvrtcGetErrorString.restype = ctypes.c_char_p
        return lib
    raise NvrtcMissing("NVRTC, the kernel compiler, is not installed: pip install 'nvidia-cuda-nvrtc==13.0.*'")


def version() -> tuple[int, int]:
    """NVRTC's version, (13, 0). NvrtcMissing without one."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
    return major.value, minor.value


def _check(status: int, call: str) -> None:
    if status:
        raise KernelError(f"{call}: {_library().nvrtcGetErrorString(status).decode()}")


def _bytes(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)), what)
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), f"nvrtcGet{what}")(program, buffer), what)
    return buffer.raw


def _compile(source: str, name: str, options: Sequence[str]) -> tuple[bytes, str]:
    lib, program = _library(), ctypes.c_void_p()
    _check(lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None), "nvrtcCreateProgram")
    try:
        flags = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        status = lib.nvrtcCompileProgram(program, len(options), flags)
        log = _bytes(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if status:
            found = re.findall(r"^.*?(?:\(\d+\)|:\d+)?: (?:catastrophic )?error.*$", log, re.MULTILINE)
            first = found[0] if found else lib.nvrtcGetErrorString(status).decode()
            raise CompileError(f"{name} does not compile: {first}\n{log.strip()}", log)
        return _bytes(program, "CUBIN"), log
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def parse_log(log: str) -> dict[str, Resources]:
    """The resources of each kernel, from ptxas's verbose report."""
    functions = {}
    for part in re.split(r"Compiling entry function ", log)[1:]:
        name = re.match(r"'([^']+)'", part)
        frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        used = re.search(r"Used (\d+) registers", part)
        if not (name and frame and used):
            raise KernelError(f"the compiler's resource report has an unknown form:\n{part}")
        shared = re.search(r"(\d+) bytes smem", part)
        functions[name[1]] = Resources(
            registers=int(used[1]), shared=int(shared[1]) if shared else 0,
            spill_stores=int(frame[2]), spill_loads=int(frame[3]), stack=int(frame[1]),
        )  # fmt: skip
    return functions


def headers(source: str, include_dirs: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """The text of every header that `source` includes, directly or not, and that lies in include_dirs."""
    found: dict[str, str] = {}
    todo, folders = [source], [Path(d) for d in include_dirs]
    while todo:
        for name in re.findall(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', todo.pop(), re.MULTILINE):
            file = next((folder / name for folder in folders if (folder / name).is_file()), None)
            if file is not None and str(file) not in found:
                found[str(file)] = file.read_text(encoding="utf-8")
                todo.append(found[str(file)])
    return found


def _load(stem: Path) -> Compiled | None:
    try:
        facts = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        cubin = stem.with_suffix(".cubin").read_bytes()
    except (OSError, ValueError):
        return None
    if hashlib.sha256(cubin).hexdigest() != facts["sha256"]:
        return None
    return Compiled(cubin, facts["log"], {k: Resources(**v) for k, v in facts["functions"].items()})


def _store(stem: Path, compiled: Compiled) -> None:
    """Two processes may store the same entry at once: each file is replaced whole. A folder that cannot be written is no error."""
    facts = {
        "sha256": hashlib.sha256(compiled.cubin).hexdigest(),
        "log": compiled.log,
        "functions": {k: asdict(v) for k, v in compiled.functions.items()},
    }
    with contextlib.suppress(OSError):
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix, content in ((".cubin", compiled.cubin), (".json", json.dumps(facts).encode())):
            with atomic_write(stem.with_suffix(suffix)) as file:
                file.write(content)


def compile(
    source: str,
    name: str = "kernel.cu",
    arch: str = "sm_90a",
    options: Sequence[str] = (),
    include_dirs: Sequence[str | os.PathLike[str]] = (),
    cache: bool = True,
) -> Compiled:
    """Compile CUDA C++ to machine code for one architecture.

    source: the text; name: its file, as messages shall call it. arch: "sm_75", "sm_80", "sm_90a", ... options: NVRTC's, e.g. "-DT=float";
    C++17 unless they say otherwise. include_dirs: the only folders that `#include` finds (NVRTC has no system headers).
    cache: keep the result on disk, under a key of the source, the headers' text, the options and NVRTC's version.
    CompileError with the compiler's message if the source does not compile; NvrtcMissing if there is no NVRTC.
    """
    if not re.fullmatch(r"sm_\d{2,3}[af]?", arch):
        raise KernelError(f"{name}: arch {arch!r} is not an architecture with machine code; write 'sm_75', 'sm_80' or 'sm_90a'")
    flags = [f"--gpu-architecture={arch}", *options, "--ptxas-options=-v"]
    if not any(o.startswith(("-std", "--std")) for o in options):
        flags.append("--std=c++17")
    key = json.dumps([source, name, flags, sorted(headers(source, include_dirs).items()), version()])
    stem = cache_folder("nvrtc") / hashlib.sha256(key.encode()).hexdigest()
    compiled = _load(stem) if cache else None
    if compiled is None:
        cubin, log = _compile(source, name, [*flags, *(f"--include-path={os.fspath(d)}" for d in include_dirs)])
        compiled = Compiled(cubin, log, parse_log(log))
        if cache:
            _store(stem, compiled)
    return compiled


ARCHITECTURES = ("sm_75", "sm_80", "sm_90a")  # what every kernel is compiled for without a GPU, as far as its record allows


def architectures(kernel: Kernel) -> list[str]:
    """Those of ARCHITECTURES that the record of this rung allows."""
    numbers = {arch: int(re.sub(r"\D", "", arch)) for arch in ARCHITECTURES}
    return [a for a, n in numbers.items() if (n == kernel.min_arch if isinstance(kernel.arch, str) else n >= kernel.min_arch)]


def compile_rung(kernel: Kernel, arch: str, types: Mapping[str, np.dtype], defines: Mapping[str, Any] | None = None) -> Compiled:
    """One rung of a ladder, compiled as a launch on a GPU of that architecture would compile it."""
    source, options = nvrtc_source(kernel.path, kernel.options(types, defines))
    include_dirs = [o[2:] for o in options if o.startswith("-I")]
    return compile(source, str(kernel.path), arch, [o for o in options if not o.startswith("-I")], include_dirs)


def disassembler() -> Path | None:
    """nvdisasm, from its wheel or a toolkit on PATH; None where there is neither."""
    name = "nvdisasm.exe" if os.name == "nt" else "nvdisasm"
    wheels = [
        f for p in sys.path if p for pattern in ("nvidia/cu13/bin", "nvidia/cuda_nvdisasm/bin") if (f := Path(p) / pattern / name).is_file()
    ]
    found = wheels[0] if wheels else shutil.which(name)
    return Path(found) if found else None


def instructions(cubin: bytes) -> dict[str, list[str]]:
    """The machine instructions (SASS opcodes with their modifiers, in order) of each function of a cubin. NvrtcMissing without nvdisasm."""
    tool = disassembler()
    if tool is None:
        raise NvrtcMissing("nvdisasm, which reads machine code, is not installed: pip install nvidia-cuda-nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        done = subprocess.run([tool, "--print-code", file], capture_output=True, text=True)
    if done.returncode:
        raise KernelError(f"nvdisasm: {done.stderr.strip()}")
    functions: dict[str, list[str]] = {}
    here: list[str] = []
    for line in done.stdout.splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.([^,\s]+)", line):
            here = functions.setdefault(section[1], [])
        elif found := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", line):
            here.append(found[1])
    return functions
