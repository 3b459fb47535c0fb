"""The command line: `python -m gpudl info`, `check FILE.cu` and `resources`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["check"]:  # before argparse: check has its own options and its own --help
        from gpudl.emulator._check import main as check

        return check(argv[1:])
    parser = argparse.ArgumentParser(prog="python -m gpudl", description="gpudl from the command line")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("info", help="what is installed, which devices work and, for each that does not, why and what to type")
    commands.add_parser("check", help="run a .cu file on the CPU under the sanitizer (check --help for its options)")
    resources = commands.add_parser("resources", help="registers, shared memory and spills of each kernel, compiled without a GPU")
    resources.add_argument("ladder", nargs="*", help="e.g. softmax.forward; all of them by default")
    resources.add_argument("--arch", action="append", help="e.g. sm_80; by default sm_75, sm_80 and sm_90a, as far as each record allows")
    arguments = parser.parse_args(argv)
    if arguments.command == "resources":
        return _resources(arguments.ladder, arguments.arch)
    from gpudl._info import report

    print(report())
    return 0


def _resources(names: list[str], archs: list[str] | None) -> int:
    from gpudl import _nvrtc
    from gpudl._errors import KernelError
    from gpudl._launches import launches
    from gpudl.kernels import ladder, ladders

    row = "{:<56} {:<36} {:<8} {:>9} {:>8} {:>8} {:>7}".format
    try:
        found = [ladder(name) for name in names] if names else list(ladders().values())
        print(row("kernel", "variant", "arch", "registers", "shared", "spills", "stack"))
        for rung in (rung for each in found for rung in each if rung.backend == "cuda"):
            for arch in archs or _nvrtc.architectures(rung):
                for variant in launches().get(rung, []):
                    for entry, r in _nvrtc.compile_rung(rung, arch, dict(variant.types), dict(variant.defines)).functions.items():
                        kernel = f"{rung.ladder.folder}/{rung.source}:{entry}"
                        print(row(kernel, str(variant), arch, r.registers, r.shared, r.spill_stores + r.spill_loads, r.stack))
    except (KeyError, KernelError) as e:
        print(e.args[0], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
