"""Indexing, variance and products: bytes requested of memory beside what the records state, under the emulator's profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from accesses import accesses

import gpudl
from gpudl import kernels

pytestmark = pytest.mark.emulator


def t(*shape: int, grad: bool = False) -> gpudl.Tensor:
    values = np.random.default_rng(0).uniform(0.9, 1.1, size=shape).astype(np.float32)
    return gpudl.tensor(values, device="emulator", requires_grad=grad)


def places(*values: int) -> gpudl.Tensor:
    return gpudl.tensor(np.array(values), device="emulator")


def backward(f: Callable[[gpudl.Tensor], gpudl.Tensor], x: gpudl.Tensor) -> Callable[[], None]:
    def work() -> None:
        y = f(x)
        y.backward(gpudl.ones_like(y))

    return work


WORK: dict[str, list[Callable[[], Any]]] = {
    "index.linear": [lambda: t(600)[gpudl.tensor(np.arange(512), device="emulator")]],
    "index.forward": [lambda: t(5, 300)[places(4, 0, 4)]],
    "index.backward": [lambda: backward(lambda x: x[places(4, 0, 4)], t(5, 64, grad=True))()],
    "index.write": [lambda: t(5, 300).index_copy(0, places(4, 0), t(2, 300))],
    "var.backward": [lambda: backward(lambda x: x.var(1), t(16, 512, grad=True))()],
    "prod.backward": [lambda: backward(lambda x: x.prod(1), t(8, 256, grad=True))()],
}
CASES = [(name, r.name, k) for name, calls in WORK.items() for r in kernels.ladder(name) for k in range(len(calls))]


@pytest.mark.parametrize(("ladder", "rung", "which"), CASES)
def test_bytes_requested_are_what_the_record_states(ladder: str, rung: str, which: int) -> None:
    found = accesses(ladder, rung, WORK[ladder][which])
    assert abs(found.asked - found.stated) <= 0.02 * found.stated
    whole = [line for line in found.lines if line.space == "global" and line.ideal_sectors == 16 * line.requests]
    assert rung != "02_vector" or whole
    if rung != "01_naive" or ladder != "prod.backward":  # where a thread walks along a row of its own
        assert all(line.sectors <= 1.3 * line.ideal_sectors for line in found.lines if line.space == "global")
