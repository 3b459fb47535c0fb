"""python -m bench [op ...]: every op and rung of the registry, checked, then timed beside its opponents."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np

from bench import check, clocks, contestants, optimisers, records, shapes, stats
from bench.contestants import Case, Contestant, Gpudl
from gpudl import _dtypes, _tuning
from gpudl.autograd import Cost, Op

# What is measured first, and at all its sizes; the others follow at two sizes each. By how much of a training step they are.
HEADLINE = ["matmul", "linear", "conv2d", "conv2d_dgrad", "conv2d_wgrad", "conv2d_relu_max_pool2d", "max_pool2d", "avg_pool2d", "batch_norm",
            "batch_norm_relu", "relu", "add", "mul", "softmax", "log_softmax", "cross_entropy", "sum", "mean", "exp", "gelu", "copy", "adam"]  # fmt: skip
SLOW = 3e10  # FLOPs above which only the last rungs of a ladder run: the first ones would take seconds a call
EMULATED = (20_000, 3e6)  # elements and FLOPs that the emulator computes in reasonable time
MOST_COPIES = 128  # of the inputs, which rotate through twice the L2; a case that would need more is measured warm, and says so


def registry() -> dict[str, type[Op]]:
    """The ops and optimisers by name, the headline's first; a view touches no memory, so there is nothing to measure."""
    found = {n: op for n, op in Op.registry.items() if "samples" in vars(op) and hasattr(op, "cost") and not getattr(op, "view", False)}
    found |= cast(Any, optimisers.REGISTRY)
    first = [n for n in HEADLINE if n in found]
    return {n: found[n] for n in [*first, *sorted(set(found) - set(first))]}


def differentiable(op: type[Op], shape: shapes.Shape) -> bool:
    """Whether a gradient is worth asking for: derivatives of conv2d are ops of their own; comparisons have none."""
    if not shape.grad or getattr(op, "differentiable", True) is False or op.name in ("floor_divide", "trunc_divide", "conv2d", "copy"):
        return False
    samples = [s for s in op.samples(np.random.default_rng(0))]  # type: ignore[attr-defined]
    return any(s.options.get("grad", True) for s in samples) and any(a.draw == "uniform" for a in shape.arrays)


def cases(names: Iterable[str], device: str, dtype: str = "float32", large: bool = False, every: bool = True, select: str = "") -> Iterator[Case]:
    """The cases of these ops on this device; every: all sizes of ops outside the headline too. select: words that label or tags must have."""
    for name in names:
        op = registry()[name]
        grid = shapes.grid(op)
        if device == "emulator" or clocks.REHEARSAL:
            small = [s for s in grid if s.elements <= EMULATED[0] and Case(op, s).cost.flops <= EMULATED[1]]
            grid = small or [s for s in shapes.own(op) if s.elements <= EMULATED[0]][:2]
        elif device == "cpu" and not large:
            grid = [s for s in grid if "large" not in s.tags] or grid[:1]
        if not every and name not in HEADLINE:
            grid = [s for s in grid if "lenet" in s.tags or "ragged" in s.tags][:2] or grid[:1]
        for shape in grid:
            if select and not all(w in shape.label or w in shape.tags for w in select.split()):
                continue
            yield Case(op, shape, contestants.ways(op)[0], dtype)
            if differentiable(op, shape):
                yield Case(op, shape, "backward", dtype)


def by_worth(found: Iterable[Case]) -> list[Case]:
    """Every op at its first size, then every op at its second, ...: a budget that ends early has seen all ops. The headline's come first."""
    ranks: dict[str, dict[str, int]] = {}
    ordered = []
    for i, case in enumerate(found):
        sizes = ranks.setdefault(case.op.name, {})
        ordered.append((sizes.setdefault(case.shape.label, len(sizes)), i, case))
    return [case for _, _, case in sorted(ordered, key=lambda o: o[:2])]


