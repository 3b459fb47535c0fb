"""Program counters to source lines, addresses to arrays, faults to reports."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpudl.emulator._build import INCLUDE, RUNTIME
from gpudl.emulator._errors import Report

if TYPE_CHECKING:
    from gpudl.emulator._launch import Function

KINDS = {
    1: "race", 2: "out_of_bounds", 3: "barrier", 4: "deadlock", 5: "uninitialised", 6: "misaligned", 7: "invalid_shuffle", 8: "limit", 9: "timeout",
    10: "constant_write", 11: "out_of_bounds", 12: "shift", 13: "conversion", 14: "division", 15: "crash", 16: "assertion", 17: "async_copy",
    18: "stack_overflow", 19: "interrupt",
}  # fmt: skip


@functools.lru_cache(maxsize=65536)
def line_of(path: str, offset: int) -> tuple[str, int] | None:
    """The innermost frame of an offset in a module that lies in the user's files."""
    return lines_of(path, (offset,))[0]


def lines_of(path: str, offsets: tuple[int, ...]) -> list[tuple[str, int] | None]:
    try:
        out = subprocess.run(["addr2line", "-i", "-a", "-e", path, *map(hex, offsets)], capture_output=True, text=True).stdout
    except OSError:
        return [None] * len(offsets)
    frames: list[list[str]] = []
    for row in out.splitlines():
        if row.startswith("0x") and ":" not in row:
            frames.append([])
        elif frames:
            frames[-1].append(row)
    return [_first_user_frame(f) for f in frames] + [None] * (len(offsets) - len(frames))


def _first_user_frame(frames: list[str]) -> tuple[str, int] | None:
    for frame in frames:
        name, _, number = frame.partition(" ")[0].rpartition(":")
        if not number.isdigit() or name.startswith(("??", str(RUNTIME), str(INCLUDE), "/usr/include", "/usr/lib", "kernel ", "export ")):
            continue
        return str(Path(name)), int(number)
    return None


def explain(function: Function, faults: list[Any], places: list[tuple[str, int, Any]]) -> list[Report]:
    path, base = str(function.module.path), function.module.base
    reports = []
    bx, by, _ = function._block_shape
    thread = lambda n: (n % bx, n // bx % by, n // bx // by)
    for fault in faults:
        where = line_of(path, fault.pc - base) if fault.pc else None
        reports.append(
            Report(
                KINDS.get(fault.kind, "fault"), fault.text.decode(errors="replace"), where and where[0], where and where[1], function.name, tuple(fault.block),
                (thread(fault.thread),) if fault.thread >= 0 else (), count=fault.count,
            )  # fmt: skip
        )
    return reports
