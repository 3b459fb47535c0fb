"""The access profile of a launch: per source line what its warps asked of memory, against the least they could have asked."""

from __future__ import annotations

import ctypes
import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from gpudl.emulator import _symbols
from gpudl.emulator._build import runtime

if TYPE_CHECKING:
    from gpudl.emulator._launch import Function

SPACES = {2: "shared", 3: "global", 4: "global"}
OPS = {1: "load", 2: "store", 3: "atomic"}


class _Row(ctypes.Structure):
    _fields_ = [("pc", ctypes.c_uint64), ("space", ctypes.c_int), ("access", ctypes.c_int)] + [
        (n, ctypes.c_uint64) for n in ("requests", "sectors", "ideal_sectors", "wavefronts", "ideal_wavefronts", "bytes", "worst")
    ]


class _TraceRow(ctypes.Structure):
    _fields_ = [("pc", ctypes.c_uint64), ("address", ctypes.c_uint64), ("lane", ctypes.c_uint32), ("turn", ctypes.c_uint32), ("size", ctypes.c_uint32),
                ("space", ctypes.c_int), ("access", ctypes.c_int)]  # fmt: skip


@dataclass
class Line:
    """What one source line asked of one memory space.

    requests      warp-wide instructions; op: load, store or atomic; space: global or shared; bytes: asked for by the lanes
    sectors       32-byte pieces of global memory, over all requests; ideal_sectors: what the same data packed tightly would take
    wavefronts    passes through shared memory's 32 banks; ideal_wavefronts: without conflicts
    """

    file: str
    line: int
    space: str
    op: str
    requests: int = 0
    sectors: int = 0
    ideal_sectors: int = 0
    wavefronts: int = 0
    ideal_wavefronts: int = 0
    bytes: int = 0

    @property
    def sectors_per_request(self) -> float:
        return self.sectors / self.requests

    @property
    def ideal_sectors_per_request(self) -> float:
        return self.ideal_sectors / self.requests

    @property
    def wavefronts_per_request(self) -> float:
        return self.wavefronts / self.requests

    @property
    def ideal_wavefronts_per_request(self) -> float:
        return self.ideal_wavefronts / self.requests

    @property
    def ideal_per_request(self) -> float:
        return self.ideal_wavefronts_per_request if self.space == "shared" else self.ideal_sectors_per_request

    @property
    def waste(self) -> float:
        """How many times more sectors or wavefronts than needed; 1 is ideal."""
        return self.wavefronts / max(self.ideal_wavefronts, 1) if self.space == "shared" else self.sectors / max(self.ideal_sectors, 1)


@dataclass
class Occupancy:
    """How many blocks fit an SM, by the compiler's report (NVRTC); limit names what runs out first."""

    registers: int
    shared_bytes: int
    spill_bytes: int
    blocks_per_sm: int
    limit: str
    occupancy: float


