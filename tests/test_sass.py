"""The machine code of rungs whose idea is an instruction: that the compiler makes it. Needs NVRTC and nvdisasm, no GPU."""

from __future__ import annotations

import re

import pytest

from gpudl import _dtypes, _nvrtc
from gpudl.kernels import ladder

pytestmark = pytest.mark.skipif(_nvrtc.disassembler() is None, reason="nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")

# ladder, rung, dtype: how often an instruction stands in the code, as minimum. 16 bytes: LDG.E.128 (global load), STG.E.128, LDS.128, STS.128; cp.async:
# LDGSTS; ldmatrix: LDSM; mma: HMMA; multiply-add: FFMA. The numbers follow from the tiles, see the comments.
MEANT = [
    ("matmul.forward", "05_vector", "float32", {r"LDG\.E\.128": 2, r"LDS\.128": 2 * 16, r"STG\.E\.128": 4, "FFMA": 16 * 16}),  # BK * (TM + TN) / 4
    ("matmul.forward", "06_swizzle", "float32", {r"LDG\.E\.128": 2, r"LDS\.128": 2 * 16, r"STG\.E\.128": 4, "FFMA": 16 * 16}),
    ("matmul.forward", "07_warp_tile", "float32", {r"LDG\.E\.128": 4, r"LDS\.128": 4 * 16, r"STG\.E\.128": 16, "FFMA": 16 * 64}),
    ("matmul.forward", "08_async", "float32", {r"LDGSTS\.E\.BYPASS\.128": 8, "LDGDEPBAR": 2, r"LDS\.128": 4 * 8, "FFMA": 8 * 64}),
    ("matmul.forward", "09_supertile", "float32", {r"LDGSTS\.E\.BYPASS\.128": 8, r"LDS\.128": 4 * 8, r"STG\.E\.128": 16, "FFMA": 8 * 64}),
    ("matmul.forward", "10_split_k", "float32", {r"LDGSTS\.E\.BYPASS\.128": 8, r"LDS\.128": 2 * 8, r"STG\.E\.128": 4, "FFMA": 8 * 16}),
    ("matmul.forward", "11_stream_k", "float32", {r"LDGSTS\.E\.BYPASS\.128": 8, r"LDS\.128": 4 * 8, r"STG\.E\.128": 2 * 16, "FFMA": 8 * 64}),
    # four layouts of the operands, WM / 16 * WN / 8 products
    ("matmul.forward", "12_tf32", "float32", {r"LDGSTS\.E\.BYPASS\.128": 4, r"HMMA\.1688\.F32\.TF32": 4 * 16, r"STG\.E\.64": 32}),
    ("matmul.forward", "13_tf32x3", "float32", {r"LDGSTS\.E\.BYPASS\.128": 4, r"HMMA\.1688\.F32\.TF32": 4 * 16 * 3, "FADD": 64}),
    ("matmul.forward", "14_half", "float16", {r"LDGSTS\.E\.BYPASS": 4, r"HMMA\.16816\.F32$": 4 * 16, r"LDSM\.16\.M88\.4": 2 * 6, r"LDSM\.16\.MT88\.4": 2 * 6}),
    ("matmul.forward", "14_half", "bfloat16", {r"HMMA\.16816\.F32\.BF16": 4 * 16, r"LDSM\.16\.M88\.4": 2 * 6, r"LDSM\.16\.MT88\.4": 2 * 6}),
]  # fmt: skip


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize(("name", "rung", "dtype", "meant"), MEANT, ids=[f"{n}-{r}-{d}" for n, r, d, _ in MEANT])
def test_the_instructions_that_are_meant(name: str, rung: str, dtype: str, meant: dict, arch: str) -> None:
    record = ladder(name)[rung]
    compiled = _nvrtc.compile_rung(record, arch, {"T": _dtypes.as_dtype(dtype)}, {"BIAS": 0, "ACT": "identity"})
    code = _nvrtc.instructions(compiled.cubin)[record.steps[0].entry]
    for pattern, least in meant.items():
        found = sum(bool(re.match(pattern, op)) for op in code)
        assert found >= least, f"{pattern}: {found} of {least}"
    assert not [op for op in code if op.startswith(("LDL", "STL"))], "spills"