# --------------------------------------------------------------------------------------------------------------------------- one case
def base_row(case: Case, who: Contestant, device: str) -> dict[str, Any]:
    row = {
        "op": case.op.name, "family": shapes.family(case.op), "way": case.way, "shape": case.shape.label, "tags": sorted(case.shape.tags), "dtype": case.dtype,
        "contestant": who.name, "opponent": who.opponent, "precision": who.precision if case.dtype == "float32" else case.dtype, "device": device,
        "status": "ok",
    }  # fmt: skip
    if isinstance(who, Gpudl) and who.rung:
        row |= {"ladder": who.ladder, "rung": who.rung}
    if who.note:
        row["note"] = who.note
    return row


def fresh_seed() -> int:
    return int.from_bytes(os.urandom(4), "little")


def verify(who: Contestant, case: Case, sample: Any, seed: int, want: list[Any], on_gpu: bool = False) -> tuple[check.Judgement, Any]:
    """The case twice on poisoned memory (a result that changes from run to run is a race), against the reference."""
    before = who.launches if isinstance(who, Gpudl) else 0
    with who.poisoned():
        try:
            runner = who.runner(case, sample, seed)
            first = runner.collect(runner.outcome())
        except NotImplementedError as error:
            if isinstance(who, Gpudl) and who.rung:
                raise _NotTaken(f"{who.ladder}/{who.rung}: {error}") from error
            raise
        second = runner.collect(runner.outcome())
    if isinstance(who, Gpudl) and not who.ran(before):
        raise _NotTaken(f"{who.ladder}/{who.rung} does not take this size")
    verdicts = [judge(case, got, want, on_gpu, who.precision) for got in (first, second)]
    return next((v for v in verdicts if not v.ok), verdicts[1]), runner


class _NotTaken(Exception):
    pass


def judge(case: Case, got: list[Any], want: list[Any], on_gpu: bool = False, precision: str = "ieee") -> check.Judgement:
    if case.way == "step":  # of all parameters together: one that an update brings near zero has the error of what it was
        count = len(case.shape.args[0])
        got, want = ([np.concatenate([np.ravel(a) for a in found[i : i + count]]) for i in range(0, len(found), count)] for found in (got, want))
        return check.judge(got, want, case.dtype, 0, 0, False, _arrays(want, on_gpu), True, precision)
    kinked = case.way == "backward" and (case.op.name in check.KINKED or case.op.name == "linear" and len(case.shape.args) > 3)
    largest = max((a.size for a in case.shape.arrays), default=1)
    return check.judge(got, want, case.dtype, case.length, largest, kinked, _arrays(want, on_gpu), case.way == "backward", precision)


def _arrays(want: list[Any], on_gpu: bool) -> Any:
    """The module that compares these results."""
    if on_gpu and sum(w.size for w in want if w is not None) > 1 << 20:
        import cupy

        return cupy
    return np


def memory_needed(case: Case, device: str) -> int:
    """Bytes at the height of one case: inputs, outputs and gradients in its dtype, and the reference in float64 beside them."""
    plain = case.input_bytes + max(case.cost.bytes - case.input_bytes, 0)
    return int((5 if case.way == "backward" else 3) * plain + (8 / _dtypes.as_dtype(case.dtype).itemsize) * 3 * plain)


