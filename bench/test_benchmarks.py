"""The registry as pytest-benchmark cases: `pytest bench`, `pytest bench -k "softmax and backward"`, `--benchmark-json`, `--benchmark-compare`.

A group is one op, direction and size, with gpudl and its opponents in it. Each is checked against float64 before its clock runs; a wrong result
fails. On a machine with a GPU every rung is a case and a round ends with a synchronisation. For verdicts on small differences use
`python -m bench`, where contestants take turns: here each runs by itself.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from bench import contestants, ops

pytest.importorskip("pytest_benchmark")
DEVICE = "cpu" if ops.have_gpu() else "cuda"


@functools.cache
def players() -> list[contestants.Contestant]:
    return [contestants.Gpudl(DEVICE), *(o for o in contestants.opponents(DEVICE) if not o.missing())]


def entries() -> list[Any]:
    found = []
    for case in ops.cases(ops.registry(), DEVICE, every=False):
        mine = [*players()[:1], *(contestants.rungs(case, DEVICE) if DEVICE == "cuda" else []), *players()[1:]]
        found += [pytest.param(case, who, id=f"{case.id}-{who.name}".replace(" ", "_")) for who in mine if not (who.missing() or who.refuses(case))]
    return found


@pytest.mark.parametrize(("case", "who"), entries())
def test_speed(case: contestants.Case, who: contestants.Contestant, benchmark: Any) -> None:
    seed = 0
    sample = case.inputs(seed)
    try:
        verdict, runner = ops.verify(who, case, sample, seed, contestants.reference(case, sample, seed))
    except ops._NotTaken as reason:
        pytest.skip(str(reason))
    assert verdict.ok, f"wrong, so it has no speed: {verdict.why}"
    clock = ops.clock_for(DEVICE)
    benchmark.group = case.id
    benchmark.extra_info.update(bytes=case.cost.bytes, flops=case.cost.flops, error=verdict.relative, precision=who.precision)
    call = runner.calls[0]

    def once() -> None:
        call()
        clock.synchronize()

    benchmark(once)
