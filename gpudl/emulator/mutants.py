"""Mutation testing of the kernels: `python -m gpudl.emulator.mutants`, run in a checkout (`make mutants`).

Each barrier (`__syncthreads`, `__syncwarp`, named) and each bounds check of each rung is removed in turn, and the launches that the op registry's
samples make are run again under the sanitizer. A mutant that is not reported means that the barrier or check is not needed, or that no sample needs it:
it is listed, and the exit code is 1. A line that says why it stays anyway (a comment with `kept:`) is listed but does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import random
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpudl import _dtypes
from gpudl.emulator import SanitizerError, _build, _launch, _memory
from gpudl.emulator._errors import CompileError


@dataclass
class Mutant:
    """One change of a source. kind: barrier or bounds; line: where; before: the text that goes; after: what stands there instead."""

    kind: str
    line: int
    before: str
    after: str
    start: int
    end: int
    kept: bool

    def apply(self, text: str) -> str:
        return text[: self.start] + self.after + text[self.end :]


@dataclass
class Launch:
    """One launch of a rung by a sample: enough to run it again."""

    options: tuple[str, ...]
    entry: str
    grid: Any
    block: Any
    shared_mem: int
    cooperative: bool
    values: list[tuple[str, Any]]  # ("array", copy), ("empty", (shape, dtype)) or ("scalar", value)
    results: dict[int, np.ndarray]

    @property
    def size(self) -> int:
        return int(np.prod(self.grid)) * int(np.prod(self.block))

    def arguments(self) -> list[Any]:
        return [_memory.array(v) if kind == "array" else _memory.empty(*v) if kind == "empty" else v for kind, v in self.values]


_BARRIER = re.compile(r"\b(?:__syncthreads(?:_\w+)?|__syncwarp|named_barrier_sync|grid_barrier)\s*\((?:[^()]|\([^()]*\))*\)\s*;")
_WORD = r"[A-Za-z_]\w*(?:\.\w|\[[^\]]*\])?"
_TERM = rf"{_WORD}(?:\s*[+*]\s*(?:{_WORD}|\d+))*"


def mutants(text: str, scalars: list[str]) -> list[Mutant]:
    """The mutants of a source. scalars: the kernel's size parameters; a comparison with one of them outside a loop's head is a bounds check."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)
    found = []

    def add(kind: str, match: re.Match[str], after: str) -> None:
        line = text.count("\n", 0, match.start()) + 1
        rows = text.splitlines()
        kept = "kept:" in rows[line - 1] or (line > 1 and rows[line - 2].lstrip().startswith("//") and "kept:" in rows[line - 2])
        found.append(Mutant(kind, line, text[match.start() : match.end()], after, match.start(), match.end(), kept))

    for match in _BARRIER.finditer(code):
        add("barrier", match, ";")
    if scalars:
        heads = [(m.start(), _close(code, m.end() - 1)) for m in re.finditer(r"\b(?:for|while|static_assert)\s*\(", code)]
        sizes = "|".join(map(re.escape, scalars))
        for match in re.finditer(rf"(?<![\w<])({_TERM})\s*(<|>=)\s*(?:{sizes})\b(?!\s*[*/(\[<])", code):
            if not any(a <= match.start() < b for a, b in heads) and not re.search(r"\btemplate\s*$", code[: match.start()]):
                add("bounds", match, "true" if match[2] == "<" else "false")
    return sorted(found, key=lambda m: m.start)


def _close(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text)


@contextlib.contextmanager
def recording(path: Path) -> Iterator[list[Launch]]:
    """Collect the launches of kernels of one file while this is entered."""
    found: list[Launch] = []
    plain = _launch.Function.__call__

    def call(self: Any, grid: Any, block: Any, args: Any, shared_mem: int = 0, **rest: Any) -> None:
        if self.module.sources[0] != str(path):
            return plain(self, grid, block, args, shared_mem, **rest)
        values: list[tuple[str, Any]] = []
        for a in args:
            if not isinstance(a, np.ndarray) or a.dtype.names:
                values.append(("scalar", a))
            elif a.flags.c_contiguous and a.size and not _build.runtime().gpudl_emu_written(a.ctypes.data, a.nbytes):
                values.append(("empty", (a.shape, a.dtype)))
            else:
                low, high = _memory.byte_bounds(a) if a.size else (a.ctypes.data, a.ctypes.data)
                flat = np.frombuffer(bytes(ctypes.string_at(low, high - low)), np.uint8).copy()
                values.append(("array", flat.view(a.dtype) if (high - low) % max(a.itemsize, 1) == 0 else flat))
        plain(self, grid, block, args, shared_mem, **rest)
        results = {i: np.array(a) for i, a in enumerate(args) if isinstance(a, np.ndarray) and not a.dtype.names and a.flags.c_contiguous
                   and self.parameters[i].kind == "pointer" and not self.parameters[i].const}  # fmt: skip
        found.append(Launch(self.module.options, self.name, grid, block, shared_mem, bool(rest.get("cooperative")), values, results))
        return None

    _launch.Function.__call__ = call  # type: ignore[method-assign,assignment]
    try:
        yield found
    finally:
        _launch.Function.__call__ = plain  # type: ignore[method-assign]


