"""python -m bench tune: which rung is fastest for each class of shapes on the GPU at hand, as a table that dispatch reads before its own rules.

Every rung of every ladder runs beside what the ladder's own rule picks, in turns and checked, at the sizes of bench/shapes.py. A class of shapes
(gpudl/_tuning.py) gets an entry where one rung beats the rule's by more than noise in one case at least and loses to it in none; where several
do, the one with the largest geometric mean. All other launches keep the rule. The table lies in the user's cache folder, for this GPU and these
sources; --ship writes it into the package as well, and --record makes it from a record that `python -m bench` wrote on that GPU with these sources.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bench import clocks, contestants, ops, records, stats
from bench.contestants import Case, Gpudl
from gpudl import _dtypes, _tuning, kernels
from gpudl._launches import _Dry
from gpudl.autograd import Sample

DEEP = 6  # rungs of a ladder that take part where the first ones would take seconds a call


# ---------------------------------------------------------------------------------------------------------------------- classes of shapes
def hollow(case: Case) -> Sample:
    """The case's arguments, in arrays that nobody fills."""

    def make(a: Any) -> Any:
        if isinstance(a, list):
            return [make(x) for x in a]
        if not hasattr(a, "stub"):
            return a
        kind = a.stub(_dtypes.as_dtype(case.dtype)).dtype
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), kind).swapaxes(-1, -2) if a.transposed else np.zeros(a.shape, kind)

    return Sample(*[make(a) for a in case.shape.args], **{k: make(v) for k, v in case.shape.kwargs.items()})


def classes(case: Case, arch: int = 90, sms: int = 4) -> dict[str, set[str]]:
    """For each ladder that one call of the case launches: the classes of its launches. Nothing runs and no memory is touched."""
    where = _Dry(arch)
    where.sms = sms
    where.from_host = lambda array: array  # type: ignore[method-assign]
    found: dict[str, set[str]] = {}
    real = kernels.launch

    def launch(device: Any, ladder: str, arguments: dict[str, Any], *rest: Any, **more: Any) -> Any:
        scalars = {k: v for k, v in arguments.items() if not kernels._is_array(v)}
        dtype = next((v.dtype for k, v in arguments.items() if k not in scalars), _dtypes.float32)
        found.setdefault(ladder, set()).add(_tuning.shape_class(scalars, dtype))
        return real(device, ladder, arguments, *rest, **more)

    who = Gpudl("cpu")
    who.device = where
    nothing = mock.patch.object(kernels.Kernel, "prepare", lambda *_: lambda values: None)
    zeros = mock.patch.object(contestants, "cotangent", lambda shape, dtype, seed: np.zeros(shape, _dtypes.as_dtype(dtype)))
    with nothing, zeros, _tuning.off(), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = who.call(case, hollow(case), 0)
        with mock.patch.object(kernels, "launch", launch):
            call()
    for ladder in kernels.ladders().values():  # nothing of this device outlives its launches
        for rung in ladder:
            rung._plans = {key: plan for key, plan in rung._plans.items() if key[0] is not where}
        ladder._chosen.clear()
    return found


def candidates(case: Case, ladder: str) -> list[str]:
    """The rungs that may stand in the table: of full precision, for this dtype; of a large case only the last ones."""
    dtype = _dtypes.as_dtype(case.dtype)
    found = [r.name for r in kernels.ladder(ladder) if r.backend == "cuda" and r.precision == "ieee" and dtype in r.dtypes]
    return found[-DEEP:] if case.cost.flops > ops.SLOW else found


