"""The command line: `python -m gpudl info` and `python -m gpudl check FILE.cu`."""

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
    parser.parse_args(argv)
    from gpudl._info import report

    print(report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
