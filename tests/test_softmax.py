"""softmax and log_softmax beyond the registry's samples: rows of infinities and NaN through every rung, the dispatch rule, repeatability."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import kernels
from gpudl.ops.softmax import BLOCK, KEEP

pytestmark = pytest.mark.emulator
LENGTHS = [1, 31, BLOCK + 1, 2 * BLOCK, BLOCK * KEEP]


def rungs(name: str) -> list:
    return [rung.name for rung in kernels.ladder(name) if rung.backend == "cuda"]


@pytest.mark.filterwarnings("ignore:.*does not take")
@pytest.mark.parametrize("rung", rungs("softmax.forward"))
@pytest.mark.parametrize("N", LENGTHS[:-1])
def test_rows_that_are_not_finite(rung, N) -> None:
    """-inf takes no part, however many threads see nothing else; a row with NaN or +inf, or of -inf alone, is NaN."""
    x = np.full((6, N), -np.inf, np.float32)
    x[0, N // 2] = -300  # one number, far below where exp underflows
    x[1, N - 1], x[1, 0] = 400, 400  # where exp overflows
    x[2, N // 3] = np.nan
    x[3, N // 2] = np.inf
    x[5] = np.linspace(-200, 200, N)  # most warps are 0 beside the last one
    with kernels.use("softmax.forward", rung), kernels.emulation(sanitize=True):
        y = gpudl.softmax(gpudl.tensor(x, device="emulator"), 1).cpu().numpy()
    want = np.zeros((2, N))
    want[0, N // 2] = 1
    want[1, N - 1] = want[1, 0] = 1 if N == 1 else 0.5
    np.testing.assert_array_equal(y[:2], want)
    assert np.isnan(y[2:5]).all()
    wide = x[5].astype(np.float64)
    e = np.exp(wide - wide.max())
    # an exponent of up to 400 rounded to float32 is off by 2^-16, and e^d - 1 is about d
    np.testing.assert_allclose(y[5], e / e.sum(), rtol=1e-4, atol=1e-30)


@pytest.mark.filterwarnings("ignore:.*does not take")
@pytest.mark.parametrize("rung", rungs("log_softmax.forward"))
@pytest.mark.parametrize("N", LENGTHS[:-1])
def test_logarithms_of_rows_that_are_not_finite(rung, N) -> None:
    x = np.full((6, N), -np.inf, np.float32)
    x[0, N // 2] = -300
    x[1, N - 1], x[1, 0] = 1e8, 1e8  # where hi + log(sum) would lose the logarithm
    x[2, N // 3] = np.nan
    x[3, N // 2] = np.inf
    x[5] = np.linspace(-200, 200, N)
    with kernels.use("log_softmax.forward", rung), kernels.emulation(sanitize=True):
        y = gpudl.log_softmax(gpudl.tensor(x, device="emulator"), 1).cpu().numpy()
    want = np.full((2, N), -np.inf)
    want[0, N // 2] = 0
    want[1, N - 1] = want[1, 0] = 0 if N == 1 else -np.log(2)
    np.testing.assert_allclose(y[:2], want, rtol=1e-6)
    assert np.isnan(y[2:5]).all()
    wide = x[5].astype(np.float64)
    # differences of up to 400, rounded to float32
    np.testing.assert_allclose(y[5], wide - wide.max() - np.log(np.exp(wide - wide.max()).sum()), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*does not take")
@pytest.mark.parametrize("rung", rungs("log_softmax.backward"))
@pytest.mark.parametrize("N", LENGTHS)
def test_backward_of_the_logarithm_at_the_edges_of_a_rung(rung, N) -> None:
    rng = np.random.default_rng(N)
    x, dy = rng.normal(size=(2, N)), rng.normal(size=(2, N))
    with kernels.use("log_softmax.backward", rung), kernels.emulation(sanitize=True):
        leaf = gpudl.tensor(x, device="emulator").requires_grad_()
        gpudl.log_softmax(leaf, 1).backward(gpudl.tensor(dy, device="emulator"))
    y = np.exp(x - x.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    np.testing.assert_allclose(leaf.grad.cpu().numpy(), dy - y * dy.sum(1, keepdims=True), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*does not take")
@pytest.mark.parametrize("rung", rungs("softmax.backward"))
@pytest.mark.parametrize("N", LENGTHS)
def test_backward_at_the_edges_of_a_rung(rung, N) -> None:
    rng = np.random.default_rng(N)
    x, dy = rng.normal(size=(2, N)), rng.normal(size=(2, N))
    with kernels.use("softmax.backward", rung), kernels.emulation(sanitize=True):
        leaf = gpudl.tensor(x, device="emulator").requires_grad_()
        gpudl.softmax(leaf, 1).backward(gpudl.tensor(dy, device="emulator"))
    y = np.exp(x - x.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    np.testing.assert_allclose(leaf.grad.cpu().numpy(), y * (dy - (y * dy).sum(1, keepdims=True)), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize(("N", "forward", "backward"), [
    (10, "03_online", "02_warp_row"),
    (2 * BLOCK - 1, "03_online", "02_warp_row"),
    (2 * BLOCK, "06_vector", "05_vector"),
    (2 * BLOCK + 1, "05_registers", "04_registers"),
    (BLOCK * KEEP, "06_vector", "05_vector"),
    (BLOCK * KEEP + 1, "07_resident", "06_resident"),
    (30000, "04_block_row", "03_block_row"),
])  # fmt: skip
def test_the_length_of_a_row_picks_the_rung(op, N, forward, backward) -> None:
    taken = [kernels.ladder(f"{op}.forward")[forward], kernels.ladder(f"{op}.backward")[backward]]
    before = [rung.launches for rung in taken]
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(2, N)), device="emulator").requires_grad_()
    y = getattr(gpudl, op)(x, 1)
    y.backward(y.detach())
    assert [rung.launches for rung in taken] == [b + 1 for b in before]
    y = y.detach().cpu().numpy()
    np.testing.assert_allclose((y if op == "softmax" else np.exp(y)).sum(1), 1, rtol=1e-12)


def test_a_row_that_starts_between_vectors_is_copied_first() -> None:
    x = np.random.default_rng(0).normal(size=1 + 2 * 2 * BLOCK)
    leaf = gpudl.tensor(x, device="emulator")
    with kernels.emulation(sanitize=True):
        y = gpudl.softmax(leaf[1:].reshape(2, 2 * BLOCK), 1)
    np.testing.assert_allclose(y.cpu().numpy(), gpudl.softmax(gpudl.tensor(x[1:].reshape(2, -1)), 1).numpy(), rtol=1e-12)