@dataclass
class Profile(Sequence[Line]):
    """The lines of one launch (a sequence of Line), and totals. print() shows the table; json() and html() give it to others."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    lines: list[Line]
    barriers: int
    truncated: bool = False
    stated_traffic: tuple[str, float | None] | None = None
    occupancy: Occupancy | None = None
    sources: list[str] = field(default_factory=list)

    @overload
    def __getitem__(self, i: int) -> Line: ...
    @overload
    def __getitem__(self, i: slice) -> list[Line]: ...
    def __getitem__(self, i: Any) -> Any:
        return self.lines[i]

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    @property
    def bytes_requested(self) -> int:
        """Bytes that the lanes asked of global memory."""
        return sum(r.bytes for r in self.lines if r.space == "global")

    @property
    def bytes_moved(self) -> int:
        """32 bytes for each sector of global memory, every request counted (no cache)."""
        return 32 * sum(r.sectors for r in self.lines)

    def summary(self) -> list[str]:
        rows = [f"{self.kernel}  grid {self.grid}  block {self.block}",
                f"global memory: {self.bytes_requested} bytes requested, {self.bytes_moved} in sectors; {self.barriers} block barriers"]  # fmt: skip
        if self.stated_traffic:
            text, value = self.stated_traffic
            rows.append(
                f"the header states: {text}"
                + (f" = {value:.0f} bytes ({self.bytes_requested / value:.2f} of it requested)" if value else "")
            )
        if self.occupancy:
            o = self.occupancy
            rows.append(f"compiler: {o.registers} registers, {o.shared_bytes} bytes of shared memory, {o.spill_bytes} bytes spilled; "
                        f"{o.blocks_per_sm} blocks an SM (limit: {o.limit}), occupancy {o.occupancy:.0%}")  # fmt: skip
        if self.truncated:
            rows.append("long loops: only the first executions of a line between two barriers were counted")
        return rows

    def table(self) -> str:
        """Lines of text: one row a source line, space and operation; `!` where less would do."""
        rows = ["   line  space   op      requests   per request   ideal        bytes"]
        file = None
        for r in self.lines:
            if r.file != file:
                file = r.file
                rows.append(file)
            got, ideal, unit = (
                (r.wavefronts_per_request, r.ideal_wavefronts_per_request, "wavefronts") if r.space == "shared"
                else (r.sectors_per_request, r.ideal_sectors_per_request, "sectors")
            )  # fmt: skip
            rows.append(
                f"{'!' if r.waste > 1.01 else ' '} {r.line:5}  {r.space:6}  {r.op:6} {r.requests:9}  {got:6.2f} {unit:10} {ideal:6.2f} {r.bytes:12}"
            )
        return "\n".join([*self.summary(), *rows])

    __str__ = table

    def json(self) -> str:
        """The same as JSON: {"kernel", "grid", "block", "barriers", "bytes_requested", "bytes_moved", "lines": [...]}."""
        lines = [
            asdict(r)
            | {
                n: getattr(r, n)
                for n in ("sectors_per_request", "ideal_sectors_per_request", "wavefronts_per_request", "ideal_wavefronts_per_request")
            }
            for r in self.lines
        ]
        facts = {"kernel": self.kernel, "grid": self.grid, "block": self.block, "barriers": self.barriers, "bytes_requested": self.bytes_requested,
                 "bytes_moved": self.bytes_moved, "truncated": self.truncated, "lines": lines}  # fmt: skip
        if self.stated_traffic:
            facts["stated_traffic"] = {"text": self.stated_traffic[0], "bytes": self.stated_traffic[1]}
        if self.occupancy:
            facts["occupancy"] = asdict(self.occupancy)
        return json.dumps(facts, indent=1)

    def html(self) -> str:
        """An annotated page of the sources: beside each line what it asked of memory, coloured by waste."""
        parts = [_PAGE_HEAD % html.escape(self.kernel), "<h1>" + html.escape(self.kernel) + "</h1>"]
        parts += [f"<p>{html.escape(row)}</p>" for row in self.summary()]
        for file in dict.fromkeys(r.file for r in self.lines):
            parts.append(
                f"<h2>{html.escape(Path(file).name)}</h2><table><tr><th></th><th></th><th>requests</th><th>per request</th><th>ideal</th><th>bytes</th></tr>"
            )
            try:
                source = Path(file).read_text().splitlines()
            except OSError:
                source = []
            for number, text in enumerate(source, 1):
                here = [r for r in self.lines if r.file == file and r.line == number]
                worst = max((r.waste for r in here), default=0)
                style = "" if not here else "bad" if worst >= 4 else "fair" if worst > 1.01 else "good"
                cells = ["<br>".join(c) for c in zip(*[(f"{r.requests}", f"{r.wavefronts_per_request:.2f} wavefronts" if r.space == "shared" else
                         f"{r.sectors_per_request:.2f} sectors", f"{r.ideal_per_request:.2f}",
                         f"{r.bytes} ({r.space} {r.op})") for r in here], strict=True)] or [""] * 4  # fmt: skip
                parts.append(
                    f'<tr class="{style}"><td class=n>{number}</td><td><pre>{html.escape(text)}</pre></td>'
                    + "".join(f"<td>{c}</td>" for c in cells)
                    + "</tr>"
                )
            parts.append("</table>")
        return "\n".join([*parts, "</body></html>"])


_PAGE_HEAD = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>%s</title><style>
body { font-family: sans-serif; margin: 2em } table { border-collapse: collapse } td, th { padding: 0 .6em; text-align: right; font-size: 90%% }
td:nth-child(2) { text-align: left } pre { margin: 0 } .n { color: #888 }
.good { background: #e8f5e9 } .fair { background: #fff8e1 } .bad { background: #ffebee }
</style></head><body>"""


def collect(function: Function, arguments: Sequence[Any]) -> Profile:
    """The profile of the launch that has just ended."""
    library = runtime()
    count = library.gpudl_emu_profile(None, 0)
    rows = (_Row * max(count, 1))()
    library.gpudl_emu_profile(ctypes.addressof(rows), count)
    base, path = function.module.base, str(function.module.path)
    frames = _symbols.resolve(path, [r.pc - base for r in rows[:count]]) if count else []
    lines: dict[tuple[str, int, str, str], Line] = {}
    for row, chain in zip(rows[:count], frames, strict=False):
        file, number = chain[0] if chain else ("?", 0)
        key = (file, number, SPACES.get(row.space, "global"), OPS.get(row.access, "load"))
        line = lines.setdefault(key, Line(*key))
        line.requests += row.requests
        line.sectors += row.sectors
        line.ideal_sectors += row.ideal_sectors
        line.wavefronts += row.wavefronts
        line.ideal_wavefronts += row.ideal_wavefronts
        line.bytes += row.bytes
    launch = function._launch
    main = function.module.sources[0]
    ordered = sorted(lines.values(), key=lambda r: (r.file != main, r.file, r.line, r.space, r.op))
    return Profile(
        function.name, (launch.grid.x, launch.grid.y, launch.grid.z), (launch.block.x, launch.block.y, launch.block.z), ordered, launch.barriers,
        bool(library.gpudl_emu_profile_dropped()), stated_traffic(function, arguments), sources=function.module.sources,
    )  # fmt: skip


