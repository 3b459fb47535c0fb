"""Every rung of every ladder compiles for every architecture that its record allows, without a GPU, a driver or a toolkit.

`python -m gpudl resources` prints what these tests judge: registers, shared memory and spills of each kernel.
"""

import os
import subprocess
import sys

import pytest

import gpudl
import gpudl.optim
from gpudl import _nvrtc
from gpudl._launches import covering, failures, launches
from gpudl.kernels import FOLDER, ladders

RUNGS = [rung for ladder in ladders().values() for rung in ladder if rung.backend == "cuda"]
REGISTERS = 65536  # of a multiprocessor, and so the most that one block can have (CUDA Programming Guide, table of compute capabilities)


def ids(value):
    return f"{value.ladder.name}-{value.name}" if hasattr(value, "ladder") else str(value)


def constant_threads(rung, entry):
    """Threads a block of this entry, where the record needs nothing but its tiles to say so; else None."""
    for step in rung.steps:
        if step.entry == entry and set(step.block.names) <= set(rung.tiles):
            block = step.block(rung.tiles)
            x, y, z = (*((block,) if isinstance(block, int) else tuple(block)), 1, 1)[:3]
            return x * y * z
    return None


def test_there_are_rungs():
    assert len(RUNGS) > 4
    sources = {rung.path for rung in RUNGS}
    forgotten = [p for p in FOLDER.glob("*/*/*.cu") if p not in sources]
    assert not forgotten, f"no record names {forgotten}"


def test_every_rung_is_reached():
    """The variants to compile are those that the ops' samples launch: a rung that none of them reaches would go unseen."""
    assert not failures()
    unreached = [rung for rung in RUNGS if not launches().get(rung)]
    assert not unreached, f"no sample of an op launches {unreached}"


@pytest.mark.parametrize(("rung", "arch"), [(r, a) for r in RUNGS for a in _nvrtc.architectures(r)], ids=ids)
def test_compiles_without_spilling(rung, arch, record_property):
    """In float32 for each architecture; the other types and an op's many macros (one kernel, forty functions) are dealt to the architectures."""
    archs = _nvrtc.architectures(rung)
    for variant in covering(launches().get(rung, []), archs.index(arch), len(archs)):
        done = _nvrtc.compile_rung(rung, arch, dict(variant.types), dict(variant.defines))
        assert done.cubin[:4] == b"\x7fELF"
        for step in rung.steps:
            assert step.entry in done.functions
        for entry, r in done.functions.items():
            where = f"{rung!r}:{entry} {variant} {arch}: {r}"
            record_property(where, str(r))
            if not rung.spills:
                assert r.spill_stores == r.spill_loads == 0, f"{where} spills; use fewer registers, or say why in the record (spills=)"
            threads = constant_threads(rung, entry)
            if threads is not None:
                assert -(-r.registers // 8) * 8 * threads <= REGISTERS, f"{where}: {threads} threads need more registers than there are"


def test_a_reason_for_spilling_is_still_needed():
    for rung in (r for r in RUNGS if r.spills):
        spilled = [
            r.spill_stores + r.spill_loads
            for arch in _nvrtc.architectures(rung)
            for variant in covering(launches()[rung])
            for r in _nvrtc.compile_rung(rung, arch, dict(variant.types), dict(variant.defines)).functions.values()
        ]
        assert any(spilled), f"{rung!r} says why it spills ({rung.spills}), and does not spill"


def test_with_every_cuda_path_unset(tmp_path):
    """A user has no toolkit: nothing in the environment may help, and no folder of a toolkit may be looked into."""
    helpful = ("LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH")
    environment = {k: v for k, v in os.environ.items() if "CUDA" not in k and "NVIDIA" not in k and k not in helpful}
    environment |= {
        "PATH": os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if "cuda" not in p.lower()),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    code = """
import gpudl
import gpudl.optim
from gpudl import _nvrtc
from gpudl._launches import launches
from gpudl.kernels import ladder
for name in ("softmax.forward", "copy.forward"):
    for rung in ladder(name):
        if rung.backend == "cuda":
            for arch in _nvrtc.architectures(rung):
                variant = launches()[rung][0]
                assert _nvrtc.compile_rung(rung, arch, dict(variant.types), dict(variant.defines)).cubin
print(_nvrtc._library()._name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nvidia" in done.stdout and "site-packages" in done.stdout  # the wheel's library, not a system's


def test_resources_command(capsys):
    from gpudl.__main__ import main

    assert main(["resources", "softmax.forward", "--arch", "sm_80"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header, *body = lines
    assert header.split() == ["kernel", "variant", "arch", "registers", "shared", "spills", "stack"]
    assert any("softmax/forward/02_warp_row.cu" in line and "BFloat16" in line and "sm_80" in line for line in body)
    assert main(["resources", "nonsense"]) == 1
    assert "no ladder 'nonsense'" in capsys.readouterr().err


def test_compile_error_of_a_rung_names_its_file(monkeypatch, tmp_path):
    rung = gpudl.kernels.ladder("softmax.forward")["01_naive"]
    with pytest.raises(_nvrtc.CompileError, match=r"kernels/softmax/forward/01_naive\.cu\(\d+\): error"):
        _nvrtc.compile_rung(rung, "sm_80", {"T": gpudl.float32}, {"M": "1 +"})
