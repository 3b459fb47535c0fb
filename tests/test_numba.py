"""The Numba rungs in Numba's simulator. It is switched on by an environment variable at import, so each ladder runs in a process of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import gpudl
from gpudl import kernels

LARGEST, LAUNCHES = 1000, 12  # elements and launches: the simulator runs each GPU thread as a thread of the CPU
RUNGS = [(name, rung.name) for name, ladder in kernels.ladders().items() for rung in ladder if rung.backend == "numba"]


@pytest.mark.emulator
@pytest.mark.parametrize(("ladder", "rung"), RUNGS)
def test_numba_rung_agrees_with_the_cpu(ladder: str, rung: str) -> None:
    here = Path(__file__)
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": os.pathsep.join([str(here.parent.parent), str(here.parent)])}
    done = subprocess.run([sys.executable, str(here), ladder, rung], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_the_simulator_the_emulator_runs_another_rung_and_says_so() -> None:
    rung = kernels.ladder("softmax.forward")["numba_forward_naive"]
    if "NUMBA_ENABLE_CUDASIM" not in os.environ:
        assert not rung.takes({"M": 1, "N": 1}, gpudl.float32, gpudl.device("emulator"))


def largest(sample: object) -> int:
    return max([a.size for a in sample.args if isinstance(a, np.ndarray)], default=0)  # type: ignore[attr-defined]


def main(ladder: str, rung: str) -> None:
    from registry import OPS, samples
    from test_ops import agree, ladder_ops

    record = kernels.ladder(ladder)[rung]
    way, text = ladder.split(".")[1][0] + "wd", record.path.read_text()
    functions = [op for op in OPS.values() if f'"{getattr(op, "device_name", None)}_{way}"' in text]  # those that an elementwise file has
    each = [[(op, sample) for sample in samples(op) if largest(sample) <= LARGEST] for op in functions or ladder_ops(ladder)]
    with kernels.use(ladder, rung), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample that this rung does not take runs on another one
        for pair in filter(None, itertools.chain(*itertools.zip_longest(*each))):  # the ops take turns
            if record.launches < max(LAUNCHES, 2 * len(each)):
                agree(*pair, "float32", "emulator")
    assert record.launches, f"{record!r} never ran"
    print(f"{record!r}: {record.launches} launches agree")


if __name__ == "__main__":
    main(*sys.argv[1:])
