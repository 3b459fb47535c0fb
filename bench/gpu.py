"""make gpu: all that one stay on a machine with a GPU should bring, in the order of its worth, each part within its share of the time.

Every part runs in a process of its own (a crash ends that part alone) and writes into one folder of at most eight files: run.json (what ended
how), ops.json, accumulate.json, agreement.json, models.json, tests.log, sanitizer.log, report.html. Started again with the same folder it goes on
where it stopped. It needs no network; it never changes clocks, power or any other setting.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import ops, records, report

FILES = ("run.json", "ops.json", "accumulate.json", "agreement.json", "models.json", "tests.log", "sanitizer.log", "report.html")
LIMIT = 16 * 2**20  # bytes of one file
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
KEEP = 25.0  # seconds that the page takes, and compiling every rung for its registers


@dataclass
class Part:
    """One part: share of the whole time, the least seconds with which it is worth starting, the command, and the log that its output is added to."""

    name: str
    what: str
    share: float
    least: float
    command: list[str]
    log: str = ""
    env: dict[str, str] = field(default_factory=dict)
    needs: str = ""  # why it cannot run here, or ""


def bench(*arguments: str) -> list[str]:
    return [sys.executable, "-u", "-m", "bench", *arguments]


def parts(folder: Path, rehearse: bool) -> list[Part]:
    """What is to be done, the most valuable first. "{left}" in a command becomes the seconds that the part has."""
    at = lambda name: str(folder / name)  # noqa: E731
    tests = ["-m", "pytest", "-m", "gpu", "-q", "--maxfail=50", "-p", "no:cacheprovider", str(records.ROOT / "tests")]
    if importlib.util.find_spec("xdist"):  # one after another they take longer than the part has
        tests += ["-n", str(max(1, min(8, (os.cpu_count() or 1) // 2)))]
    sanitizer = shutil.which("compute-sanitizer") or next(iter(map(str, Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))), "")
    compiler = "" if shutil.which("g++") else "no g++: the emulator compiles kernels with it"
    pytest = "" if importlib.util.find_spec("pytest") else "pytest is not installed"
    quick = ["--seconds", "0.3"]
    found = [
        Part("first question", "error of tensor-core accumulation, promoted and not", 0.08, 15,
             bench("accumulate", "--out", at("accumulate.json"), "--budget", "{left}", *(["--K", "64", "--size", "16"] if rehearse else []))),
        Part("headline", "matmul, convolution, normalisation, softmax, losses: every rung beside PyTorch", 0.34, 40,
             bench(*ops.HEADLINE, "--device", "cuda", "--out", at("ops.json"), "--resume", "--budget", "{left}", *quick)),
        Part("noise", "one kernel against a copy of itself, twenty times", 0.01, 12, bench("noise", "--device", "cuda")),
        Part("tests", "the GPU tests of every op and rung", 0.16, 30, [sys.executable, *tests], "tests.log", needs=pytest),
        *(Part(f"sanitizer: {tool}", f"compute-sanitizer --tool {tool} over every rung at small sizes", 0.05, 20,
               [sanitizer or "compute-sanitizer", "--tool", tool, "--error-exitcode", "86", "--print-limit", "5", *bench("small", "--sizes", "1")],
               "sanitizer.log", needs="" if sanitizer else "compute-sanitizer is not installed") for tool in TOOLS),
        Part("models", "training steps of LeNet, a small CNN, an MLP and ResNet-18 beside PyTorch; time to 99% on MNIST", 0.12, 25,
             bench("train", "--device", "cuda", "--seconds", "2", "--mnist", "--out", at("models.json"), "--budget", "{left}")),
        Part("agreement", "the emulator and the GPU, rung by rung", 0.06, 20,
             bench("small", "--agree", "--sizes", "1", "--out", at("agreement.json"), "--budget", "{left}"), needs=compiler),
        Part("all ops", "the rest of the registry", 0.12, 30,
             bench("--device", "cuda", "--out", at("ops.json"), "--resume", "--budget", "{left}", *quick)),
        Part("halves", "matmul, convolution and softmax in bfloat16", 0.05, 30,
             bench("matmul", "conv2d", "linear", "softmax", "--device", "cuda", "--dtype", "bfloat16", "--out", at("ops.json"), "--resume",
                   "--budget", "{left}", *quick)),
        Part("compile", "torch.compile beside the headline", 1.0, 60,
             bench("softmax", "batch_norm", "cross_entropy", "gelu", "--device", "cuda", "--compile", "--no-rungs", "--dtype", "float32", "--shape", "large",
                   "--out", at("ops.json"), "--resume", "--budget", "{left}", *quick)),
    ]  # fmt: skip
    if rehearse:
        for part in found:
            part.env, part.least = {"GPUDL_BENCH_REHEARSAL": "1"}, min(part.least, 10)
            if part.name.startswith("sanitizer"):
                part.command, part.needs = bench("small", "--sizes", "1", "unary.forward"), ""
            if part.name == "tests":
                part.command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(records.ROOT / "tests" / "test_copy.py")]
            if part.name == "headline":
                part.command = bench("softmax", "matmul", "--device", "cuda", "--out", at("ops.json"), "--resume", "--budget", "{left}", *quick)
            if part.name == "models":
                part.command = bench("train", "mlp", "lenet", "--device", "cuda", "--mnist", "--out", at("models.json"), "--budget", "{left}")
            if part.name == "noise":
                part.command = bench("noise", "--device", "cuda", "--runs", "1", "--seconds", "0")
            if part.name == "halves":
                part.command = bench("softmax", "--device", "cuda", "--dtype", "bfloat16", "--out", at("ops.json"), "--resume", "--budget", "{left}", *quick)
    return found


def run(part: Part, seconds: float, folder: Path) -> dict[str, Any]:
    """Run one part for at most so many seconds. What it wrote until then counts; its whole process group ends with it."""
    command = [w.replace("{left}", f"{max(seconds - 5, 5):.0f}") for w in part.command]
    start = time.monotonic()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(records.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]), "PYTHONUNBUFFERED": "1", **part.env}
    try:
        process = subprocess.Popen(command, cwd=records.ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    except OSError as error:
        return {"status": "failed", "reason": str(error), "seconds": 0.0, "log": ""}
    timed_out = False
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)  # a record that is being written is closed by it
        try:
            output, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    lines = (output or "").splitlines()
    if part.log:
        append(folder / part.log, f"==== {part.name}: {' '.join(Path(w).name if '/' in w else w for w in command)}\n" + "\n".join(lines) + "\n")
    code = process.returncode
    status = "out of time" if timed_out else "done" if code == 0 else "found faults" if code in (1, 86) else "failed"
    tail = [line for line in lines if line.strip()][-1:] or [""]
    return {"status": status, "code": code, "seconds": time.monotonic() - start, "log": summary(part, lines) or tail[0][:300]}


def summary(part: Part, lines: list[str]) -> str:
    """The line that says how it went."""
    wanted = r"ERROR SUMMARY|RACECHECK SUMMARY" if part.name.startswith("sanitizer") else r"\d+ (passed|failed|skipped)" if part.name == "tests" else r"(?!x)x"
    found = [line.strip("= \n") for line in lines if re.search(wanted, line)]
    return found[-1][:300] if found else ""


def append(path: Path, text: str) -> None:
    """Add to a log that never exceeds the limit of one file: the middle is left out."""
    old = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    both = old + text
    if len(both.encode()) > LIMIT // 2:
        half = LIMIT // 5
        both = both[:half] + "\n... (left out) ...\n" + both[-half:]
    path.write_text(both, encoding="utf-8")


def shrink(path: Path) -> None:
    """A record over the limit loses its raw samples, and says so."""
    if path.suffix == ".json" and path.exists() and path.stat().st_size > LIMIT:
        data = records.load(path)
        for row in data["rows"]:
            row.pop("samples", None)
        data["samples_left_out"] = True
        record = records.Record(path, data["kind"])
        record.data = data
        record.save()


@contextlib.contextmanager
def compiling(ahead: bool) -> Iterator[None]:
    """Beside the parts, and giving way to them: what they will ask the compiler for, on the cores that they leave idle."""
    if not ahead:
        yield
        return
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(records.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [*(["nice", "-n", "10"] if shutil.which("nice") else []), *bench("compile")]
    process = subprocess.Popen(command, cwd=records.ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def gather(folder: Path, state: dict[str, Any], seconds: float = 0.0) -> dict[str, Any]:
    """All records as the one that the page is made of; seconds: what compiling every rung for its registers may take."""
    found: dict[str, Any] = {}
    for name in ("ops", "accumulate", "agreement", "models"):
        with contextlib.suppress(OSError, ValueError):
            found[name] = records.load(folder / f"{name}.json")
    base = found.get("ops") or {"environment": state["environment"], "rows": [], "complete": True, "started": state["started"]}
    data = {**base, "sections": state["rows"], "complete": all(s["status"] not in ("not started",) for s in state["rows"])}
    data["rehearsal"] = state.get("rehearsal", False)
    data["missing"] = [*base.get("missing", []), *(m for n in ("models",) for m in found.get(n, {}).get("missing", []))]
    for name in ("models", "accumulate", "agreement"):
        data[name] = found.get(name, {}).get("rows", [])
    if seconds > 0:
        with contextlib.suppress(Exception):
            from bench import structure

            data["kernels"] = structure.table(structure.one_case_per_ladder(ops.registry()), seconds)
    return data


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--results", default=os.environ.get("RESULTS") or "", metavar="FOLDER", help="$RESULTS, else bench/results/<gpu>/<date>-<commit>")
    p.add_argument("--budget", type=float, default=float(os.environ.get("BUDGET") or 3000), metavar="S", help="seconds for everything ($BUDGET; default 3000)")
    p.add_argument("--only", default="", help="only the parts whose name has this word")
    p.add_argument("--rehearse", action="store_true", help="everything at tiny sizes on a stand-in for a GPU: nothing is measured")
    options = p.parse_args(arguments)
    start = time.monotonic()
    if options.rehearse:
        from bench import rehearsal

        rehearsal.install()
        os.environ["GPUDL_BENCH_REHEARSAL"] = "1"
    elif problem := ops.have_gpu():
        print(f"bench gpu: {problem}. Without one: python -m bench cpu, or python -m bench gpu --rehearse", file=sys.stderr)
        return 2
    import gpudl.optim  # noqa: F401  (its ladders)

    env = records.environment("cuda")
    machine = "rehearsal" if options.rehearse else env.get("gpu", {}).get("name") or "gpu"
    folder = Path(options.results) if options.results else records.results_path(machine).with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    todo = [part for part in parts(folder, options.rehearse) if options.only in part.name]
    before = {}
    with contextlib.suppress(OSError, ValueError):
        before = {r["name"]: r for r in records.load(folder / "run.json")["rows"] if r["status"] in ("done", "found faults")}
    with records.Record(folder / "run.json", "gpu", environment=env, budget=options.budget) as state, compiling(not options.rehearse):
        written = time.monotonic()
        try:
            for part in todo:
                if part.name in before:
                    state.add(before[part.name])
                    print(f"{part.name}: done before")
                    continue
                left = options.budget - (time.monotonic() - start) - KEEP
                seconds = min(left, max(part.least, part.share * options.budget))
                row: dict[str, Any] = {"name": part.name, "what": part.what}
                if part.needs:
                    row |= {"status": "not run", "log": part.needs}
                elif left < part.least:
                    row |= {"status": "not started", "log": f"{max(left, 0):.0f} s are left and it needs {part.least:.0f}: run again with the same RESULTS"}
                else:
                    print(f"{part.name}: {part.what} (at most {seconds:.0f} s)", flush=True)
                    row |= run(part, seconds, folder)
                    shrink(folder / "ops.json")
                state.add(row)
                state.save()
                print(f"{part.name}: {row['status']}  {row.get('log', '')}", flush=True)
                if time.monotonic() - written > 60:
                    report.write(gather(folder, state.data), folder / "report.html")
                    written = time.monotonic()
        finally:
            left = options.budget - (time.monotonic() - start) - KEEP / 2
            report.write(gather(folder, state.data, max(left, KEEP / 2)), folder / "report.html")
    sizes = {f.name: f.stat().st_size for f in folder.iterdir() if f.is_file()}
    assert set(sizes) <= set(FILES) and all(size <= LIMIT for size in sizes.values()), sizes
    print(f"{time.monotonic() - start:.0f} s; {len(sizes)} files in {folder}: {', '.join(f'{n} {s // 1024} KiB' for n, s in sizes.items())}")
    return int(any(r["status"] in ("failed", "found faults") for r in state.data["rows"]))
