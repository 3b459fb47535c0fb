"""From a .cu file to a loaded module: preprocess, find the kernels, compile with g++, link, read the ELF symbols; all of it cached on disk."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpudl.emulator._errors import CompileError, CompilerMissingError

RUNTIME = Path(__file__).parent / "runtime"
INCLUDE = Path(__file__).parent / "include"
PRELUDE = RUNTIME / "gpudl_emulator.h"
MARK = "gpudl_user_source_begins;"
OWN = "gpudl_user_"  # begins the names of a source that are also those of a C library that a GPU does not have
# What kernels call and the runtime answers: printf, and the heap (operator new and delete by their symbols).
WRAPPED = ("printf", "vprintf", "malloc", "free", "_Znwm", "_Znam", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm")
DYNAMIC_BYTES = 227 * 1024  # the most that any architecture gives a block

# Aliasing follows CUDA's habits; -fno-math-errno lets sqrtf be one instruction. Where the processor has fused multiply-adds or an unsigned
# char (ARM), results are those of x86-64 all the same.
COMMON = (
    "-ffp-contract=off", "-fsigned-char", "-fPIC", "-fno-exceptions", "-fno-rtti", "-fno-strict-aliasing", "-fwrapv", "-fno-math-errno",
    "-fno-trapping-math", "-fno-gnu-unique", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-fno-extern-tls-init", "-fno-stack-protector",
    "-fstack-clash-protection", "--param", "stack-clash-protection-guard-size=12", "-Wno-attributes", "-Wno-unknown-pragmas", "-Wno-psabi", "-w",
    "-fdiagnostics-color=never", "-fno-diagnostics-show-caret", "-fno-threadsafe-statics", "-fno-builtin-printf",
)  # fmt: skip
FAST = ("-O2", "-g1", "-fno-finite-loops")  # an endless loop is for the watchdog, not for the optimiser to remove
# libtsan is not linked: the runtime defines its hooks. Scalar replacement would split a float4 access in four, and merged tails
# would give two source lines one address.
SANITIZED = (
    "-O1", "-g", "-fsanitize=thread,bounds,shift-exponent,float-cast-overflow,integer-divide-by-zero,alignment", "-fsanitize-recover=all", "-fno-tree-sra",
    "-fno-tree-tail-merge", "-fno-crossjumping", "-fno-thread-jumps", "--param", "tsan-instrument-func-entry-exit=0", "--param",
    "tsan-distinguish-volatile=1", "-fno-builtin-memcpy", "-fno-builtin-memset", "-DGPUDL_EMU_SANITIZE=1",
)  # fmt: skip


def cache_folder() -> Path:
    """Where compiled modules are kept: $XDG_CACHE_HOME/gpudl/emulator."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpudl" / "emulator"
    with contextlib.suppress(OSError):
        base.mkdir(parents=True, exist_ok=True)
        if os.access(base, os.W_OK):
            return base
    return _private_folder()


@functools.cache
def _private_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="gpudl-emulator-"))  # a home that cannot be written: no caching across processes


@functools.cache
def compiler() -> tuple[str, str]:
    """The C++ compiler and its version; CompilerMissingError names what to install."""
    path = os.environ.get("GPUDL_CXX") or shutil.which("g++")
    advice = "install GCC 11 or newer (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++), or name one in GPUDL_CXX"
    if not path or not (shutil.which(path) or os.path.exists(path)):
        raise CompilerMissingError(f"the emulator compiles kernels with g++, and there is none on PATH: {advice}")
    try:
        kind = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        version = subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise CompilerMissingError(f"the emulator cannot run {path} ({error}): {advice}") from None
    if "clang" in kind.lower() or int(version.split(".")[0] or 0) < 11:
        raise CompilerMissingError(f"the emulator needs GCC 11 or newer; {path} is {kind.splitlines()[0]}: {advice}")
    return path, version


