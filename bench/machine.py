"""python -m bench cpu: the report page of this machine's CPU in less than five minutes, and the record that it is made of."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import ceilings, ops, records, report, structure

BUDGET = 270.0


def cpu_times() -> tuple[float, float] | None:
    """Seconds of CPU time that everybody used since the machine started, and that this process used."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        ticks = [float(x) for x in first]
        mine = os.times()
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), mine.user + mine.system + mine.children_user + mine.children_system
    except (OSError, ValueError, IndexError):
        return None


def shared(before: tuple[float, float] | None, seconds: float, cores: int) -> float | None:
    """The share of the machine's CPU time that went to others since `before`."""
    after = cpu_times()
    if before is None or after is None or seconds <= 0:
        return None
    return max(0.0, ((after[0] - before[0]) - (after[1] - before[1])) / (seconds * cores))


def training(threads: int, record: records.Record, seconds: float) -> None:
    """LeNet steps beside PyTorch, first on one thread, for which there are limits; then the process's memory over many steps."""
    from bench import cpu

    found: list[dict[str, Any]] = []
    for batch, count in ((64, 1), (256, 1), (64, threads), (256, threads)):
        if any(f["batch"] == batch and f["threads"] == count for f in found):
            continue
        start = time.monotonic()
        try:
            probe = time.monotonic()
            cpu.measure(batch, count, 1, 1)
            each = (time.monotonic() - probe) / 3
            found.append({"model": "LeNet", **cpu.measure(batch, count, max(4, min(40, int(seconds / 4 / max(each, 1e-3)))), 3)})
            cpu.report(found[-1])
        except Exception as error:
            record.data.setdefault("missing", []).append(f"LeNet B={batch}: {ops._line(error)}")
        record.data["steps"] = found
        record.save()
        seconds -= time.monotonic() - start
        if seconds < 0:
            break
    record.data["memory_flat"] = cpu.memory_apart(64, 1000)
    record.save()


def emulator(record: records.Record, seconds: float) -> None:
    """The emulator's own speed, in a process of its own (it binds itself to one CPU for a while)."""
    if not shutil.which("g++"):
        record.data.setdefault("missing", []).append("the emulator's speed: no g++")
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "emulator.json")
        command = [sys.executable, "-m", "bench", "emulator", "--rounds", "2", "--json", str(out)]
        try:
            subprocess.run(command, cwd=records.ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}, capture_output=True,
                           timeout=max(seconds, 5))  # fmt: skip
            record.data["emulator"] = json.loads(out.read_text())
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            record.data.setdefault("missing", []).append(f"the emulator's speed: {type(error).__name__}")


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench cpu", description=__doc__)
    p.add_argument("--budget", type=float, default=BUDGET, metavar="S", help="seconds for everything")
    p.add_argument("--seconds", type=float, default=0.25, help="timing of one case, shared by its contestants")
    p.add_argument("--threads", type=int, default=0, help="of everybody alike; default: all that this process may use")
    p.add_argument("--out", default="", metavar="FILE", help="the record; the page is beside it (default: bench/results/<machine>/<date>-<commit>.json)")
    p.add_argument("--pictures", default="", metavar="FOLDER", help="each picture as SVG and PNG too")
    p.add_argument("op", nargs="*", help="only these ops")
    options = p.parse_args(arguments)
    if problem := ops.unknown(options.op):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    import gpudl.optim  # noqa: F401  (its ladders)

    start, before = time.monotonic(), cpu_times()
    cores = len(records.affinity())
    threads = options.threads or cores
    ops.pin(threads)
    ceiling = ceilings.measure("cpu")
    env = records.environment("cpu", threads)
    path = Path(options.out or records.results_path(f"cpu-{env['cpu']}"))
    names = options.op or list(ops.registry())
    found = ops.by_worth(ops.cases(names, "cpu", every=bool(options.op)))
    with records.Record(path, "cpu", environment=env, ceilings=ceiling, method=ops.method("cpu", options.seconds)) as record:
        if not options.op:
            training(threads, record, options.budget / 6)
            ops.pin(threads)
            record.data["kernels"] = structure.table(structure.one_case_per_ladder(ops.registry()), options.budget / 8)
            emulator(record, options.budget / 8)
            structure.add_profiles(record.data["kernels"], options.budget / 12)
            record.save()
        left = options.budget - (time.monotonic() - start) - 8  # the page takes a few seconds
        ops.run(record, found, "cpu", options.seconds, max(left, 1.0), ceiling, rungs=False)
        record.data["shared"] = shared(before, time.monotonic() - start, cores)
    page = path.with_suffix(".html")
    report.write(record.data, page, Path(options.pictures) if options.pictures else None)
    ops.summary(record.data["rows"])
    if report.unfit(record.data):
        print("NO RATIO OF THIS RUN MAY BE QUOTED: every CPU had a thread of ours and others used the machine; run it when it is quiet, or with --threads 1")
    if record.data["shared"] is not None:
        print(f"other processes used {100 * record.data['shared']:.0f}% of the machine's CPU time while this ran")
    print(f"record: {path}\npage: {page}  ({time.monotonic() - start:.0f} s)")
    return ops.exit_code(record.data["rows"])
