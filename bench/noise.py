"""python -m bench noise: a version against a copy of itself, many times. A method that is honest calls nearly all of them ties."""

from __future__ import annotations

import argparse
import sys

from bench import clocks, ops, shapes, stats
from bench.contestants import Case, Gpudl


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench noise", description=__doc__)
    p.add_argument("op", nargs="?", default="softmax")
    p.add_argument("--runs", type=int, default=20)
    p.add_argument("--seconds", type=float, default=0.3)
    p.add_argument("--device", default="", choices=["", "cpu", "cuda"])
    p.add_argument("--threads", type=int, default=0)
    options = p.parse_args(arguments)
    if problem := ops.unknown([options.op]):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    device = options.device or ("cpu" if ops.have_gpu() else "cuda")
    if device == "cuda" and (problem := ops.have_gpu()):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    if options.threads:
        ops.pin(options.threads)
    op = ops.registry()[options.op]
    grid = shapes.own(op) if clocks.REHEARSAL else shapes.grid(op)
    case = Case(op, next((s for s in grid if "ragged" in s.tags), grid[0]))
    clock, sample = ops.clock_for(device), case.inputs(0)
    ties = 0
    for i in range(options.runs):
        # Three runners of their own, with inputs and outputs of their own: the version, its second turn, and the copy that is judged.
        timed = [clock.timed(Gpudl(device).runner(case, sample, 0)) for _ in range(3)]
        a, again, copy = clocks.race(clock, timed, options.seconds)
        floor = stats.noise_floor(a, again)
        verdict = stats.compare(a, copy, floor)
        ties += verdict.word == "tie"
        print(f"{i + 1:3}  {verdict.ratio:.4f}x [{verdict.low:.4f}, {verdict.high:.4f}]  noise floor {100 * floor:.2f}%  {verdict.word}")
    print(f"{case.id} against a copy of itself: {ties} of {options.runs} ties")
    return int(ties < 0.95 * options.runs)
