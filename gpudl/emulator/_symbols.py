"""Program counters to source lines, addresses to arrays, faults to reports."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gpudl.emulator import _memory
from gpudl.emulator._build import INCLUDE, RUNTIME, runtime
from gpudl.emulator._errors import Report

if TYPE_CHECKING:
    from gpudl.emulator._launch import Function

KINDS = {
    1: "race", 2: "out_of_bounds", 3: "barrier", 4: "deadlock", 5: "uninitialised", 6: "misaligned", 7: "invalid_shuffle", 8: "limit", 9: "timeout",
    10: "constant_write", 11: "out_of_bounds", 12: "shift", 13: "conversion", 14: "division", 15: "crash", 16: "assertion", 17: "async_copy",
    18: "stack_overflow", 19: "interrupt",
}  # fmt: skip


VERBS = {0: "touches", 1: "reads", 2: "writes", 3: "atomically updates"}
PAST = {0: "touched", 1: "read", 2: "wrote", 3: "atomically updated"}
CAUSES = {
    "race": "a __syncthreads() (or, inside one warp, a __syncwarp()) is missing between the two lines",
    "out_of_bounds": "a bounds check (if (i < n)) is missing or off by one, or a size was passed wrongly",
    "barrier": "a barrier stands in a branch or after a return that not all threads of the block take alike",
    "deadlock": "threads wait for each other at different places; every thread must reach the same barriers in the same order",
    "uninitialised": "nothing has written this element before it is read: a store is missing, or a += starts from memory that was never zeroed",
    "misaligned": "a vector access needs an address that is a multiple of its size; odd row lengths or offsets break that",
    "invalid_shuffle": "the mask of a warp operation must name exactly the lanes that call it, and they must all still run",
    "timeout": "a loop whose condition never changes, a lock that is not released, or a wait for a block that has not started",
    "constant_write": "__constant__ memory can only be written by the host",
    "shift": "a shift by the width of the type or more: 0 on a GPU, something else on a CPU",
    "conversion": "NaN or a value outside the integer's range: a GPU clamps, a CPU does not",
    "division": "a divisor that can be 0 for some sizes; a GPU gives garbage, a CPU stops",
    "crash": "an index far outside of every array; run under the sanitizer to see which",
    "stack_overflow": "local arrays too large for a thread, or recursion",
    "assertion": "the kernel itself found the condition false",
}
CAUSE_BETWEEN_BLOCKS = (
    "blocks run in any order and share nothing but atomics: use atomicAdd, give each block its own elements, or split the kernel in two"
)
CAUSE_ONE_LINE = (
    "several threads update one element: use atomicAdd; or, in a loop, a __syncthreads() (inside one warp a __syncwarp()) is missing between rounds"
)
CAUSE_STATIC = "an index that reaches the size of the array as declared"
CAUSE_ASYNC = "cp.async is complete only after wait_group (or wait_all), and for other threads only after a barrier behind it"

Frame = tuple[str, int]


@functools.lru_cache(maxsize=65536)
def frames_of(path: str, offset: int) -> tuple[Frame, ...]:
    """The user's frames of an offset in a module, innermost first: the line itself, then those it was inlined into."""
    return resolve(path, (offset,))[0]


def resolve(path: str, offsets: Sequence[int]) -> list[tuple[Frame, ...]]:
    """frames_of for many offsets, with one run of addr2line."""
    try:
        out = subprocess.run(
            ["addr2line", "-i", "-a", "-e", path], input="\n".join(map(hex, offsets)), capture_output=True, text=True
        ).stdout
    except OSError:
        return [()] * len(offsets)
    found: list[list[Frame]] = []
    for row in out.splitlines():
        if row.startswith("0x") and ":" not in row:
            found.append([])
            continue
        name, _, number = row.partition(" ")[0].rpartition(":")
        if found and number.isdigit() and not name.startswith(("??", str(RUNTIME), str(INCLUDE), "/usr/include", "/usr/lib", "kernel ")):
            found[-1].append((str(Path(name)), int(number)))
    return [tuple(f) for f in found] + [()] * (len(offsets) - len(found))


class Places:
    """Names for addresses: the arrays of a launch's arguments, the module's shared arrays and variables."""

    def __init__(self, function: Function, arguments: list[tuple[str, int, np.ndarray]]):
        self.function = function
        self.arrays = [
            (name, at, array.nbytes if array.flags.c_contiguous else _span(array), array.itemsize) for name, at, array in arguments
        ]
        module = function.module
        self.shared = [(name, at, size, 0) for name, at, size in module.shared]
        if module.dynamic:
            self.shared.append((module.dynamic[0], module.dynamic[1], int(function._launch.shared_bytes), 0))
        self.data = [(name, at, size, 0) for name, at, size in module.data]

    def name(self, address: int, size: int, space: int, shared_base: int) -> tuple[str | None, int | None, str]:
        """Array, element index, and the array as words: the one that holds the address or lies nearest."""
        places = self.shared if space == 2 else self.arrays + self.data
        at = address - shared_base if space == 2 else address
        if space != 2 and (heap := _memory.find(at)) and runtime().gpudl_emu_is_heap(heap[0]):  # what a kernel took by malloc or new
            start, length = heap
            item = size if size <= 8 else 4
            past = "" if at - start <= length - size else f" (it has {length // item} of them)"
            return "malloc", (at - start) // item, f"element {(at - start) // item} of memory from malloc{past}"
        best = min(places, key=lambda p: max(p[1] - at, at - (p[1] + p[2] - 1), 0), default=None)
        if best is None or (space != 2 and max(best[1] - at, at - (best[1] + best[2])) > 1 << 24):
            return None, None, f"address 0x{address:x}" + (", a null pointer" if address < 4096 else "")
        name, start, length, item = best
        item = item or (size if size <= 8 else 4)
        index = (at - start) // item
        kind = "shared " if space == 2 else ""
        return (
            name,
            index,
            f"{kind}{name}[{index}] ({kind}{name} has {length // item} elements)"
            if not 0 <= at - start <= length - size
            else f"{kind}{name}[{index}]",
        )