def tunable(case: Case, names: Iterable[str] = (), arch: int = 90, sms: int = 4) -> dict[str, str]:
    """ladder -> class, for the ladders whose rungs can be told apart by timing this case: launched in one class, with a choice of rungs.

    names: of ops, all of whose ladders count, and of ladders; empty for all. arch, sms: the GPU's, on which some sizes depend.
    """
    mine = contestants.ladders(case.op, case.way)
    launched: dict[str, set[str]] = {}
    with contextlib.suppress(TypeError):  # an op that reads its indices on the host cannot run without memory
        launched = classes(case, arch, sms)
    return {
        ladder: next(iter(found)) for ladder, found in launched.items()
        if ladder in mine and (not names or case.op.name in names or ladder in names) and len(found) == 1 and len(candidates(case, ladder)) > 1
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------------- the decision
def group(rows: list[dict[str, Any]], class_of: Callable[[dict[str, Any], str], str | None]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(ladder, class) -> for each of its cases {rung: row, "": the rule's row}; cold measurements, warm ones where there are no cold."""
    cases: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["status"] == "ok" and not row.get("opponent") and row.get("samples"):
            cases.setdefault((*(row[k] for k in ("op", "way", "shape", "dtype")), row.get("ladder_of", "")), []).append(row)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for mine in cases.values():
        cache = "cold" if any(r.get("cache") == "cold" for r in mine) else "warm"
        mine = [r for r in mine if r.get("cache", "warm") == cache]
        rule = next((r for r in mine if not r.get("rung")), None)
        for ladder in {r["ladder"] for r in mine if r.get("rung")}:
            name = class_of(mine[0], ladder)
            if rule is not None and name is not None:
                found.setdefault((ladder, name), []).append({"": rule, **{r["rung"]: r for r in mine if r.get("ladder") == ladder}})
    return found


def decide(rows: list[dict[str, Any]], class_of: Callable[[dict[str, Any], str], str | None]) -> dict[str, dict[str, dict[str, Any] | None]]:
    """ladder -> class -> the entry of the table, or None where the rule stays."""
    table: dict[str, dict[str, dict[str, Any] | None]] = {}
    for (ladder, name), cases in group(rows, class_of).items():
        best: dict[str, Any] | None = None
        for rung in set.intersection(*(set(c) for c in cases)) - {""}:
            if kernels.ladder(ladder)[rung].precision != "ieee":
                continue
            words, ratios = [], []
            for case in cases:
                verdict = stats.compare(case[rung]["samples"], case[""]["samples"], case[""].get("noise_floor") or stats.LEAST_FLOOR)
                words.append(verdict.word)
                ratios.append(verdict.ratio)
            mean = stats.geometric_mean(ratios)
            if "faster" in words and "slower" not in words and (best is None or mean > best["over_rule"]):
                best = {"rung": rung, "over_rule": float(f"{mean:.4g}"), "cases": len(cases)}
        table.setdefault(ladder, {})[name] = best
    return table


def merged(old: dict[str, dict[str, Any]], new: dict[str, dict[str, dict[str, Any] | None]]) -> dict[str, dict[str, Any]]:
    """The old table with what was measured anew: entries replaced, added, and taken away where the rule is best now."""
    out = {ladder: dict(found) for ladder, found in old.items()}
    for ladder, found in new.items():
        for name, entry in found.items():
            if entry is None:
                out.get(ladder, {}).pop(name, None)
            else:
                out.setdefault(ladder, {})[name] = entry
    return {ladder: found for ladder, found in out.items() if found}


# ------------------------------------------------------------------------------------------------------------------------------ the command
def measure(record: records.Record, found: list[Case], clock: clocks.HostClock, seconds: float, budget: float, l2: int, names: list[str],
            by_case: dict[Any, str]) -> None:  # fmt: skip
    """Rows into the record, and the class of each (op, way, shape, dtype, ladder) into by_case."""
    end = time.monotonic() + budget if budget else float("inf")
    device = Gpudl("cuda").device
    for case in found:
        if time.monotonic() > end:
            record.data.setdefault("missing", []).append(f"{case.id}: the time budget was used up")
            continue
        for ladder, name in tunable(case, names, device.arch, device.sms).items():
            players: list[Any] = [Gpudl("cuda"), *(Gpudl("cuda", ladder, rung) for rung in candidates(case, ladder))]
            with _tuning.off():
                rows = ops.measure(case, players, clock, None, seconds, l2=l2)
            by_case[(case.op.name, case.way, case.shape.label, case.dtype, ladder)] = name
            for row in rows:
                record.add({**row, "ladder_of": ladder})
                if row["status"] in ("wrong", "failed"):
                    print(ops.line(row), flush=True)
            best = min((r for r in rows if r["status"] == "ok" and r.get("rung")), key=lambda r: r["ms"]["median"], default=None)
            what = f"{best['rung']} {ops.human(best['ms']['median'])}" if best else "not measured"
            print(f"{case.id}: {ladder}: {what}", flush=True)


def from_record(path: str) -> tuple[str, list[dict[str, Any]], Callable[[dict[str, Any], str], str | None]]:
    """(GPU, rows, class of a row's ladder) of a record; ValueError where no table can be made from it."""
    data = records.load(path)
    gpu = data.get("environment", {}).get("gpu", {}).get("name", "")
    if not gpu or data.get("rehearsal"):
        raise ValueError(f"{path}: not measured on a GPU")
    if data.get("sources") != _tuning.source_hash():
        raise ValueError(f"{path}: measured with other kernels or records than these (sources {data.get('sources')}, here {_tuning.source_hash()})")
    if not data.get("multiprocessors"):
        raise ValueError(f"{path}: does not say how many multiprocessors the GPU has")
    if data.get("tuned"):
        raise ValueError(f"{path}: its rule's rows ran what a table named; measure with GPUDL_TUNED=0")
    known = {c.id: c for c in ops.cases(ops.registry(), "cuda", large=True)} | {
        c.id: c for d in sorted({r["dtype"] for r in data["rows"]} - {"float32"}) for c in ops.cases(ops.registry(), "cuda", d, large=True)
    }
    cache: dict[str, dict[str, str]] = {}

    def class_of(row: dict[str, Any], ladder: str) -> str | None:
        name = f"{row['op']} {row['way']} {row['shape']} {row['dtype']}"
        if name in known and name not in cache:
            cache[name] = tunable(known[name], (), *data["multiprocessors"])
        return cache.get(name, {}).get(ladder)

    return gpu, data["rows"], class_of


def show(gpu: str) -> None:
    for path in (_tuning.user_path(gpu), _tuning.shipped_path(gpu)):
        table = _tuning.load(path, gpu)
        print(f"{path}: {sum(map(len, table.values()))} classes of shapes" if table else f"{path}: none, or not for these sources")
        for ladder, found in sorted(table.items()):
            for name, entry in sorted(found.items()):
                print(f"  {ladder:28} {entry['rung']:20} {entry['over_rule']:.2f}x the rule's  {name}")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", metavar="op or ladder", help="matmul, softmax.forward, ...; everything without one")
    p.add_argument("--dtype", default="float32", choices=["float32", "float64", "float16", "bfloat16"])
    p.add_argument("--seconds", type=float, default=0.3, help="time for each case, shared by its rungs")
    p.add_argument("--budget", type=float, default=0, metavar="S", help="stop starting cases after this many seconds")
    p.add_argument("--ship", action="store_true", help="write the table into the package too (gpudl/tuned), for everybody with this GPU")
    p.add_argument("--record", default="", metavar="FILE", help="measure nothing: make the table from this record of `python -m bench`")
    p.add_argument("--show", action="store_true", help="the tables that are in force here")
    p.add_argument("--out", default="", metavar="FILE", help="keep the measurements as a record too")
    p.add_argument("--rehearse", action="store_true", help="at tiny sizes on a stand-in for a GPU: everything runs, nothing is measured, no table is written")
    return p


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    import gpudl.optim  # noqa: F401  (its ladders)

    if options.rehearse:
        from bench import rehearsal

        os.environ["GPUDL_BENCH_REHEARSAL"] = "1"
        rehearsal.install()
    names = [n for n in options.names if n in kernels.ladders()]
    wanted = [n for n in options.names if n not in names]
    if problem := ops.unknown(wanted):
        print(f"bench tune: {problem}; ladders: {', '.join(sorted(kernels.ladders()))}", file=sys.stderr)
        return 2
    if options.record:
        try:
            gpu, rows, class_of = from_record(options.record)
        except (OSError, ValueError) as error:
            print(f"bench tune: {error}", file=sys.stderr)
            return 2
        return write(gpu, decide(rows, class_of), options.ship)
    if problem := ops.have_gpu():
        print(
            f"bench tune: {problem}. There is nothing to measure here, and every ladder follows its own rule. --rehearse runs everything on a stand-in; "
            "--record FILE makes the table from a record of a GPU", file=sys.stderr,
        )  # fmt: skip
        return 2
    gpu = _tuning.gpu_name(Gpudl("cuda").device)
    if options.show:
        show(gpu)
        return 0
    op_names = [n for n, op in ops.registry().items() if not options.names or n in wanted or set(names) & set(ops.ladders_of(op))]
    found = ops.by_worth(ops.cases(op_names, "cuda", options.dtype, large=True))
    by_case: dict[Any, str] = {}
    stopped = False
    with contextlib.ExitStack() as stack:
        path = Path(options.out) if options.out else records.scratch(stack) / "tune.json"
        record = stack.enter_context(records.Record(path, "tune", environment=records.environment("cuda"), sources=_tuning.source_hash()))
        try:
            measure(record, found, ops.clock_for("cuda"), options.seconds, options.budget, ops.l2_bytes("cuda"), options.names, by_case)
        except KeyboardInterrupt:
            stopped = True
            print("interrupted; what was measured counts", file=sys.stderr)
        rows = record.data["rows"]
    bad = 130 if stopped else ops.exit_code(rows)
    if clocks.REHEARSAL or not gpu:
        print(f"{len(rows)} results at {len(by_case)} pairs of case and ladder were checked. A rehearsal: nothing was measured, no table is written")
        return bad

    def class_of_row(row: dict[str, Any], ladder: str) -> str | None:
        return by_case.get((row["op"], row["way"], row["shape"], row["dtype"], ladder))

    return write(gpu, decide(rows, class_of_row), options.ship) or bad


def write(gpu: str, table: dict[str, dict[str, dict[str, Any] | None]], ship: bool) -> int:
    """Merge what was decided into the user's table, and into the shipped one where that is asked for."""
    entries = sum(e is not None for found in table.values() for e in found.values())
    print(f"{sum(map(len, table.values()))} classes of shapes were measured; in {entries} of them a rung beats the ladder's own rule")
    facts = {"made": records.now(), "commit": records.commit()[0]}
    for path in [_tuning.user_path(gpu), *([_tuning.shipped_path(gpu)] if ship else [])]:
        _tuning.save(path, gpu, merged(_tuning.load(path, gpu), table), **facts)
        print(f"table: {path}")
    return 0