def stated_traffic(function: Function, arguments: Sequence[Any]) -> tuple[str, float | None] | None:
    """The header's `// Traffic` line, and its formula evaluated with the launch's scalars and the macros, where that can be done."""
    try:
        text = Path(function.module.sources[0]).read_text()
    except OSError:
        return None
    match = re.search(r"^//\s*Traffic\s+(.*(?:\n//\s{6,}.*)*)", text, flags=re.M)
    if not match:
        return None
    stated = re.sub(r"\s*\n//\s*", " ", match[1]).strip()
    names: dict[str, Any] = {"ceil": math.ceil, "min": min, "max": max}
    for option in function.module.options:
        if macro := re.fullmatch(r"-D(\w+)=(-?\d+)", option):
            names[macro[1]] = int(macro[2])
    itemsize = {"float": 4, "double": 8, "Half": 2, "BFloat16": 2}
    for option in function.module.options:
        if (macro := re.fullmatch(r"-DT=(\w+)", option)) and macro[1] in itemsize:
            names["sizeof_T"] = names["s"] = itemsize[macro[1]]
    for p, value in zip(function.parameters, arguments, strict=False):
        if p.kind in ("int", "unsigned", "float") and getattr(value, "ndim", 0) == 0:
            names[p.name] = value.item() if hasattr(value, "item") else value
    formula = re.split(r"\s+B\b", stated)[0].replace("sizeof(T)", "sizeof_T")
    if not re.fullmatch(r"[\w\s+*/().,-]+", formula) or len(formula) > 300 or "**" in formula:
        return stated, None
    try:
        return stated, float(eval(formula, {"__builtins__": {}}, names))  # only names, numbers and + - * / ( ) got here
    except Exception:
        return stated, None


# ---- Occupancy, from NVRTC's report where there is an NVRTC.
_PER_SM = {
    75: (1024, 16, 64),
    80: (2048, 32, 164),
    86: (1536, 16, 100),
    89: (1536, 24, 100),
    90: (2048, 32, 228),
    100: (2048, 32, 228),
    120: (1536, 24, 100),
}


def compiler_report(function: Function, path: Path, options: Sequence[str]) -> Any:
    """What NVRTC says of a kernel (registers, shared, stack, spill_stores), for the module's architecture; an exception where it cannot say."""
    from gpudl import _nvrtc
    from gpudl.kernels import nvrtc_source

    arch = function.module.architecture
    source, rest = nvrtc_source(path, tuple(o for o in options if o.startswith(("-D", "-I", "-std"))))
    folders = [str(path.parent), *(o[2:] for o in rest if o.startswith("-I"))]
    standard = [o for o in rest if not o.startswith("-I")]
    compiled = _nvrtc.compile(source, path.name, f"sm_{arch}{'a' if arch >= 90 else ''}", standard, folders)
    return compiled.functions.get(function.name) or next(v for k, v in compiled.functions.items() if function.name in k)


def occupancy(function: Function, path: Path, options: Sequence[str]) -> Occupancy | None:
    """Blocks an SM for the last launch's sizes; None without NVRTC, or where it does not compile the source."""
    try:
        found = compiler_report(function, path, options)
    except Exception:
        return None
    threads, blocks, kilobytes = _PER_SM.get(function.module.architecture, _PER_SM[90])
    b = function._launch.block
    size = b.x * b.y * b.z
    warps = -(-size // 32)
    registers = -(-found.registers * 32 // 256) * 256 * warps  # registers are given out to warps in units of 256
    shared = found.shared + function._launch.shared_bytes + 1024  # the system keeps 1 KiB a block
    limits = {
        "threads": threads // (32 * warps),
        "blocks": blocks,
        "registers": 65536 // max(registers, 1),
        "shared memory": kilobytes * 1024 // shared,
    }
    limit = min(limits, key=lambda k: limits[k])
    return Occupancy(found.registers, shared - 1024, found.spill_stores, limits[limit], limit, limits[limit] * warps * 32 / threads)
