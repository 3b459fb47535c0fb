"""What a rung asks of memory, counted by the emulator's profile, beside what its record states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from gpudl import kernels
from gpudl.emulator import _launch


class Accesses(NamedTuple):
    asked: int  # bytes of global memory that the rung's launches requested
    stated: float  # the record's `traffic`, evaluated for each launch
    lines: list[Any]  # of the profile


def accesses(ladder: str, rung: str, work: Callable[[], Any]) -> Accesses:
    """Run work() with that rung picked, in the emulator under the profile; only the launches of the rung itself count."""
    record = kernels.ladder(ladder)[rung]
    lines: list[Any] = []
    stated = 0.0
    inside = False
    plain_call, plain_launch = _launch.Function.__call__, kernels.Kernel.launch

    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        plain_call(self, *args, **kwargs)
        if inside:
            lines.extend(self.profile.lines)

    def launch(self: Any, device: Any, arguments: Any, *rest: Any) -> None:
        nonlocal inside, stated
        if self is record:
            scalars = {k: v for k, v in arguments.items() if not kernels._is_array(v)}
            dtype = next(v.dtype for v in arguments.values() if kernels._is_array(v))
            assert record.traffic is not None, f"{record!r} states no traffic"
            stated += record.traffic(record.scope(scalars, dtype, device))
        before, inside = inside, self is record  # before: a launch may copy an operand first, by another one
        plain_launch(self, device, arguments, *rest)
        inside = before

    with pytest.MonkeyPatch.context() as patch, kernels.use(ladder, rung), kernels.emulation(profile=True):
        patch.setattr(_launch.Function, "__call__", call)
        patch.setattr(kernels.Kernel, "launch", launch)
        work()
    assert lines, f"work() does not launch {record!r}"
    return Accesses(sum(line.bytes for line in lines if line.space == "global"), stated, lines)
