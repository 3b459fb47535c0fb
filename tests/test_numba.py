"""The Numba rungs in Numba's simulator. It is switched on by an environment variable at import, so each ladder runs in a process of its own."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest

import gpudl
from gpudl import _dtypes, kernels

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


@pytest.mark.gpu
@pytest.mark.parametrize(("ladder", "rung"), RUNGS)
def test_numba_rung_agrees_on_a_gpu(ladder: str, rung: str) -> None:
    from numba import cuda

    if not cuda.is_available():
        pytest.skip("Numba sees no GPU; numba-cuda comes with gpudl[cuda12] and gpudl[cuda13]")
    main(ladder, rung, "cuda")


def test_numba_rungs_compile_for_a_gpu_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through NVVM to PTX for sm_90, where numba-cuda brings NVVM; for each dtype, with the macros of a launch."""
    pytest.importorskip("numba_cuda", reason="numba-cuda, which the extras for a GPU bring, is not installed")
    if "NUMBA_ENABLE_CUDASIM" in os.environ:
        pytest.skip("the simulator is on")
    try:
        from numba import cuda
        from numba.cuda.cudadrv.nvvm import NVVM

        NVVM()
    except Exception as error:
        pytest.skip(f"no NVVM: {error}")
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: types.SimpleNamespace(compute_capability=(9, 0)))
    activations = [{"BIAS": 1, "ACT": act} for act in ("relu", "sigmoid", "hyperbolic_tangent")]
    flags = ("WEIGHT", "BIAS", "RELU", "RUNNING", "RESIDUAL")
    for ladder, name in RUNGS:
        rung = kernels.ladder(ladder)[name]
        assert isinstance(rung, kernels.NumbaKernel) and rung.entry
        way = ladder.split(".")[1][0] + "wd"
        functions = re.findall(rf'"(\w+_{way})":', rung.path.read_text())
        launches: dict[str, list[dict]] = {
            "matmul": [{}, *activations], "conv2d": [{}, *activations], "unary": [{"F": f} for f in functions], "reduce": [{"OP": "Mean"}, {"OP": "Max"}],
            "batch_norm": [dict.fromkeys(flags, 0), dict.fromkeys(flags, 1)],
        }  # fmt: skip
        parameters = rung.entries[rung.entry]
        for dtype, macros in itertools.product(rung.dtypes, launches.get(ladder.split(".")[0], [{}])):
            names = {p.type for p in parameters if p.pointer} - set(kernels._C_TO_DTYPE) - {"acc_t"}
            kinds = {t: np.dtype(np.uint8) if t == "I" else np.dtype(bool) if macros.get("F") == "isnan_fwd" and t == "Y" else dtype for t in names}
            found = {**rung.tiles, **kinds, "acc_t": dtype, "C": _dtypes.C_NAMES[dtype], **macros}
            function = kernels._numba_functions(rung.path, tuple(sorted(found.items(), key=lambda m: m[0])), False)[rung.entry]
            known = {**kernels._C_TO_DTYPE, **kinds, "acc_t": dtype}
            kind = [numba.from_dtype(known[p.type]) for p in parameters]
            ptx, _ = cuda.compile(function.py_func, tuple(k[::1] if p.pointer else k for k, p in zip(kind, parameters)), cc=(9, 0))
            assert ".target sm_90" in (ptx if isinstance(ptx, str) else ptx.decode())


def main(ladder: str, rung: str, device: str = "emulator") -> None:
    from registry import OPS, samples
    from test_ops import agree, ladder_ops

    record = kernels.ladder(ladder)[rung]
    way, text = ladder.split(".")[1][0] + "wd", record.path.read_text()
    functions = [op for op in OPS.values() if f'"{getattr(op, "device_name", None)}_{way}"' in text]  # those that an elementwise file has
    each = [[(op, sample) for sample in samples(op) if largest(sample) <= LARGEST] for op in functions or ladder_ops(ladder)]
    with kernels.use(ladder, rung), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample that this rung does not take runs on another one
        for op, sample in filter(None, itertools.chain(*itertools.zip_longest(*each))):  # the ops take turns
            if record.launches < max(LAUNCHES, 2 * len(each)):
                if way == "fwd":
                    sample.options = sample.options | {"grad": False}  # other rungs' business
                agree(op, sample, "float32", device)
    assert record.launches, f"{record!r} never ran"
    print(f"{record!r}: {record.launches} launches agree")


if __name__ == "__main__":
    main(*sys.argv[1:])