def _run(command: list[str], source: str | None = None) -> str:
    result = subprocess.run(command, input=source, capture_output=True, text=True, errors="replace")
    if result.returncode and "Assembler messages" in result.stderr:
        raise CompileError(f"{result.stderr.strip()}\nThe emulator takes no inline PTX: call the functions of ptx.cuh, or give C++ under GPUDL_EMULATOR.")
    if result.returncode:
        message = re.sub(r"^In file included from <stdin>:\d+:\n", "", result.stderr, flags=re.M).strip()
        raise CompileError((message or f"{command[0]} exited with {result.returncode}").replace(OWN, "") + _advice(message))
    return result.stdout


_LIBRARIES = {
    "cub/": "CUB", "thrust/": "Thrust", "cuda/": "libcu++", "cute/": "CUTLASS", "cutlass/": "CUTLASS", "curand": "cuRAND's device functions",
    "cublas": "cuBLAS", "cudnn": "cuDNN", "nvtx": "NVTX", "cuda_fp8.h": "the 8-bit types", "cuda_pipeline.h": "pipelines (ptx.cuh has cp.async)",
}  # fmt: skip


def _advice(message: str) -> str:
    """What to do about a header or a function that only the toolkit has."""
    if missing := re.search(r"fatal error: (\S+): No such file", message):
        for start, library in _LIBRARIES.items():
            if missing[1].startswith(start):
                return f"\nThe emulator does not have {library}: it compiles a kernel's own code, and the headers that gpudl/emulator/README.md lists."
        return "\nA folder of your own headers is named by the option -Ifolder."
    if old := re.search(r"‘?'?(__(?:shfl|shfl_up|shfl_down|shfl_xor|ballot|any|all))’?'? was not declared", message):
        return f"\n{old[1]} is gone since sm_70: {old[1]}_sync takes a mask of the lanes that take part as its first argument."
    return ""


def _digest(*parts: Any) -> str:
    hash = hashlib.sha256()
    for part in parts:
        hash.update(part if isinstance(part, bytes) else repr(part).encode())
        hash.update(b"\0")
    return hash.hexdigest()[:32]


@functools.cache
def _runtime_digest() -> str:
    files = sorted(p for p in RUNTIME.iterdir() if p.suffix in (".cpp", ".h")) + sorted(INCLUDE.rglob("*.h"))
    settings = (compiler(), os.environ.get("GPUDL_EMU_UCONTEXT"), Path(__file__).read_bytes())
    return _digest(*[p.read_bytes() for p in files], *settings, str(RUNTIME))  # the path: debug information names our headers by it


@functools.cache
def runtime_path() -> Path:
    """The runtime library, compiled on first use."""
    path = cache_folder() / f"runtime-{_runtime_digest()}.so"
    if not path.exists():
        extra = ["-DGPUDL_EMU_UCONTEXT"] if os.environ.get("GPUDL_EMU_UCONTEXT") else []
        with _temporary(path) as temporary:
            _run([compiler()[0], "-std=c++17", "-O2", "-g1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", *extra,
                  str(RUNTIME / "runtime.cpp"), "-o", str(temporary), f"-Wl,-soname,{path}"])  # fmt: skip
    return path


