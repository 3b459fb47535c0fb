"""mbarrier and bulk copies (sm_90): a pipeline that works, and what goes wrong when a piece of it is missing."""

from pathlib import Path

import numpy as np
import pytest

from gpudl import emulator

pytestmark = pytest.mark.emulator

KERNELS = str(Path(__file__).resolve().parents[2] / "kernels")

# One warp fetches tiles, two warps use them; STAGES tiles are under way. `full` counts bytes, `empty` the threads that are done with a tile.
PIPELINE = """
#include "ptx.cuh"
#define TILE 128
#define STAGES 2
extern "C" __global__ void pipeline(const float* x, float* y, int tiles) {
    __shared__ alignas(128) float s[STAGES][TILE];
    __shared__ unsigned long long full[STAGES], empty[STAGES];
    const int t = threadIdx.x;
    if (t == 0)
        for (int i = 0; i < STAGES; i++) { mbarrier_init(&full[i], 1); mbarrier_init(&empty[i], 64); }
    __syncthreads();
    if (t < 32) {
        if (t == 0)
            for (int k = 0; k < tiles; k++) {
                const int i = k % STAGES, round = k / STAGES;
                if (round) mbarrier_wait_parity(&empty[i], (round - 1) & 1);
                mbarrier_arrive_expect_tx(&full[i], TILE * 4);
                bulk_load(s[i], x + k * TILE, TILE * 2, &full[i]);
                bulk_load(s[i] + TILE / 2, x + k * TILE + TILE / 2, TILE * 2, &full[i]);
            }
    } else {
        float sum = 0;
        for (int k = 0; k < tiles; k++) {
            const int i = k % STAGES, round = k / STAGES;
            mbarrier_wait_parity(&full[i], round & 1);
            sum += s[i][t - 32] + s[i][127 - (t - 32)];
            mbarrier_arrive(&empty[i]);
        }
        y[blockIdx.x * 64 + t - 32] = sum;
    }
}
"""


def run(source=PIPELINE, sanitize=True, grid=2, tiles=7, order="ascending"):
    x = np.random.default_rng(0).normal(size=(tiles, 128)).astype(np.float32)
    y = np.zeros((grid, 64), np.float32)
    module = emulator.compile(source, (f"-I{KERNELS}", "-arch=sm_90"), sanitize=sanitize, order=order, timeout=20)
    module.get_function("pipeline")(grid, 96, (x, y, tiles))
    return y, (x[:, :64] + x[:, :63:-1]).sum(0)


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
@pytest.mark.parametrize("sanitize", [False, True], ids=["fast", "sanitized"])
def test_a_pipeline_of_bulk_copies(sanitize, order):
    got, want = run(sanitize=sanitize, order=order)
    np.testing.assert_allclose(got, np.tile(want, (2, 1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("before", "after", "kind", "message"),
    [
        ("            mbarrier_wait_parity(&full[i], round & 1);\n", "", ("uninitialised", "race"), "s"),  # reads before the copy has come
        ("if (round) mbarrier_wait_parity(&empty[i], (round - 1) & 1);", "", ("race",), "s"),  # overwrites what is still read
        ("mbarrier_arrive(&empty[i]);", "", ("deadlock",), "64 of 64 arrivals"),
        ("TILE * 4);", "TILE * 8);", ("deadlock",), "512 bytes are missing"),
        ("__syncthreads();", "", ("race", "barrier"), ""),  # others may come before the barriers are set up
        ("mbarrier_init(&empty[i], 64)", "mbarrier_init(&empty[i], 32)", ("deadlock", "race"), ""),  # a phase ends too early
        ("mbarrier_init(&empty[i], 64)", "mbarrier_init(&empty[i], 65)", ("deadlock",), "1 of 65 arrivals"),
        ("x + k * TILE,", "x + k * TILE + 1,", ("misaligned",), "multiple of 16"),
        ("x + k * TILE + TILE / 2,", "x + (k + 1) * TILE + TILE / 2,", ("out_of_bounds",), "x"),
        ("mbarrier_init(&full[i], 1);", "", ("barrier",), "not initialised"),
    ],
)  # fmt: skip
def test_a_pipeline_that_lacks_a_piece(before, after, kind, message):
    assert PIPELINE.count(before) == 1
    with pytest.raises(emulator.SanitizerError) as caught:
        run(PIPELINE.replace(before, after))
    assert caught.value.reports[0].kind in kind, str(caught.value)
    assert message in str(caught.value)
    assert caught.value.reports[0].line


def test_nvrtc_takes_the_instructions():
    from gpudl import _nvrtc

    try:
        compiled = _nvrtc.compile(PIPELINE, "pipeline.cu", "sm_90a", [], [KERNELS])
    except _nvrtc.NvrtcMissing as error:
        pytest.skip(str(error))
    assert compiled.functions["pipeline"].spill_stores == 0
