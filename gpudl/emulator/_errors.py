"""What the emulator raises, and what its reports say."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpudl._errors import KernelError

Index = tuple[int, int, int]


@dataclass(frozen=True)
class Report:
    """One fault, as found at one place of the source.

    kind        race, out_of_bounds, barrier, deadlock, uninitialised, misaligned, invalid_shuffle, limit, timeout, constant_write,
                shift, conversion, division, async_copy, stack_overflow, crash, assertion
    file, line  the line that was running; other_file, other_line: the access it collides with, where there is one
    kernel      the entry; block, threads: (x, y, z) indices, the running thread first
    array       the parameter or shared array, and index, the element in it, where they are known
    message     the fact; cause: its usual reason, in one sentence
    count       how often it was seen in the launch
    """

    kind: str
    message: str
    file: str | None = None
    line: int | None = None
    kernel: str | None = None
    block: Index | None = None
    threads: tuple[Index, ...] = ()
    array: str | None = None
    index: int | None = None
    other_file: str | None = None
    other_line: int | None = None
    other_block: Index | None = None
    cause: str = ""
    count: int = 1
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        who = f"    in {self.kernel}" if self.kernel else ""
        if self.block is not None:
            who += f", block {self.block}"
        if self.threads:
            who += f", thread{'s' if len(self.threads) > 1 else ''} {' and '.join(map(str, self.threads))}"
        lines = [f"{where}{self.kind}: {self.message}"]
        if who:
            lines.append(who)
        if self.other_file:
            other = f" (block {self.other_block})" if self.other_block not in (None, self.block) else ""
            lines.append(f"    the other side: {self.other_file}:{self.other_line}{other}")
        lines += [f"    {note}" for note in self.notes]
        if self.cause:
            lines.append(f"    usually: {self.cause}")
        if self.count > 1:
            lines.append(f"    seen {self.count} times")
        return "\n".join(lines)


class SanitizerError(KernelError):
    """A launch with faults. `.reports` has one Report for each; str() prints them all."""

    def __init__(self, reports: list[Report] | tuple[Report, ...]):
        self.reports = list(reports)
        super().__init__("\n".join(map(str, self.reports)))

    def __reduce__(self) -> tuple[type[SanitizerError], tuple[list[Report]]]:
        return type(self), (self.reports,)


class LaunchError(SanitizerError, ValueError):
    """A launch that no GPU of the chosen architecture would take; the report's kind is `limit`."""


class CompileError(KernelError):
    """A source that the compiler refuses; the message is the compiler's, with the user's file and line."""


class CompilerMissingError(KernelError):
    """No usable C++ compiler; the message names what to install."""