@contextlib.contextmanager
def _temporary(path: Path) -> Any:
    """A name beside `path` that becomes `path` when the block ends well: other processes see all of a file or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o755)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


# ---- Options, as nvcc, NVRTC and CuPy write them.
def translate_options(options: tuple[str, ...]) -> tuple[list[str], int]:
    """g++'s arguments and the architecture (90 for sm_90). What only nvcc or NVRTC knows is left out."""
    arguments: list[str] = []
    architecture, standard = 90, "17"
    rest = list(options)
    while rest:
        option = rest.pop(0)
        for long, short in (("--define-macro", "-D"), ("--undefine-macro", "-U"), ("--include-path", "-I"), ("--pre-include", "-include")):
            if option.startswith(long + "="):
                option = short + option[len(long) + 1 :]
            elif option == long:
                option = short
        if option in ("-D", "-U", "-I", "-include"):
            value = rest.pop(0) if rest else ""
            arguments += [option, value] if option == "-include" else [option + value]
        elif option[:2] in ("-D", "-U", "-I") and len(option) > 2:
            arguments.append(option)
        elif option.startswith("-include"):
            arguments += ["-include", option[8:]]
        elif match := re.fullmatch(r"-{1,2}std[= ]c\+\+(\d\w)", option):
            standard = match[1]
        elif match := re.search(r"(?:arch|code|gpu-architecture).*?(?:sm|compute|lto)_(\d+)", option):
            architecture = int(match[1])
        elif option in ("-arch", "--gpu-architecture") and rest and (match := re.search(r"_(\d+)", rest[0])):
            architecture = int(match[1])
            rest.pop(0)
    level = {"03": 17, "11": 17, "14": 17, "17": 17, "20": 20, "2a": 20, "23": 23, "2b": 23}.get(standard, 17)
    arguments += [f"-std=gnu++{'2b' if level == 23 else level}", f"-D__CUDA_ARCH__={architecture * 10}"]
    return arguments, architecture


# ---- Finding kernels in preprocessed text.
@dataclass
class Entry:
    name: str
    expression: str
    parameters: list[str]  # names, "" where unnamed
    types: list[str]


_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^#[^\n]*|__attribute__\(\(__hot__\)\)|\b__global__\b|\bnamespace\b|\btemplate\b|[{};]', re.M
)


_KERNEL = ("__global__", "__attribute__((__hot__))")  # as written, and as the prelude expands it


def find_kernels(text: str) -> tuple[list[Entry], list[str]]:
    """Kernels that can be exported as they stand, and the names of templates (which need a name expression)."""
    entries: dict[str, Entry] = {}
    templates: list[str] = []
    scopes: list[str | None] = []
    statement = position = 0
    template = False
    while match := _TOKEN.search(text, position):
        token, position = match[0], match.end()
        if token == "{":
            head = text[statement : match.start()]
            space = re.search(r"namespace\s+([\w:]*)\s*$", head)
            scopes.append(space[1] if space else "" if re.search(r'extern\s+"C"\s*$', head) or re.search(r"namespace\s*$", head) else None)
            statement, template = position, False
        elif token == "}":
            if scopes:
                scopes.pop()
            statement, template = position, False
        elif token == ";":
            statement, template = position, False
        elif token == "template":
            template = True
        elif token in _KERNEL and None not in scopes:
            found = _signature(text, position)
            if found is None:
                continue
            name, inside, _ = found
            if template:
                templates.append(name)
                continue
            full = "::".join([s for s in scopes if s] + [name])
            pieces = [p for p in _split(inside) if p.strip() and p.strip() != "void"]
            if full in entries and len(entries[full].parameters) != len(pieces):
                continue
            names, types = zip(*[_parameter(p) for p in pieces], strict=True) if pieces else ((), ())
            if full not in entries or not any(entries[full].parameters):
                entries[full] = Entry(full, full, list(names), list(types))
    return list(entries.values()), templates


def _signature(text: str, position: int) -> tuple[str, str, int] | None:
    """Name and parameter list of the function declared at a position, and where its name stands."""
    pattern = re.compile(r"([A-Za-z_]\w*)\s*\(|[;{]")
    while match := pattern.search(text, position):
        if match[1] is None:
            return None
        depth, position = 1, match.end()
        while depth and position < len(text):
            depth += {"(": 1, ")": -1}.get(text[position], 0)
            position += 1
        if match[1] not in ("__attribute__", "__launch_bounds__", "__cluster_dims__", "__align__", "alignas", "decltype", "noexcept"):
            return match[1], re.sub(r"^#.*$", "", text[match.end() : position - 1], flags=re.M), match.start()
    return None


def _split(text: str) -> list[str]:
    pieces, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "(<[{") - (c in ")>]}")
        if c == "," and not depth:
            pieces.append(text[start:i])
            start = i + 1
    return [*pieces, text[start:]]


