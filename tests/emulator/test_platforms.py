"""Other machines than x86-64 with a recent g++: contexts by ucontext, results that agree, compilers that do not do."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpudl.emulator import _build, _errors

pytestmark = pytest.mark.emulator

# What needs context switches: barriers, warps, faults that leave a kernel by a signal, a launch after them, two workers.
WITHOUT = """
import sys; sys.path.insert(0, {root!r})
import numpy as np
from gpudl import emulator
source = '''
extern "C" __global__ void k(float* y, long long i) {{
    __shared__ float s[64];
    s[threadIdx.x] = threadIdx.x; __syncthreads();
    float v = s[63 - threadIdx.x];
    for (int m = 16; m; m /= 2) v += __shfl_xor_sync(0xffffffffu, v, m);
    y[blockIdx.x * 64 + threadIdx.x + i] = v;
}}
extern "C" __global__ void race(float* y) {{ y[0] += threadIdx.x; }}
extern "C" __global__ void endless(volatile float* y) {{ while (y[0] == 0); }}
'''
y = np.zeros(192, np.float32)
want = np.tile(np.repeat([sum(range(32, 64)), sum(range(32))], 32), 3)
for sanitize in (True, False):
    for workers in (1, 2):
        m = emulator.compile(source, sanitize=sanitize, workers=workers, timeout=0.5)
        kinds = []
        for name, args in (("k", (y, 10**13)), ("race", (y,)), ("endless", (y * 0,))):
            try:
                m.get_function(name)(3, 64, args)
            except emulator.SanitizerError as error:
                kinds.append(error.reports[0].kind)
                assert error.reports[0].line, error
        assert kinds == (["out_of_bounds", "race", "timeout"] if sanitize else ["crash", "timeout"]), kinds
        y[:] = 0
        m.get_function("k")(3, 64, (y, 0))
        assert (y == want).all()
print("fine")
"""


def test_a_machine_without_the_fast_switch(tmp_path):
    code = WITHOUT.format(root=str(Path(_build.__file__).parents[2]))
    environment = os.environ | {"GPUDL_EMU_UCONTEXT": "1", "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout == "fine\n", result.stderr


def test_products_and_sums_are_rounded_one_by_one_where_there_is_a_fused_instruction():
    source = "float f(float a, float b, float c) { return a * b + c; }\n"
    fused = lambda flags: "fmadd" in subprocess.run(
        [_build.compiler()[0], "-S", *flags, "-O2", "-x", "c++", "-", "-o", "-"], input=source, capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    machine = [] if os.uname().machine == "aarch64" else ["-mfma"]
    assert fused(machine) and not fused([*machine, *_build.COMMON])


@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-g++"), reason="no cross compiler (g++-aarch64-linux-gnu)")
def test_the_runtime_and_a_kernel_compile_for_arm(tmp_path, monkeypatch):
    """They also run there: the tests of this folder pass under qemu-aarch64 with a Python for it."""
    cached = (_build.compiler, _build._runtime_digest, _build.runtime_path, _build._prelude)
    monkeypatch.setenv("GPUDL_CXX", "aarch64-linux-gnu-g++")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for function in cached:
        function.cache_clear()
    try:
        source = 'extern "C" __global__ void k(float* y) { extern __shared__ float s[]; s[0] = 1; __syncthreads(); y[0] = s[0]; }\n'
        for sanitize in (True, False):
            built = _build.build(source, (), sanitize)
            assert built.dynamic == "s" and built.entries[0]["name"] == "k"
            assert built.path.read_bytes()[18:20] == b"\xb7\0"  # EM_AARCH64
    finally:
        for function in cached:
            function.cache_clear()


@pytest.mark.parametrize("kind", ["clang version 14.0.6", "g++ (GCC) 10.2.1"])
def test_compilers_that_do_not_do(tmp_path, monkeypatch, kind):
    fake = tmp_path / "c++"
    fake.write_text(f'#!/bin/sh\n[ "$1" = -dumpfullversion ] && echo 10.2.1 || echo "{kind}"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("GPUDL_CXX", str(fake))
    _build.compiler.cache_clear()
    try:
        with pytest.raises(_errors.CompilerMissingError, match=r"needs GCC 11 or newer; .* is .*: install GCC 11"):
            _build.compiler()
    finally:
        _build.compiler.cache_clear()


def test_the_cache_forgets_what_nobody_has_used_for_a_month(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = _build.cache_folder()
    for name, age in (("old.so", 40), ("old.json", 40), ("new.so", 2)):
        (folder / name).write_text("")
        os.utime(folder / name, (time.time() - age * 86400,) * 2)
    for name, age in (("prelude-old", 40), ("prelude-new", 2), ("sources", 40)):
        (folder / name).mkdir()
        os.utime(folder / name, (time.time() - age * 86400,) * 2)
    _build._tidy()
    assert sorted(p.name for p in folder.iterdir()) == ["new.so", "prelude-new", "sources"]
