"""Every rung at small sizes: what compute-sanitizer watches, and what the emulator and a GPU must agree on.

python -m bench small [ladder ...]              each rung once, on a GPU (run it under compute-sanitizer)
python -m bench small --agree --out FILE        each rung on the emulator and on the GPU, result by result
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import ops, records, shapes
from bench.contestants import Case, Gpudl, ladders, ways
from gpudl import kernels

ELEMENTS = 20_000


def work(names: list[str], sizes: int) -> Iterator[tuple[str, str, Case]]:
    """(ladder, rung, case): for each ladder the first op that launches it, at its first small sizes."""
    seen: set[str] = set()
    for op in ops.registry().values():
        small = [s for s in shapes.own(op) if s.elements <= ELEMENTS]
        for way in ways(op):
            for ladder in ladders(op, way):
                if ladder in seen or (names and ladder not in names):
                    continue
                taken = [Case(op, s, way) for s in small if way != "backward" or ops.differentiable(op, s)]
                if taken:
                    seen.add(ladder)
                for rung in kernels.ladder(ladder):
                    if rung.backend == "cuda":
                        for case in taken[:sizes]:
                            yield ladder, rung.name, case


def run_one(device: str, ladder: str, rung: str, case: Case, seed: int = 5) -> list[Any] | None:
    """Results on this device, or None where the rung does not take the case."""
    who = Gpudl(device, ladder, rung)
    before = who.launches
    runner = who.runner(case, case.inputs(seed), seed)
    found = runner.collect(runner.calls[0]())
    return found if who.ran(before) else None


def agreement(a: list[Any], b: list[Any]) -> dict[str, Any]:
    """How two results compare: the share of values that are equal bit for bit, and the largest difference over the largest value."""
    equal = total = 0
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if x is None:
            continue
        x64, y64 = np.asarray(x, np.float64), np.asarray(y, np.float64)
        same = (x64 == y64) | (np.isnan(x64) & np.isnan(y64))
        equal, total = equal + int(same.sum()), total + same.size
        if not same.all():
            with np.errstate(invalid="ignore"):
                gap = float(np.abs(x64 - y64)[~same].max())  # NaN where only one of the two is NaN
            worst = max(worst, gap / (float(np.abs(x64[np.isfinite(x64)]).max(initial=0)) or 1.0)) if gap == gap else float("inf")
    return {"equal": equal / total if total else 1.0, "worst": worst, "values": total}


def main(arguments: list[str]) -> int:
    import gpudl.optim  # noqa: F401  (its ladders)

    p = argparse.ArgumentParser(prog="python -m bench small", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("ladder", nargs="*")
    p.add_argument("--device", default="cuda")
    p.add_argument("--sizes", type=int, default=3, help="samples of each op")
    p.add_argument("--agree", action="store_true", help="against the emulator")
    p.add_argument("--out", default="")
    p.add_argument("--budget", type=float, default=1e9, metavar="S")
    options = p.parse_args(arguments)
    wrong = [n for n in options.ladder if n not in kernels.ladders()]
    if wrong:
        print(f"bench small: no ladder {wrong[0]!r}; there are {', '.join(sorted(kernels.ladders()))}", file=sys.stderr)
        return 2
    if options.device == "cuda":
        if problem := ops.have_gpu():
            print(f"bench: {problem}", file=sys.stderr)
            return 2
        import cupy

        cupy.cuda.set_allocator(None)  # one allocation for each array: a pool would hide accesses outside of them
    end = time.monotonic() + options.budget
    env = records.environment(options.device) if options.out else {}
    bad = 0
    with records.Record(options.out, "agreement" if options.agree else "small", environment=env) if options.out else contextlib.nullcontext() as record:
        for ladder, rung, case in work(options.ladder, options.sizes):
            row: dict[str, Any] = {"op": case.op.name, "ladder": ladder, "rung": rung, "way": case.way, "shape": case.shape.label}
            try:
                if time.monotonic() > end:
                    row |= {"status": "not measured", "reason": "the time budget was used up"}
                else:
                    got = run_one(options.device, ladder, rung, case)
                    if got is None:
                        continue
                    row["status"] = "ran"
                    if options.agree:
                        other = run_one("emulator", ladder, rung, case)
                        assert other is not None
                        row |= agreement(got, other)
                        row["status"] = "agrees" if row["worst"] <= 1e-5 else "differs"
            except Exception as error:
                row |= {"status": "failed", "reason": ops._line(error)}
            bad += row["status"] in ("failed", "differs")
            if record is not None:
                record.add(row)
            if row["status"] in ("failed", "differs") or not options.out:
                print(" ".join(str(v) for v in row.values()), flush=True)
    print(f"{bad} of the rungs {'differ or ' if options.agree else ''}failed" if bad else "every rung that ran is fine")
    return int(bad > 0)
