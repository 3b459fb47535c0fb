"""python -m bench [op ...] and its other commands; `python -m bench --help` lists them.

Each command is a module of this folder with `main(arguments) -> exit code`.
"""

from __future__ import annotations

import importlib
import os
import sys

COMMANDS = {  # name: (module, what it does)
    "cpu": ("bench.machine", "the report page of this machine's CPU: every op beside PyTorch, NumPy and JAX, LeNet steps, ceilings, pictures"),
    "gpu": ("bench.gpu", "all that one hour on a GPU should bring: tests, sanitizer, agreement, ladders, opponents, models, report (make gpu)"),
    "compare": ("bench.compare", "compare A.json B.json: what got faster, what slower, what is noise"),
    "report": ("bench.report", "report RECORD.json: the HTML page of a record"),
    "lessons": ("bench.lessons", "fill the tables of the lesson pages from a record; --check says which are stale"),
    "compile": ("bench.compile", "the machine code of every rung for this GPU, on many cores, so that nobody waits for it later"),
    "ceilings": ("bench.ceilings", "what this machine can do at most: copy bandwidth, multiply-adds, launches"),
    "noise": ("bench.noise", "a version against a copy of itself, many times: how many are called ties"),
    "accumulate": ("bench.accumulate", "error of tensor-core accumulation against promotion every 32, 64, 128 of K"),
    "small": ("bench.small", "every rung at small sizes: for compute-sanitizer, and the agreement of the emulator with a GPU"),
    "tune": ("bench.tune", "which rung is fastest for each class of shapes on this GPU: a table that dispatch reads before its own rules"),
    "train": ("bench.train", "whole models: step time, launches, host time per op, memory, time to 99% on MNIST"),
    "lenet": ("bench.cpu", "one LeNet training step beside PyTorch on the CPU"),
    "emulator": ("bench.emulator", "the emulator's speed"),
}


def main(arguments: list[str]) -> int:
    if os.environ.get("GPUDL_BENCH_REHEARSAL"):
        from bench import rehearsal

        rehearsal.install()
    if arguments and arguments[0] in COMMANDS:
        module = importlib.import_module(COMMANDS[arguments[0]][0])
        return int(module.main(arguments[1:]) or 0)
    from bench import ops

    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        print("\n".join(f"  {name:12} {what}" for name, (_, what) in COMMANDS.items()))
        print(f"  {'[op ...]':12} every rung and opponent of these ops (all without a name); options:\n")
    return ops.main(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted; what was measured is in the record", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