def measure(
    case: Case, players: list[Contestant], clock: clocks.HostClock, ceilings: dict[str, Any] | None = None, seconds: float = 0.5, seed: int | None = None,
    l2: int = 0, say: Callable[[str], None] | None = None, timing: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of one case: every contestant that takes it and computes it rightly gets a speed, the others a reason."""
    device = next((str(p.device.type) for p in players if isinstance(p, Gpudl)), "cpu")
    seed = fresh_seed() if seed is None else seed
    rows = [base_row(case, who, device) for who in players]
    for row in rows:
        row["seed"] = seed
    try:
        needed, there = memory_needed(case, device), available(device)
        if needed > there:
            raise MemoryError(f"needs about {needed / 2**30:.1f} GiB, {there / 2**30:.1f} GiB are free")
        sample = case.inputs(seed)
        want = contestants.reference(case, sample, seed, device)
    except MemoryError as error:
        return [row | {"status": "skipped", "reason": f"memory: {error}"} for row in rows]
    except Exception as error:
        return [row | {"status": "failed", "reason": f"the float64 reference failed: {_line(error)}"} for row in rows]

    ready: list[tuple[int, Any]] = []
    for i, (who, row) in enumerate(zip(players, rows)):
        missing = who.missing() or who.refuses(case)
        if missing:
            row |= {"status": "skipped", "reason": missing}
            continue
        try:
            verdict, runner = verify(who, case, sample, seed, want, device == "cuda")
        except _NotTaken as error:
            row |= {"status": "skipped", "reason": str(error)}
            continue
        except Exception as error:
            row |= {"status": "failed", "reason": _line(error)}
            continue
        row["error"] = {"relative": verdict.relative, "worst": verdict.worst}
        if not verdict.ok:
            row |= {"status": "wrong", "reason": verdict.why}
            continue
        ready.append((i, runner))
    if device == "emulator" or not timing:
        for i, _ in ready:
            why = "not measured: no GPU; the emulator's time says nothing about one" if device == "emulator" else "not timed"
            rows[i] |= {"status": "checked", "reason": why}
        return rows
    if not ready:
        return rows

    floor = case.floor(want, case.input_bytes)
    ours = next((runner for i, runner in ready if isinstance(players[i], Gpudl)), None)
    if case.way == "backward" and ours is not None and Gpudl.views(ours.calls[0]()):
        floor = Cost(bytes=0, flops=0)  # a view has no bandwidth
    modes = ["warm"]
    copies = 1
    if l2:
        copies = max(1, math.ceil(2 * l2 / max(floor.bytes, 1)))
        modes = ["cold"] if copies == 1 else ["cold", "warm"] if copies <= MOST_COPIES else ["warm"]  # what is tiny cannot be rotated out
    results = []
    for mode in modes:
        results += _timed(case, mode, copies if mode == "cold" else 1, players, rows, ready, clock, seconds / len(modes), sample, seed, floor, ceilings, want)
    if device == "cuda":
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()  # PyTorch has a pool of its own
    return [r for r in rows if r["status"] not in ("ok",)] + results


def _timed(
    case: Case, mode: str, copies: int, players: list[Contestant], rows: list[dict[str, Any]], ready: list[tuple[int, Any]], clock: clocks.HostClock,
    seconds: float, sample: Any, seed: int, floor: Any, ceilings: dict[str, Any] | None, want: list[Any],
) -> list[dict[str, Any]]:  # fmt: skip
    entries: list[tuple[dict[str, Any], Contestant, Any, clocks.Timed]] = []
    out: list[dict[str, Any]] = []
    for i, runner in ready:
        row = dict(rows[i], cache=mode)
        try:
            if copies > 1:
                runner = players[i].runner(case, sample, seed, copies)
            timed = clock.timed(runner)
            entries.append((row, players[i], runner, timed))
        except Exception as error:
            out.append(row | {"status": "failed", "reason": _line(error)})
    if not entries:
        return out
    before = records.gpu_facts() if clock.device == "cuda" else {}
    main = next((k for k, e in enumerate(entries) if not e[1].opponent), 0)
    try:
        # The first of ours runs a second time at the other end of the row: how far it lies from itself is the noise floor.
        samples = clocks.race(clock, [e[3] for e in entries] + [entries[main][3]], seconds)
    except Exception as error:
        return out + [row | {"status": "failed", "reason": f"while it was timed: {_line(error)}"} for row, *_ in entries]
    floor_noise = stats.noise_floor(samples[main], samples[-1])
    after = records.gpu_facts() if clock.device == "cuda" else {}

    # Checked again: what the clock ran, on other inputs than before, must still be right.
    second = fresh_seed()
    again = case.inputs(second)
    want_again = contestants.reference(case, again, second, clock.device)
    by_name: dict[str, list[float]] = {}
    for (row, who, runner, timed), values in zip(entries, samples):
        verdict = recheck(who, case, again, second, want_again, runner, timed, want, clock)
        if not verdict.ok:
            out.append(row | {"status": "wrong", "reason": f"after it was timed: {verdict.why}"})
            continue
        best = stats.summary(values)
        row["ms"] = best._asdict()
        row["samples"] = values
        row["noise_floor"] = floor_noise if math.isfinite(floor_noise) else None
        row["launch"] = timed.how
        row["bytes"], row["flops"] = floor.bytes, floor.flops
        row["gb_s"] = floor.bytes / best.median / 1e6
        row["tflop_s"] = floor.flops / best.median / 1e9
        row |= share(floor, best.median, ceilings, case) if floor.bytes or floor.flops else {}
        row["error"]["relative"] = max(row["error"]["relative"], verdict.relative)
        row["error"]["worst"] = max(row["error"]["worst"], verdict.worst)
        if before:
            row["clocks"] = {"before": before, "after": after}
        if clock.device == "cuda":
            row["host_us"] = clocks.host_time(runner.calls[0], clock.synchronize, 20)
        by_name[who.name] = values
        out.append(row)
    if clocks.REHEARSAL:
        for row in out:
            if row["status"] == "ok":
                for name in ("ms", "samples", "gb_s", "tflop_s", "share", "bound", "host_us", "noise_floor"):
                    row.pop(name, None)
                row |= {"status": "checked", "reason": "not measured: a rehearsal without a GPU"}
        return out
    for row in out:
        if row["status"] == "ok" and not row["opponent"]:
            row["against"] = {}
            for (other, *_), values in zip(entries, samples):
                if other["opponent"] and other["contestant"] in by_name and other["precision"] == row["precision"]:
                    row["against"][other["contestant"]] = stats.compare(by_name[row["contestant"]], values, max(floor_noise, stats.LEAST_FLOOR))._asdict()
    return out


def recheck(who: Contestant, case: Case, again: Any, seed: int, want_again: list[Any], runner: Any, timed: clocks.Timed, want: list[Any], clock: Any) -> Any:
    """After timing: the code on fresh inputs; and, where a graph was timed, what that very graph writes when it runs once more over NaN."""
    try:
        verdict, _ = verify(who, case, again, seed, want_again, clock.device == "cuda")
        if verdict.ok and runner.steps:
            return restarted(who, case, runner, timed, want, clock)
        if verdict.ok and timed.how == "graph" and runner.wipe is not None:
            for raw in timed.outputs:
                runner.wipe(raw)
            timed.once()
            clock.synchronize()
            for raw in timed.outputs[:: max(1, len(timed.outputs) // 3)]:
                verdict = judge(case, runner.collect(raw), want, clock.device == "cuda", who.precision)
                if not verdict.ok:
                    return verdict
        return verdict
    except Exception as error:
        return check.Judgement(False, math.inf, math.inf, _line(error))


def restarted(who: Contestant, case: Case, runner: Any, timed: clocks.Timed, want: list[Any], clock: Any) -> check.Judgement:
    """The very optimiser that was timed, from the start again: some steps against the reference, and what its graph makes of the start
    against as many single steps."""
    on_gpu = clock.device == "cuda"
    verdict = judge(case, runner.collect(runner.outcome()), want, on_gpu, who.precision)
    if not verdict.ok or timed.how != "graph":
        return verdict
    runner.steps[0].restart()
    timed.once()
    clock.synchronize()
    got = runner.collect(timed.outputs[0])
    alone = runner.collect(runner.outcome(-(-timed.count // len(runner.calls))))  # the first copy of the parameters has had so many
    if not all(np.isfinite(a.astype(np.float64)).all() for a in alone):
        return check.Judgement(False, math.inf, math.inf, "the steps of a graph end in values that are not finite")
    return judge(case, got, alone, on_gpu, who.precision)


def peak(ceilings: dict[str, Any], case: Case) -> float:
    """TFLOP/s that there are for this case: tensor cores where halves are multiplied and added, multiply-add units otherwise."""
    tensor = max(ceilings.get("wgmma_bf16_tflop_s") or 0.0, ceilings.get("mma_bf16_tflop_s") or 0.0)
    halves = case.dtype in ("float16", "bfloat16") and shapes.family(case.op) in ("matmul", "convolution")
    return tensor if halves and tensor else ceilings["fma_tflop_s"]


def share(floor: Any, ms: float, ceilings: dict[str, Any] | None, case: Case) -> dict[str, Any]:
    """How much of the roofline: the time that the machine's ceilings allow over the time it took, and which ceiling that is."""
    if not ceilings or not ceilings.get("copy_gb_s") or not ceilings.get("fma_tflop_s"):
        return {}
    memory, compute = floor.bytes / ceilings["copy_gb_s"] / 1e6, floor.flops / peak(ceilings, case) / 1e9
    return {"share": max(memory, compute) / ms, "bound": "memory" if memory >= compute else "compute"}


def available(device: str) -> int:
    if device == "cuda":
        with contextlib.suppress(Exception):
            import cupy

            free, _ = cupy.cuda.runtime.memGetInfo()
            return int(free) + int(cupy.get_default_memory_pool().free_bytes())
    return records.available_memory()


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300] if text else ''}"