def _parameter(text: str) -> tuple[str, str]:
    text = re.sub(r"__attribute__\(\(.*?\)\)|\b__restrict(?:__)?\b|\b__grid_constant__\b|=.*", " ", text, flags=re.S)
    array = re.search(r"\[[^]]*\]\s*$", text)
    if array:
        text = text[: array.start()]
    match = re.search(r"([A-Za-z_]\w*)\s*$", text)
    if (
        match
        and text[: match.start()].strip()
        and match[1] not in ("int", "float", "double", "char", "long", "short", "unsigned", "bool", "const")
    ):
        name, type = match[1], text[: match.start()]
    else:
        name, type = "", text
    type = re.sub(r"\s+", " ", type).replace(" *", "*").replace("* ", "*").strip()
    return name, type + ("*" if array else "")


# ---- ELF: symbols and ranges, from the linked module.
def read_elf(path: Path) -> dict[str, Any]:
    """Shared arrays (thread-local symbols), data symbols, and the ranges of text, data and constants."""
    image = path.read_bytes()
    (sections_at,) = struct.unpack_from("<Q", image, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", image, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, sections_at + i * size) for i in range(count)]
    label = lambda table, offset: image[sections[table][4] + offset : image.index(b"\0", sections[table][4] + offset)].decode()
    named = {label(names_index, s[0]): s for s in sections}
    shared, data, anchor = [], [], {}
    for section in sections:
        if section[1] != 2:  # SHT_SYMTAB
            continue
        for at in range(section[4], section[4] + section[5], 24):
            name_at, info, _, index, value, length = struct.unpack_from("<IBBHQQ", image, at)
            name = label(section[6], name_at)
            if info & 15 == 6 and index:
                shared.append([_readable(name), value, length, _owner(name)])
                if "gpudl_anchor" in name:
                    anchor["tls"] = value
            elif info & 15 == 1 and index and length and not name.startswith(("gpudl_kernel", "_ZN12gpudl_export", "_DYNAMIC", "_ZTV")):
                data.append([_readable(name), value, length])
            elif name == "gpudl_module_anchor":
                anchor["function"] = value
    span = lambda *wanted: (
        [min(f[3] for f in s), max(f[3] + f[5] for f in s)] if (s := [named[n] for n in wanted if n in named and named[n][5]]) else [0, 0]
    )
    return {
        "shared": sorted(shared, key=lambda s: s[1]),
        "data": sorted(data, key=lambda s: s[1]),
        "text": span(".text"),
        "data_range": span(".data", ".bss"),
        "constant": span("gpudl_constant"),
        "image": max((s[3] + s[5] for s in sections if s[2] & 2), default=0),
        "anchor": anchor,
        "shuffles": b"gpudl_emu_shuffle\0" in image,
    }


def _readable(name: str) -> str:
    """The source's name of a symbol: local statics are mangled as _ZZ<function>E<length><name>, or carry a number."""
    return _demangled(name).removeprefix(OWN)


def _demangled(name: str) -> str:
    if name.startswith("_Z"):
        match = re.search(r"E(\d+)([A-Za-z_]\w*)$", name)
        if match:
            return match[2][: int(match[1])] if len(match[2]) >= int(match[1]) else match[2]
        match = re.fullmatch(r"_ZL?(\d+)(\w+)", name)
        if match:
            return match[2][: int(match[1])]
    return re.sub(r"\.\d+$", "", name)


def _owner(name: str) -> str:
    """The function in which a local static lies; "" at namespace scope."""
    match = re.match(r"_ZZN?(?:\d+[a-z_]\w*?)??(\d+)([A-Za-z_]\w*)", name)
    return match[2][: int(match[1])].removeprefix(OWN) if match else ""


def _undefined_tls(path: Path) -> list[str]:
    """Thread-local names that the object refers to and nobody defines: its `extern __shared__` arrays."""
    image = path.read_bytes()
    (sections_at,) = struct.unpack_from("<Q", image, 0x28)
    size, count, _ = struct.unpack_from("<HHH", image, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", image, sections_at + i * size) for i in range(count)]
    names = []
    for section in sections:
        if section[1] == 2:
            for at in range(section[4], section[4] + section[5], 24):
                name_at, info, _, index, _, _ = struct.unpack_from("<IBBHQQ", image, at)
                start = sections[section[6]][4] + name_at
                if info & 15 == 6 and index == 0:
                    names.append(image[start : image.index(b"\0", start)].decode())
    return names


# ---- Compiling.
@dataclass
class Built:
    path: Path
    entries: list[dict[str, Any]]
    templates: list[str]
    elf: dict[str, Any]
    dynamic: str | None
    architecture: int
    sources: list[str]


def build(source: str | os.PathLike[str], options: tuple[str, ...], sanitize: bool, expressions: tuple[str, ...] = ()) -> Built:
    """Compile a path or the text of a source, or take it from the cache."""
    if isinstance(source, os.PathLike) or ("\n" not in source and "{" not in source and source.endswith((".cu", ".cuh", ".cpp", ".h"))):
        path = Path(source).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"emulator: no such source file: {source}")
        text = path.read_bytes()
    else:
        text = str(source).encode()
        path = cache_folder() / "sources" / f"{_digest(text)[:12]}.cu"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _temporary(path) as temporary:
                temporary.write_bytes(text)
    arguments, architecture = translate_options(options)
    key = _digest(str(path), text, arguments, sanitize, expressions, _runtime_digest())
    folder = cache_folder()
    manifest = folder / f"{key}.json"
    try:
        facts = json.loads(manifest.read_text())
        if (
            all(_digest(Path(name).read_bytes()) == digest for name, digest in facts["headers"].items())
            and (folder / facts["object"]).exists()
        ):
            return Built(
                folder / facts["object"],
                facts["entries"],
                facts["templates"],
                facts["elf"],
                facts["dynamic"],
                architecture,
                facts["sources"],
            )
    except (OSError, ValueError, KeyError):
        pass
    return _compile(path, arguments, sanitize, expressions, manifest, architecture)


def _compile(path: Path, arguments: list[str], sanitize: bool, expressions: tuple[str, ...], manifest: Path, architecture: int) -> Built:
    gxx = compiler()[0]
    standard = [a for a in arguments if a.startswith("-std=")]
    flags = [*COMMON, *(SANITIZED if sanitize else FAST), *standard]
    search = [*arguments, "-DGPUDL_EMULATOR=1", "-D__CUDACC__=1", f"-I{path.parent}", f"-I{INCLUDE}"]
    # The user's file is preprocessed by itself, and compiled behind the precompiled prelude. Where it includes system headers, they, the
    # prelude and the file are preprocessed together instead: no header is seen twice, or through the prelude's macros.
    source = _run([gxx, "-E", "-x", "c++", *search, "-"], f'#include "{path}"\n')
    headers = {n for n, kind in re.findall(r'^# \d+ "([^"<]+)"((?: \d)*)', source, flags=re.M) if "3" not in kind and os.path.isfile(n)}
    headers = {n for n in headers - {str(path)} if not n.startswith((str(RUNTIME), str(INCLUDE)))}
    bounds = _launch_bounds(source)
    prefix, first = "", _system_headers(source)
    if first:
        unit = "".join(f'#include "{h}"\n' for h in first) + f'#define GPUDL_SYSTEM_FIRST\n#include "{PRELUDE}"\n#include "{path}"\n'
        whole = _run([gxx, "-E", "-x", "c++", *flags, *search, "-"], unit)
        begin = whole.index(MARK) + len(MARK)
        prefix, source = whole[:begin], whole[begin:]
    source = _SHARED_ALIGNAS.sub(r"\1 __attribute__((aligned(gpudl_alignas<\2>())))", _without_host_code(source))
    entries, templates = find_kernels(source)
    exports = [Entry(e, e, *_template_parameters(source, e)) for e in expressions if e not in {k.name for k in entries}]
    exports = entries + exports
    if not exports and not templates:
        raise CompileError(f"{path}: no __global__ function found")
    folder = manifest.parent
    runtime = runtime_path()
    with tempfile.TemporaryDirectory(prefix="gpudl-build-") as work:
        code, compiled, assembly = Path(work, "unit.ii"), Path(work, "unit.o"), Path(work, "dynamic.s")
        language = ["-x", "c++", "-include", str(_prelude(tuple(flags)))] if not first else ["-x", "c++-cpp-output"]
        renamed: dict[str, int] = {}
        while True:
            text = prefix + source + "".join(f'\n# 1 "kernel {e.name}"\n{_export(i, e.expression)}\n' for i, e in enumerate(exports))
            code.write_text(text)
            try:
                _run([gxx, "-c", *flags, *language, str(code), "-o", str(compiled)])
                break
            except CompileError as error:  # perhaps only names that the C library has, too: a kernel may be called div or y1
                clashes = {n for n in _clashes(str(error)) if renamed.get(n, 0) < 2}
                if not clashes:
                    raise
            for name in clashes:
                renamed[name] = renamed.get(name, 0) + 1
                source = _rename(source, name, only_kernels=renamed[name] == 1)
                for e in exports:
                    e.expression = re.sub(rf"(?<!\w){name}(?=\s*(?:<|$))", OWN + name, e.expression)
        target = folder / f"{_digest(text, flags, _runtime_digest())}.so"  # of another content, another name: dlopen knows files by name
        objects, dynamic = [str(compiled)], None
        names = _undefined_tls(compiled)
        if names:  # every `extern __shared__` array of a file names the same memory
            dynamic = names[0]
            labels = "".join(f".globl {n}\n.hidden {n}\n.type {n}, @tls_object\n.size {n}, {DYNAMIC_BYTES}\n{n}:\n" for n in names)
            stack = '.section .note.GNU-stack,"",@progbits\n'
            assembly.write_text(f'.section .tbss,"awT",@nobits\n.balign 1024\n{labels}.zero {DYNAMIC_BYTES}\n{stack}')
            objects.append(str(assembly))
        wrap = [f"-Wl,--wrap={f}" for f in (*WRAPPED, *(("memcpy", "memmove", "memset") if sanitize else ()))]
        link = ["-shared", "-Wl,-Bsymbolic", "-Wl,-z,defs", *wrap, *objects, str(runtime), "-lm", "-lc", "-lgcc"]
        with _temporary(target) as temporary:
            _run([gxx, *link, "-o", str(temporary)])
    elf = read_elf(target)
    facts: dict[str, Any] = {
        "object": target.name,
        "entries": [{"name": e.name, "parameters": e.parameters, "types": e.types, "bounds": bounds.get(_base_name(e.name))} for e in exports],
        "templates": templates,
        "elf": elf,
        "dynamic": dynamic,
        "headers": {n: _digest(Path(n).read_bytes()) for n in sorted(headers)},
        "sources": [str(path), *sorted(headers)],
    }
    with _temporary(manifest) as temporary:
        temporary.write_text(json.dumps(facts))
    return Built(target, facts["entries"], templates, elf, dynamic, architecture, facts["sources"])


_QUOTED = r"(?:‘([^’]*)’|'([^']*)')"


def _clashes(message: str) -> set[str]:
    """Names that an error says are declared already (by the C library or the prelude), or of which a kernel is one of several overloads."""
    found = set(re.findall(r'^kernel (?:\w+::)*(\w+)(?:<.*)?:1:\d+: error', message, flags=re.M))
    kinds = r"(?:(?:conflicting|ambiguating new) declaration of (?:C function )?|conflicting declaration |redefinition of |declaration of )?"
    pattern = rf"error: {kinds}{_QUOTED}(.*)"
    for one, two, rest in re.findall(pattern, message):
        if "redeclared as different" in rest or "exception specifier" in rest or not rest.strip() or rest.startswith(" with"):
            name = re.search(r"(~?\w+)\s*(?:\(.*|\[.*|=.*)?$", one or two)
            if name and not name[1].startswith(OWN):
                found.add(name[1])
    return found


def _rename(source: str, name: str, only_kernels: bool) -> str:
    """The source with OWN before a name: where kernels are declared, or wherever it stands by itself."""
    if only_kernels:
        places = [found[2] for m in re.finditer(r"\b__global__\b|__attribute__\(\(__hot__\)\)", source)
                  if (found := _signature(source, m.end())) and found[0] == name]  # fmt: skip
        for at in reversed(places):
            source = source[:at] + OWN + source[at:]
        return source
    word = re.compile(rf'^#[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?:\.|->|::)\s*{name}\b|\b{name}\b', re.M)
    return word.sub(lambda m: OWN + name if m[0] == name else m[0], source)


def _launch_bounds(source: str) -> dict[str, int]:
    """The threads that each kernel's __launch_bounds__ allows, where that is plain arithmetic."""
    found = {}
    for match in re.finditer(r"__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)", source):
        most, function = _split(match[1])[0], _signature(source, match.end())
        if function and re.fullmatch(r"[\d\s()*+-]+", most) and "**" not in most:
            found[function[0]] = eval(most, {"__builtins__": {}})
    return found


def _base_name(name: str) -> str:
    return re.split(r"[<(]", name)[0].split("::")[-1].strip()


def _system_headers(source: str) -> list[str]:
    """The system headers that the user's own files include, from the line markers of preprocessed text."""
    found: list[str] = []
    inside = [False]  # of each file that is open: is it a system header?
    for name, kinds in re.findall(r'^# \d+ "([^"]*)"((?: \d)*)$', source, flags=re.M):
        if "1" in kinds.split():
            system = "3" in kinds.split()
            if system and not inside[-1] and not name.endswith("stdc-predef.h") and name not in found:
                found.append(name)
            inside.append(system)
        elif "2" in kinds.split() and len(inside) > 1:
            inside.pop()
    return found


def _tidy() -> None:
    """Remove from the cache what other versions of gpudl or g++ left there more than a month ago. It is compiled again if it is needed."""
    for path in cache_folder().glob("*"):
        with contextlib.suppress(OSError):
            if path.suffix in (".so", ".json") and max(path.stat().st_atime, path.stat().st_mtime) < time.time() - 30 * 86400:
                path.unlink()
            elif path.name.startswith("prelude-") and path.stat().st_mtime < time.time() - 30 * 86400:
                shutil.rmtree(path, ignore_errors=True)


@functools.cache
def _prelude(flags: tuple[str, ...]) -> Path:
    """The prelude precompiled for these flags: its header, with the compiler's image of it beside it."""
    folder = cache_folder() / f"prelude-{_digest(flags, _runtime_digest())}"
    header = folder / PRELUDE.name
    image = folder / f"{PRELUDE.name}.gch"
    if not image.exists():
        _tidy()
        folder.mkdir(parents=True, exist_ok=True)
        with _temporary(header) as temporary:  # what g++ reads where it does not accept the image
            temporary.write_text(f'#include "{PRELUDE}"\n')
        with _temporary(image) as temporary:
            _run([compiler()[0], *flags, "-x", "c++-header", str(PRELUDE), "-o", str(temporary)])
    return header


# nvcc takes `__shared__ alignas(16) float s[4]`; after g++'s thread_local the standard form may not stand, the GNU form may.
_SHARED_ALIGNAS = re.compile(r"(__shared__|thread_local __constinit __attribute__\(\(aligned\(128\)\)\))\s*alignas\s*\(((?:[^()]|\([^()]*\))*)\)")


_HOST = re.compile(r"<<<|\bcuda[A-Z]\w*\s*\(")


def _without_host_code(text: str) -> str:
    """Empty the bodies of functions that launch kernels or call CUDA's host library: a student's file often brings its main()."""
    if not _HOST.search(text):
        return text
    pieces, start, depth, body = [], 0, 0, 0
    for match in re.finditer(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[{}]', text):
        if match[0] == "{":
            if depth == 0:
                body = match.start()
            depth += 1
        elif match[0] == "}":
            depth -= 1
            inside = text[body : match.end()]
            head = text[max(text.rfind(c, 0, body) for c in ";}") + 1 : body]
            if depth == 0 and re.search(r"\b__(?:global|device)__\b|__attribute__\(\(__hot__\)\)", head):
                if call := re.search(r"\w+\s*(?:<[^<>;]*>)?\s*<<<", inside):
                    raise CompileError(f"{_place(text, body + call.start())}: error: a kernel that launches a kernel ({call[0]}...): the emulator does not "
                                       "have dynamic parallelism. Launch from the host, or call a __device__ function.")  # fmt: skip
                continue
            if depth == 0 and _HOST.search(inside) and text[:body].rstrip().endswith(")"):
                pieces += [text[start:body], "{", re.sub(r"^(?!#).*$", "", inside, flags=re.M), "}"]
                start = match.end()
    return "".join([*pieces, text[start:]])


def _place(text: str, position: int) -> str:
    """file:line of a position in preprocessed text."""
    markers = list(re.finditer(r'^# (\d+) "([^"]*)".*$', text[:position], flags=re.M))
    if not markers:
        return f"line {text.count(chr(10), 0, position) + 1}"
    last = markers[-1]
    return f"{last[2]}:{int(last[1]) + text.count(chr(10), last.end() + 1, position)}"


def _export(number: int, expression: str) -> str:
    """The record by which Python finds a kernel and its parameters."""
    export = f"gpudl_export<({expression})>"
    return (f'extern "C" __attribute__((visibility("default"), used)) const gpudl_kernel_record gpudl_kernel_{number} = '
            f"{{&{export}::call, {export}::parameters, {export}::count}};")  # fmt: skip


def _template_parameters(text: str, expression: str) -> tuple[list[str], list[str]]:
    name = _base_name(expression)
    for match in re.finditer(r"__attribute__\(\(__hot__\)\)|\b__global__\b", text):
        found = _signature(text, match.end())
        if found and found[0] == name:
            pieces = [p for p in _split(found[1]) if p.strip() and p.strip() != "void"]
            names, types = zip(*[_parameter(p) for p in pieces], strict=True) if pieces else ((), ())
            return list(names), list(types)
    return [], []


@functools.cache
def runtime() -> ctypes.CDLL:
    """The runtime, loaded into a namespace of its own."""
    library = ctypes.CDLL(str(runtime_path()))
    u64, pointer = ctypes.c_uint64, ctypes.c_void_p
    library.gpudl_emu_allocate.argtypes, library.gpudl_emu_allocate.restype = [u64], pointer
    library.gpudl_emu_free.argtypes = [pointer]
    library.gpudl_emu_mark.argtypes = [u64, u64]
    library.gpudl_emu_find.argtypes = [u64, ctypes.POINTER(u64), ctypes.POINTER(u64)]
    library.gpudl_emu_next.argtypes = [u64, ctypes.POINTER(u64), ctypes.POINTER(u64)]
    library.gpudl_emu_arena.argtypes = [ctypes.POINTER(u64), ctypes.POINTER(u64)]
    library.gpudl_emu_in_use.restype = u64
    library.gpudl_emu_is_heap.argtypes = [u64]
    library.gpudl_emu_written.argtypes = [u64, u64]
    library.gpudl_emu_sizes.argtypes, library.gpudl_emu_sizes.restype = [ctypes.c_int], u64
    library.gpudl_emu_output.argtypes, library.gpudl_emu_output.restype = [pointer, u64, pointer], u64
    for name in ("gpudl_emu_profile", "gpudl_emu_trace"):
        getattr(library, name).argtypes, getattr(library, name).restype = [pointer, u64], u64
    library.gpudl_emu_profile_dropped.restype = u64
    library.gpudl_emu_launch.argtypes = [pointer]
    return library