def _own(chain: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The frames of whoever called an instruction's function of ptx.cuh: the fault is theirs, not the header's."""
    return tuple(f for f in chain if not f[0].endswith("/ptx.cuh")) or chain


def _indexed(chain: Sequence[Frame], text: str) -> tuple[str | None, int]:
    """Name and index for "index 64 of an array 'float [64]'": the compiler gives no name, so the only array that the line could mean."""
    index, type = int(text.split()[1]), (re.findall(r"\w+(?=[\s*]*\[)", text) or [""])[0]
    try:
        source = Path(chain[0][0]).read_text(errors="replace")
        line = source.splitlines()[chain[0][1] - 1].partition("//")[0]
    except (OSError, IndexError):
        return None, index
    names = {n for n in re.findall(r"(\w+)\s*\[", line) if re.search(rf"\b{type}\b[^;=(){{}}]*\b{n}\s*\[", source)}
    return (names.pop() if len(names) == 1 else None), index


def _span(array: np.ndarray) -> int:
    low, high = byte_bounds(array)
    return int(high - low)


def explain(function: Function, faults: list[Any], arguments: list[tuple[str, int, np.ndarray]]) -> list[Report]:
    """Reports of a launch. A barrier compiled twice from one line is no fault and gives none."""
    path, base = str(function.module.path), function.module.base
    places = Places(function, arguments)
    bx, by, _ = function._block_shape
    grid = function._launch.grid
    thread = lambda n: (n % bx, n // bx % by, n // bx // by)
    block = lambda n: (n % grid.x, n // grid.x % grid.y, n // grid.x // grid.y)
    reports: list[Report] = []
    racing = {pc for f in faults if f.kind == 1 for pc in (f.pc, f.other_pc)}
    for fault in faults:
        kind = KINDS.get(fault.kind, "fault")
        chain = _own(frames_of(path, fault.pc - base)) if fault.pc else ()
        other_chain = _own(frames_of(path, fault.other_pc - base)) if fault.other_pc else ()
        if kind == "barrier" and fault.other_pc and (chain == other_chain or any(r.kind == "barrier" and r.other_line for r in reports)):
            continue
        if kind == "uninitialised" and fault.space == 2 and fault.pc in racing:
            continue  # the store exists and merely came later: the race is the whole story
        text = fault.text.decode(errors="replace")
        threads = tuple(thread(n) for n in (fault.thread, fault.other_thread) if n >= 0)
        here, there = tuple(fault.block), block(fault.other_block) if fault.other_block != 0xFFFFFFFF else None
        array = index = None
        cause = CAUSES.get(kind, "")
        if (fault.address or fault.kind == 2) and fault.kind in (1, 2, 5, 6, 10):
            array, index, words = places.name(fault.address, fault.size, fault.space, fault.base)
            verb = VERBS[fault.access]
            if kind == "race":
                other = f"thread {threads[-1]}" + (f" of block {there}" if there not in (None, here) else "")
                text = f"{verb} {words}, which {other} {PAST[fault.other_access]} with nothing to order the two"
                cause = CAUSE_BETWEEN_BLOCKS if there not in (None, here) else CAUSE_ONE_LINE if chain and chain[:1] == other_chain[:1] else cause
            elif kind == "uninitialised":
                text = f"{verb} {words}, which nothing has written" + (f": {text}" if text else "")
                cause = CAUSE_ASYNC if "cp.async" in text else cause
            else:
                text = f"{verb} {fault.size} bytes at {words}" + (f": {text}" if text else "")
        if kind == "invalid_shuffle" and fault.address:
            text += f"; the undefined value reaches {places.name(fault.address, fault.size, fault.space, 0)[2]}"
        if fault.kind == 11:
            cause = CAUSE_STATIC
            array, index = _indexed(chain, text)
            text = text.replace("of an array", f"of {array}, an array") if array else text
        notes = tuple(f"called from {name}:{line}" for name, line in chain[1:4])
        file, line = chain[0] if chain else (None, None)
        other_file, other_line = other_chain[0] if other_chain else (None, None)
        reports.append(
            Report(kind, text, file, line, function.name, here, threads, array, index, other_file, other_line, there, cause, fault.count, notes)
        )
    return reports