# ------------------------------------------------------------------------------------------------------------------------------ printing
def human(ms: float) -> str:
    return f"{ms * 1e3:.2f} us" if ms < 0.1 else f"{ms:.3f} ms" if ms < 100 else f"{ms / 1e3:.3f} s"


def speed(row: dict[str, Any]) -> str:
    if not row["bytes"] and not row["flops"]:
        return "a view"
    return f"{row['gb_s']:.1f} GB/s" if row.get("bound", "memory") == "memory" or not row["flops"] else f"{row['tflop_s']:.3f} TFLOP/s"


def line(row: dict[str, Any]) -> str:
    head = f"{row['op']:22} {row['way']:8} {row['shape']:30} {row['contestant']:26}"
    if row["status"] != "ok":
        return f"{head} {row['status'].upper() if row['status'] in ('wrong', 'failed') else row['status']}: {row['reason']}"
    ms = row["ms"]
    words = f"{human(ms['median']):>11} [{human(ms['p20'])}, {human(ms['p80'])}]  {speed(row):>15}"
    words += f"  {100 * row['share']:4.0f}%" if row.get("share") else ""
    words += f"  err {row['error']['relative']:.1e} {row['precision']}"
    if not row["opponent"]:
        words += "  " + ", ".join(f"{v['ratio']:.2f}x {n}{' (tie)' if v['word'] == 'tie' else ''}" for n, v in row.get("against", {}).items())
    return f"{head} {words}"


