"""What is known about a kernel without running it on a GPU: launch, bytes that its header promises, registers, occupancy, coalescing.

It needs no hardware counters, which many machines forbid: the numbers come from the record and the header, from the compiler's report, and from
the emulator's access profile, and are joined with the measured times where there are any.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any
from unittest import mock

import numpy as np

from bench.contestants import Case, Gpudl
from gpudl import _dtypes, kernels
from gpudl._launches import _Dry

# Per multiprocessor of sm_90: CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability".
SM90 = {"threads": 2048, "blocks": 32, "registers": 65536, "shared": 228 * 1024, "reserved": 1024}


def occupancy(threads: int, registers: int, shared: int, sm: dict[str, int] = SM90) -> float:
    """Resident warps over the most there can be: the least that threads, blocks, registers (by 256 a warp) and shared memory allow."""
    warps = -(-threads // 32)
    per_warp = -(-registers * 32 // 256) * 256
    blocks = min(sm["threads"] // (32 * warps), sm["blocks"], sm["registers"] // (per_warp * warps) if registers else sm["blocks"],
                 sm["shared"] // (shared + sm["reserved"]))  # fmt: skip
    return 32 * warps * blocks / sm["threads"]


def launches(case: Case, ladder: str, rung: str) -> list[dict[str, Any]]:
    """Each launch of the rung in one call of the case: entry, grid, block, shared memory, macros and the bytes that the record's formula gives."""
    found: list[dict[str, Any]] = []
    kernel = kernels.ladder(ladder)[rung]
    traffic: list[float | None] = [None]

    def plan(self: Any, device: Any, arguments: Any, arrays: Any, defines: Any) -> Any:
        if self is kernel and self.traffic is not None:
            scalars = {k: v for k, v in arguments.items() if k not in arrays}
            dtype = next((a.dtype for a in arrays.values() if _dtypes.is_float(a.dtype)), np.dtype(np.float32))
            with contextlib.suppress(KeyError):
                traffic[0] = float(self.traffic(self.scope(scalars, dtype, device)))
        return real_plan(self, device, arguments, arrays, defines)

    def prepare(self: Any, device: Any, entry: str, types: Any, defines: Any, grid: Any, block: Any, smem: int, message: str) -> Any:
        if self is kernel:
            sizes = {"grid": list(grid), "block": list(block), "smem": smem}
            found.append({"entry": entry, **sizes, "types": dict(types), "defines": dict(defines or {})})
        return lambda values: None

    real_plan = kernels.Kernel._plan
    where = _Dry(90)
    who = Gpudl("cpu", ladder, rung)
    who.device = where
    with mock.patch.object(kernels.Kernel, "_plan", plan), mock.patch.object(kernels.Kernel, "prepare", prepare), who.picked():
        sample = case.shape.sample(np.random.default_rng(0), case.dtype)
        who.call(case, sample, 0)()
    kernel._plans = {k: v for k, v in kernel._plans.items() if k[0] is not where}
    for f in found:
        f["traffic"] = traffic[0]
    return found


def resources(kernel: Any, launch: dict[str, Any], arch: str = "sm_90a") -> dict[str, Any]:
    """Registers, shared memory, spills and occupancy of one launch, from the compiler; {} where there is no compiler."""
    from gpudl import _nvrtc

    try:
        compiled = _nvrtc.compile_rung(kernel, arch, launch["types"], launch["defines"])
    except _nvrtc.NvrtcMissing:
        return {}
    used = compiled.functions.get(launch["entry"])
    if used is None:
        return {}
    threads = int(np.prod(launch["block"]))
    shared = used.shared + launch["smem"]
    spills = used.spill_stores + used.spill_loads
    return {"registers": used.registers, "shared": shared, "spills": spills, "occupancy": occupancy(threads, used.registers, shared)}


