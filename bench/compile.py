"""python -m bench compile: the machine code of every rung for this GPU, on many cores, into the folder where every later process finds it."""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
from pathlib import Path

from bench import ops
from gpudl import kernels

Job = tuple[Path, tuple[str, ...]]  # a source and its options


def jobs(arch: int) -> list[Job]:
    """What launches will ask for, the soonest wanted first: float32 before other types, the headline before the rest."""
    import gpudl.optim  # noqa: F401  (its ladders)
    from gpudl._launches import launches

    found: list[tuple[tuple[bool, bool], Job]] = []
    for rung, variants in launches(arch).items():
        special = (f"-arch=sm_{rung.arch}",) if isinstance(rung.arch, str) else ()
        for variant in variants:
            late = any(str(t) not in ("float32", "int64") for _, t in variant.types), rung.ladder.name.split(".")[0] not in ops.HEADLINE
            found.append((late, (rung.path, (*rung.options(dict(variant.types), dict(variant.defines)), *special))))
    return [job for _, job in sorted(found, key=lambda f: f[0])]


def compile_one(job: Job) -> str:
    """Nothing, or why it does not compile."""
    import cupy

    try:
        kernels.cuda_code(cupy, *kernels.cuda_source(*job))
    except Exception as error:
        return f"{job[0]}: {ops._line(error)}"
    return ""


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench compile", description=__doc__)
    p.add_argument("--workers", type=int, default=max(1, len(os.sched_getaffinity(0)) - 4 if hasattr(os, "sched_getaffinity") else 1))
    options = p.parse_args(arguments)
    if problem := ops.have_gpu():
        print(f"bench compile: {problem}", file=sys.stderr)
        return 2
    import cupy

    todo = jobs(int(cupy.cuda.Device().compute_capability))
    with concurrent.futures.ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        bad = [why for why in pool.map(compile_one, todo, chunksize=4) if why]
    print("\n".join([*bad, f"{len(todo) - len(bad)} of {len(todo)} compiled"]))
    return int(bool(bad))