def exit_code(rows: Iterable[dict[str, Any]]) -> int:
    return int(any(r["status"] in ("wrong", "failed") and not r.get("opponent") for r in rows))


def clock_for(device: str) -> clocks.HostClock:
    return clocks.CudaClock() if device == "cuda" else clocks.HostClock()


def l2_bytes(device: str) -> int:
    if device != "cuda":
        return 0
    import cupy

    return int(cupy.cuda.Device().attributes.get("L2CacheSize", 0))


def unknown(names: Iterable[str]) -> str:
    import difflib

    wrong = [n for n in names if n not in registry()]
    if not wrong:
        return ""
    near = difflib.get_close_matches(wrong[0], registry(), 2, 0.75)
    return f"no op {wrong[0]!r} in the registry" + (f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(registry())}")


def pin(threads: int) -> None:
    """The same number of threads for everybody: the process is bound to that many CPUs, and every pool is told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(records.affinity())[:threads])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    with contextlib.suppress(ImportError):
        import threadpoolctl

        pin.limits = threadpoolctl.threadpool_limits(threads)  # type: ignore[attr-defined]
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(threads)
    with contextlib.suppress(Exception):
        import numba

        numba.set_num_threads(threads)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    p.add_argument("op", nargs="*", help="names of ops, such as matmul or softmax; all without one")
    p.add_argument("--device", default="", choices=["", "cpu", "cuda", "emulator"], help="default: cuda where there is a GPU, else cpu")
    p.add_argument("--dtype", default="float32", choices=["float32", "float64", "float16", "bfloat16"])
    p.add_argument("--shape", default="", metavar="WORDS", help="only sizes whose label or tags have these words: lenet, ragged, 1024x1024, ...")
    p.add_argument("--seconds", type=float, default=0.5, help="time for each case, shared by its contestants")
    p.add_argument("--budget", type=float, default=0, metavar="S", help="stop starting cases after this many seconds; what is left is listed as not measured")
    p.add_argument("--threads", type=int, default=0, help="CPU threads of everybody (default: all)")
    p.add_argument("--large", action="store_true", help="the largest sizes on a CPU too")
    p.add_argument("--no-rungs", action="store_true", help="only what dispatch picks, not every rung")
    p.add_argument("--no-opponents", action="store_true")
    p.add_argument("--sanitize", action="store_true", help="on the emulator: under the sanitizer")
    p.add_argument("--out", default="", metavar="FILE", help="the record (default: bench/results/<machine>/<date>-<commit>.json)")
    p.add_argument("--compile", action="store_true", help="torch.compile as an opponent: the strongest, but tens of seconds of compiling for each case")
    p.add_argument("--resume", action="store_true", help="go on with the record that --out names: what it has measured is not measured again")
    p.add_argument("--list", action="store_true", help="the ops and how many sizes each has")
    return p


def have_gpu() -> str:
    """"" where a GPU can be used, else one line."""
    try:
        import cupy

        return "" if cupy.cuda.runtime.getDeviceCount() else "no GPU"
    except Exception as error:
        return f"no usable GPU ({_line(error)}); python -m gpudl info tells more"


def main(arguments: list[str]) -> int:
    import gpudl.optim  # noqa: F401  (its ladders)

    options = parser().parse_args(arguments)
    if problem := unknown(options.op):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    if options.list:
        for name, op in registry().items():
            print(f"{name:24} {shapes.family(op):12} {len(shapes.grid(op))} sizes; ladders: {', '.join(ladders_of(op)) or 'none (no kernel of its own)'}")
        return 0
    device = options.device or ("cpu" if have_gpu() else "cuda")
    if device == "cuda" and (problem := have_gpu()):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    if options.threads:
        pin(options.threads)
    from bench import ceilings

    ceiling = ceilings.measure(device) if device != "emulator" else {}
    env = records.environment(device, options.threads or len(records.affinity()))
    machine = env.get("gpu", {}).get("name") if device == "cuda" else f"cpu-{env['cpu']}"
    path = options.out or str(records.results_path(machine or "emulator", "" if not options.op else "-".join(options.op)[:40]))
    found = list(cases(options.op or registry(), device, options.dtype, options.large, True, options.shape))
    if device == "cuda":
        found = by_worth(found)
    facts = {"environment": env, "ceilings": ceiling, "method": method(device, options.seconds), "sources": _tuning.source_hash()}
    if device == "cuda":
        facts["multiprocessors"] = [Gpudl(device).device.arch, Gpudl(device).device.sms]  # compute capability, and how many: dispatch looks at both
    facts["tuned"] = sum(map(len, _tuning.read(_tuning.gpu_name(Gpudl(device).device)).values()))  # classes of shapes that a table decides
    with records.Record(path, "ops", options.resume, **facts) as record:
        known = len(record.data["rows"])
        run(
            record, found, device, options.seconds, options.budget, ceiling, rungs=not options.no_rungs, against=not options.no_opponents,
            sanitize=options.sanitize, compiled=options.compile,
        )  # fmt: skip
    print(f"record: {path}")
    summary(record.data["rows"])
    return exit_code(record.data["rows"][known:])


def ladders_of(op: type[Op]) -> list[str]:
    return [name for way in contestants.ways(op) for name in contestants.ladders(op, way)]


def method(device: str, seconds: float) -> dict[str, Any]:
    clock = clocks.CudaClock.unit if device == "cuda" else clocks.HostClock.unit
    return {
        "clock": clock, "seconds_per_case": seconds, "sample_ms": clocks.SAMPLE_MS, "least_rounds": clocks.LEAST_ROUNDS, "confidence": stats.CONFIDENCE,
        "order": "A B C, C B A, ... in one process; the first of gpudl's runs a second time at the end of each round: the noise floor",
        "inputs": "uniform random, the same arrays for everybody, fresh for every check",
        "check": "twice before timing and twice after, on memory filled with NaN, against float64",
    }  # fmt: skip


def run(
    record: records.Record, found: list[Case], device: str, seconds: float, budget: float, ceiling: dict[str, Any], rungs: bool = True, against: bool = True,
    sanitize: bool = False, quiet: bool = False, timing: bool = True, compiled: bool = False,
) -> None:  # fmt: skip
    """Measure the cases into the record; those that the budget does not reach are listed as not measured."""
    clock = clock_for(device) if device != "emulator" else clocks.HostClock()
    l2 = l2_bytes(device)
    others = contestants.opponents(device, compiled) if against else []
    done = {tuple(r.get(k) for k in ("op", "way", "shape", "dtype")) for r in record.data["rows"]}  # of an earlier run that this one goes on with
    for who in list(others):
        if missing := who.missing():
            others.remove(who)
            if missing not in record.data.setdefault("missing", []):
                record.data["missing"].append(missing)
                print(f"without {who.name}: {missing}")
    end = time.monotonic() + budget if budget else math.inf
    for case in found:
        if (case.op.name, case.way, case.shape.label, case.dtype) in done:
            continue
        if time.monotonic() > end:
            record.add({**base_row(case, Gpudl("cpu"), device), "status": "not measured", "reason": "the time budget was used up"})
            continue
        players: list[Contestant] = [Gpudl(device, sanitize=sanitize)]
        if rungs and device != "cpu":
            players += contestants.rungs(case, device, sanitize, last=2 if case.cost.flops > SLOW else 0)
        players += [o for o in others if case.way in o.ways]
        for row in measure(case, players, clock, ceiling, seconds, l2=l2, timing=timing):
            record.add(row)
            if not quiet and not (row["status"] == "skipped" and row["opponent"]):
                print(line(row), flush=True)


def summary(rows: list[dict[str, Any]]) -> None:
    """Geometric means over the whole grid, the worst case named."""
    for name, facts in means(rows).items():
        print(f"geometric mean over {facts['count']} cases, {name}: {facts['mean']:.2f}x; worst {facts['worst']:.2f}x at {facts['worst_case']}")
    counts = {s: sum(r["status"] == s for r in rows) for s in ("ok", "checked", "wrong", "failed", "skipped", "not measured")}
    print(", ".join(f"{n} {s}" for s, n in counts.items() if n))


def means(rows: list[dict[str, Any]], contestant: str = "gpudl") -> dict[str, dict[str, Any]]:
    """Per opponent: the geometric mean of the ratios, how many faster, slower and ties, and the worst case."""
    found: dict[str, list[tuple[float, str, str]]] = {}
    for r in rows:
        if r["status"] == "ok" and r["contestant"] == contestant and r.get("cache", "warm") in ("cold", "warm"):
            for name, v in r.get("against", {}).items():
                found.setdefault(name, []).append((v["ratio"], f"{r['op']} {r['way']} {r['shape']}", v["word"]))
    return {
        name: {
            "count": len(v), "mean": stats.geometric_mean([x[0] for x in v]), "worst": min(v)[0], "worst_case": min(v)[1], "best": max(v)[0],
            "best_case": max(v)[1], **{w: sum(x[2] == w for x in v) for w in ("faster", "slower", "tie")},
        }
        for name, v in found.items()
    }  # fmt: skip