def launches_of(rung: Any, registry: Any, kernels: Any, limit: int = 24) -> list[Launch]:
    """The different launches that the samples of a rung's op make in float32, smallest first."""
    ladder = rung.ladder.name
    ops = [op for op in registry.OPS.values() if ladder in getattr(op, "ladders", ()) or op.name == ladder.split(".")[0]]
    dtype = str(next((d for d in rung.dtypes if _dtypes.is_float(d)), "float32"))  # float32 first, where a rung takes floats at all
    with recording(rung.path) as found, kernels.use(ladder, rung.name), kernels.emulation(sanitize=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample that this rung does not take runs on another one
        for op in ops:
            for sample in registry.samples(op):
                with contextlib.suppress(
                    Exception
                ):  # whether a sample works is what the tests are for; its launches are recorded all the same
                    registry.run(op, sample, "emulator", dtype)
    different: dict[Any, Launch] = {}
    for launch in found:
        key = (launch.options, launch.entry, launch.grid, launch.block, tuple(str(v) for k, v in launch.values if k == "scalar"))
        different.setdefault(key, launch)
    chosen: list[Launch] = []
    for entry in rung.entries:  # each alone: of three launches that take turns, every third one would always be the same kernel
        ordered = sorted((one for one in different.values() if one.entry == entry), key=lambda one: one.size)
        step = max(1, len(ordered) // limit)
        chosen += ordered[step - 1 :: step]
    return sorted(chosen, key=lambda one: (one.options != chosen[0].options, one.options, one.size)) if chosen else []


def run(text: str, path: Path, launches: list[Launch], folder: Path, settle: bool = False) -> tuple[str, list[str]]:
    """(outcome, lines of the report): reported; values (only a result changed); survived; or stillborn (does not compile).

    Headers in `folder` are found before the real ones. settle: the text is no mutant, and results that do not repeat are forgotten (memory that
    nothing writes).
    """
    file = folder / path.name
    file.write_text(text)
    outcome = "survived"
    modules: dict[tuple[str, ...], Any] = {}
    for launch in launches:
        try:
            if launch.options not in modules:
                modules[launch.options] = _launch.compile(file, (f"-I{folder}", *launch.options, f"-I{path.parent}"), timeout=20)
        except CompileError as error:
            return "stillborn", str(error).splitlines()[:1]
        arguments = launch.arguments()
        try:
            modules[launch.options].get_function(launch.entry)(
                launch.grid, launch.block, arguments, launch.shared_mem, cooperative=launch.cooperative
            )
        except SanitizerError as error:
            return "reported", str(error.reports[0]).replace(f"{folder}/", "").splitlines()
        changed = [i for i, r in launch.results.items() if arguments[i].tobytes() != r.tobytes()]
        if changed and not settle:
            outcome = "values"
        for i in changed if settle else ():
            del launch.results[i]
    return outcome, []


def drivers(kernels: Any) -> dict[str, Callable[[], None]]:
    """What launches the ladders that no differentiable op does, by the first part of their name."""
    import gpudl

    def optimiser(name: str, **settings: Any) -> Callable[[], None]:
        def step() -> None:
            parameters = [gpudl.ones(n, device="emulator").requires_grad_() for n in (1, 33, 4097)]
            for p in parameters:
                p.grad = gpudl.ones(*p.shape, device="emulator")
            made = getattr(gpudl.optim, name)(parameters, lr=0.1, **settings)
            made.step()
            made.step()

        return step

    def fill() -> None:
        gpudl.full((3, 1025), 2.0, device="emulator")

    def draw() -> None:
        gpudl.manual_seed(1)
        for n in (1, 33, 4097):
            gpudl.rand(n, device="emulator")
            gpudl.randn(n, device="emulator")

    return {"sgd": optimiser("SGD", momentum=0.9), "adam": optimiser("Adam"), "adagrad": optimiser("Adagrad"), "rmsprop": optimiser("RMSprop"),
            "fill": fill, "random": draw}  # fmt: skip


def run_live(text: str, rung: Any, drive: Callable[[], None], kernels: Any, folder: Path) -> tuple[str, list[str]]:
    """As run, but through the library's own launch code: for kernels whose arguments hold addresses, which cannot be launched again later."""
    file = folder / rung.path.name
    file.write_text(text)
    plain, used = kernels._emulator_module, False

    def module(path: Path, options: tuple[str, ...], *rest: Any) -> Any:
        nonlocal used
        if path != rung.path:
            return plain(path, options, *rest)
        used = True
        return _launch.compile(file, (f"-I{folder}", *options, f"-I{path.parent}"), timeout=20)

    kernels._emulator_module = module
    rung._plans.clear()
    try:
        with kernels.use(rung.ladder.name, rung.name), kernels.emulation(sanitize=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drive()
    except CompileError as error:
        return "stillborn", str(error).splitlines()[:1]
    except SanitizerError as error:
        return "reported", str(error.reports[0]).replace(f"{folder}/", "").splitlines()
    finally:
        kernels._emulator_module = plain
        rung._plans.clear()
    return "survived" if used else "not launched", []


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m gpudl.emulator.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ladders", nargs="*", help="ladders (softmax.forward) or rungs (softmax.forward/02_warp_row); all by default")
    parser.add_argument("--sample", type=int, help="only this many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--kind", choices=("barrier", "bounds"), help="only these")
    parser.add_argument("--part", default="1/1", help="i/n: every n-th rung, to share the work between processes")
    parser.add_argument("--verbose", action="store_true", help="print the whole report of each mutant")
    options = parser.parse_args(argv)
    from gpudl import kernels

    tests = kernels.FOLDER.parent / "tests"
    if not (tests / "registry.py").is_file():
        print("mutants need the tests of a checkout: git clone the repository and run this there", file=sys.stderr)
        return 2
    sys.path.insert(0, str(tests))
    import registry

    part, parts = map(int, options.part.split("/"))
    rungs = [r for _, ladder in sorted(kernels.ladders().items()) for r in ladder if r.backend == "cuda"]
    if options.ladders:
        rungs = [r for r in rungs if any(f"{r.ladder.name}/{r.name}".startswith(want) for want in options.ladders)]
    rungs = rungs[part - 1 :: parts]
    work: list[tuple[Path, Mutant, list[Any]]] = []  # the file, its mutant, and the rungs that can notice
    for rung in rungs:
        scalars = sorted({p.name for entry in rung.entries.values() for p in entry if not p.pointer and "int" in p.type})
        work += [(rung.path, m, [rung]) for m in mutants(rung.path.read_text(), scalars)]
    for header in sorted(p for p in kernels.FOLDER.rglob("*.cuh") if p.name != "ptx.cuh" and part == 1):
        for m in mutants(header.read_text(), []):
            caller = re.findall(r"\b(?!(?:if|for|while|switch)\b)(\w+)\s*\([^;{}]*\)\s*\{", header.read_text()[: m.start])[-1:] or [""]
            users = [r for r in rungs if re.search(rf"\b{caller[0]}\b", r.path.read_text())]
            work += [(header, m, users)] if users else []
    work = [w for w in work if options.kind in (None, w[1].kind)]
    if options.sample is not None and options.sample < len(work):
        chosen = random.Random(options.seed).sample(range(len(work)), options.sample)
        work = [work[i] for i in sorted(chosen)]
    print(f"{len(work)} mutants of {len({path for path, _, _ in work})} files")
    counts: dict[str, int] = {}
    bad = []
    launches: dict[str, list[Launch]] = {}
    start = time.monotonic()
    for path, mutant, users in work:
        name = f"{path.relative_to(kernels.FOLDER)}:{mutant.line}"
        what = f"{mutant.kind} {mutant.before.strip()!r}"
        outcome, lines = "not launched", list[str]()
        for rung in users:
            key = f"{rung.ladder.name}/{rung.name}"
            if key not in launches:
                if len(users) == 1:
                    launches.clear()  # rungs come one after another
                launches[key] = launches_of(rung, registry, kernels)
                with tempfile.TemporaryDirectory(prefix="gpudl-mutants-") as folder:
                    run(rung.path.read_text(), rung.path, launches[key], Path(folder), settle=True)
            text = rung.path.read_text()
            drive = drivers(kernels).get(rung.ladder.name.split(".")[0])
            with tempfile.TemporaryDirectory(prefix="gpudl-mutants-") as folder:
                if path == rung.path:
                    text = mutant.apply(text)
                else:  # with all other headers, which would find the real one beside them
                    for header in kernels.FOLDER.rglob("*.cuh"):
                        copy = Path(folder, header.relative_to(kernels.FOLDER))
                        copy.parent.mkdir(parents=True, exist_ok=True)
                        copy.write_text(mutant.apply(path.read_text()) if header == path else header.read_text())
                if launches[key]:
                    outcome, lines = run(text, rung.path, launches[key], Path(folder))
                elif drive:
                    outcome, lines = run_live(text, rung, drive, kernels, Path(folder))
            if outcome == "reported":
                break
        if outcome == "values" and mutant.kind == "bounds":
            outcome = "wrong values"  # every access stays inside the arrays; the tests see the result
        elif outcome in ("survived", "values", "not launched") and mutant.kept:
            outcome = "kept"
        counts[outcome] = counts.get(outcome, 0) + 1
        if outcome in ("survived", "values", "not launched"):
            bad.append(f"{name}: {what}: {outcome}")
        shown = lines if options.verbose else [one for one in lines if one is lines[0] or "the other side" in one]
        print("\n    ".join([f"{outcome:12} {name}: {what}", *map(str.strip, shown)]), flush=True)
    print(f"\n{', '.join(f'{n} {outcome}' for outcome, n in sorted(counts.items()))} in {time.monotonic() - start:.0f} s")
    if bad:
        print("\nNot reported: remove the barrier or check, add a sample that needs it, or say on its line why it stays (kept: ...)")
        print("\n".join(f"  {b}" for b in bad))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