def describe(case: Case, ladder: str, rung: str) -> dict[str, Any]:
    """One row: the rung at this case's size."""
    kernel = kernels.ladder(ladder)[rung]
    row: dict[str, Any] = {"ladder": ladder, "rung": rung, "op": case.op.name, "way": case.way, "shape": case.shape.label}
    row |= {"idea": kernel.header.get("Title", ""), "numerics": kernel.header.get("Numerics", "")}
    found = launches(case, ladder, rung)
    if not found:
        return {}
    first = found[0]
    row |= {"launches": len(found), "grid": first["grid"], "block": first["block"], "traffic": first["traffic"]}
    row["floor"] = case.cost.bytes if case.way != "backward" else None
    row |= resources(kernel, first)
    return row


def table(device_cases: dict[str, Case], seconds: float = math.inf) -> list[dict[str, Any]]:
    """A row for each rung of each ladder, at the case given for the ladder; no more rungs are compiled once the time is used up."""
    rows = []
    end = time.monotonic() + seconds
    for ladder, case in device_cases.items():
        for kernel in kernels.ladder(ladder):
            if kernel.backend == "cuda" and time.monotonic() < end:
                with contextlib.suppress(Exception):  # a rung that does not take this case has no row
                    row = describe(case, ladder, kernel.name)
                    if row:
                        rows.append(row)
    return rows


def one_case_per_ladder(registry: dict[str, Any], dtype: str = "float32") -> dict[str, Case]:
    """For each ladder the first op that launches it, at the first of its sizes that is neither tiny nor large."""
    from bench import shapes
    from bench.contestants import ladders, ways

    found: dict[str, Case] = {}
    for op in registry.values():
        for way in ways(op):
            for name in ladders(op, way):
                if name not in found:
                    grid = shapes.grid(op)
                    fit = [s for s in grid if not s.tags & {"large", "tiny"} and s.elements <= 1 << 22] or grid
                    found[name] = Case(op, fit[0], way, dtype)
    return found


def profile(ladder: str, rung: str, case: Case) -> dict[str, float]:
    """What the emulator counts at a small size: 32-byte sectors a global request takes over the least, shared-memory passes over the least.

    {} where the emulator cannot run (no compiler) or the rung does not take the case.
    """
    from gpudl.emulator import _profile

    kernel = kernels.ladder(ladder)[rung]
    seen: list[Any] = []
    real = _profile.collect

    def collect(function: Any, arguments: Any) -> Any:
        found = real(function, arguments)
        if function.module.sources[0].endswith(f"{kernel.ladder.folder}/{kernel.source}"):  # not the other kernels of the same call
            seen.append(found)
        return found

    who = Gpudl("emulator", ladder, rung)
    with mock.patch.object(_profile, "collect", collect), who.picked(), kernels.emulation(sanitize=True, profile=True):
        sample = case.shape.sample(np.random.default_rng(0), case.dtype)
        who.call(case, sample, 0)()
    lines = [line for p in seen for line in p]
    totals = {name: sum(getattr(line, name) for line in lines) for name in ("requests", "sectors", "ideal_sectors", "wavefronts", "ideal_wavefronts")}
    asked = sum(line.requests for line in lines if line.space == "global")
    return {
        "sectors_per_request": totals["sectors"] / asked if asked else 0.0,
        "sectors_over_ideal": totals["sectors"] / totals["ideal_sectors"] if totals["ideal_sectors"] else 0.0,
        "conflicts": totals["wavefronts"] / totals["ideal_wavefronts"] if totals["ideal_wavefronts"] else 0.0,
    }


def add_profiles(rows: list[dict[str, Any]], seconds: float) -> None:
    """The emulator's counts for as many rungs as the time allows, each at a small size of its own."""
    from bench import small

    end = time.monotonic() + seconds
    cases: dict[tuple[str, str], Case] = {}
    for ladder, rung, case in small.work([], 1):
        cases.setdefault((ladder, rung), case)
    for row in rows:
        case = cases.get((row["ladder"], row["rung"]))
        if case is None or time.monotonic() > end:
            continue
        with contextlib.suppress(Exception):  # no g++, or a case that the rung does not take: the columns stay empty
            row["profile"] = profile(row["ladder"], row["rung"], case) | {"shape": case.shape.label}
