"""group_norm, layer_norm and instance norm beyond the registry's samples: dispatch by length, halves, running statistics, the CPU's loops."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import kernels, nn
from gpudl.nn import functional as F
from gpudl.ops import group_norm, layer_norm

DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)]


def expected(x: np.ndarray, groups: int, eps: float = 1e-5) -> np.ndarray:
    rows = x.reshape(x.shape[0], groups, -1).astype(np.float64)
    return ((rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + eps)).reshape(x.shape)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_with_float32_parameters(device: str, dtype: str) -> None:
    kind = getattr(gpudl, dtype)
    a = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(kind)
    x = gpudl.tensor(a, device=device).requires_grad_()
    w, b = (gpudl.tensor(v, device=device).requires_grad_() for v in (np.arange(1, 5, dtype=np.float32), np.ones(4, np.float32)))
    y = group_norm(x, 2, w, b)
    y.sum().backward()
    assert y.dtype == kind and x.grad.dtype == kind and w.grad.dtype == gpudl.float32
    want = expected(a.astype(np.float32), 2) * np.arange(1, 5).reshape(4, 1) + 1
    np.testing.assert_allclose(y.detach().cpu().float().numpy(), want, rtol=2e-2 if dtype == "bfloat16" else 2e-3, atol=2e-2)
    np.testing.assert_allclose(b.grad.cpu().numpy(), [16.0] * 4)


@pytest.mark.emulator
@pytest.mark.parametrize("ladder", ["layer_norm.forward", "group_norm.forward"])
def test_a_large_mean_costs_no_digits(ladder: str) -> None:
    a = (10000 + np.random.default_rng(0).normal(size=(2, 1, 600))).astype(np.float32)
    want = expected(a, 1)
    for rung in kernels.ladder(ladder):
        with kernels.use(ladder, rung.name):
            x = gpudl.tensor(a, device="emulator")
            y = layer_norm(x, (600,)) if ladder.startswith("layer") else group_norm(x, 1)
        np.testing.assert_allclose(y.cpu().numpy(), want, atol=5e-3)  # the mean is known to 2^-10 at best
    y = (layer_norm(gpudl.tensor(a), (600,)) if ladder.startswith("layer") else group_norm(gpudl.tensor(a), 1)).numpy()
    np.testing.assert_allclose(y, want, atol=5e-3)


@pytest.mark.emulator
@pytest.mark.parametrize(("N", "forward", "backward"), [
    (100, "03_welford", "02_warp_row"), (512, "06_vector", "05_vector"), (513, "05_registers", "04_registers"),
    (4097, "07_resident", "06_resident"),
])  # fmt: skip
def test_the_length_of_a_row_picks_the_rung_of_layer_norm(N: int, forward: str, backward: str) -> None:
    taken = [kernels.ladder("layer_norm.forward")[forward], kernels.ladder("layer_norm.backward")[backward]]
    before = [rung.launches for rung in taken]
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(2, N)).astype(np.float32), device="emulator").requires_grad_()
    y = layer_norm(x, (N,))
    y.backward(y.detach() ** 2)
    assert [rung.launches for rung in taken] == [b + 1 for b in before]


@pytest.mark.emulator
@pytest.mark.parametrize(("shape", "forward", "backward"), [
    ((2, 4, 25), "02_warp_group", "03_resident"), ((1, 4, 256), "05_vector", "03_resident"), ((1, 4, 255), "04_registers", "03_resident"),
    ((1, 2, 4100), "06_resident", "03_resident"), ((1, 2, 30000), "03_block_group", "02_planes"),
])  # fmt: skip
def test_the_length_of_a_group_picks_the_rung(shape: tuple[int, ...], forward: str, backward: str) -> None:
    taken = [kernels.ladder("group_norm.forward")[forward], kernels.ladder("group_norm.backward")[backward]]
    before = [rung.launches for rung in taken]
    a = np.random.default_rng(0).normal(size=shape)
    x = gpudl.tensor(a.astype(np.float32), device="emulator").requires_grad_()
    y = group_norm(x, 1)
    y.sum().backward()
    assert [rung.launches for rung in taken] == [b + 1 for b in before]
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected(a, 1), atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_instance_norm_and_its_running_statistics(device: str) -> None:
    a = np.random.default_rng(0).normal(2, 3, size=(3, 4, 5, 2))
    norm = nn.InstanceNorm2d(4, momentum=0.3, affine=True, track_running_stats=True, dtype=gpudl.float64).to(device)
    y = norm(gpudl.tensor(a, device=device))
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected(a, 4), atol=1e-12)
    np.testing.assert_allclose(norm.running_mean.cpu().numpy(), 0.3 * a.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.cpu().numpy(), 0.7 + 0.3 * a.var((2, 3), ddof=1).mean(0), rtol=1e-12)
    norm.eval()
    mean, var = (t.cpu().numpy().reshape(4, 1, 1) for t in (norm.running_mean, norm.running_var))
    np.testing.assert_allclose(norm(gpudl.tensor(a, device=device)).detach().cpu().numpy(), (a - mean) / np.sqrt(var + 1e-5), atol=1e-12)
    alone = nn.InstanceNorm2d(4)(gpudl.tensor(a[0].astype(np.float32))).numpy()
    np.testing.assert_allclose(alone, expected(a[:1], 4)[0], atol=1e-5)


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: nn.InstanceNorm1d(3)(gpudl.ones(2, 4, 5)), ValueError, "its 4 channels must be num_features = 3"),
    (lambda: nn.InstanceNorm1d(3)(gpudl.ones(5)), ValueError, "InstanceNorm1d: input is"),
    (lambda: F.instance_norm(gpudl.ones(2, 3, 1)), ValueError, "more than 1 position"),
    (lambda: F.instance_norm(gpudl.ones(2, 3, 2), gpudl.zeros(3)), RuntimeError, "must be given together"),
    (lambda: group_norm(gpudl.ones(2, 3, 2), 0), ValueError, "divisible by num_groups = 0"),
])  # fmt: skip
def test_bad_arguments(call, kind, message) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_views_of_other_strides_on_the_cpu() -> None:
    a = np.random.default_rng(0).normal(size=(5, 3, 4, 6)).astype(np.float32)
    x = gpudl.from_numpy(a).permute(1, 3, 0, 2)
    np.testing.assert_allclose(group_norm(x, 3).numpy(), expected(a.transpose(1, 3, 0, 2).copy(), 3), atol=1e-5)
    np.testing.assert_allclose(
        layer_norm(x.reshape(3, 6, 20), (6, 20)).numpy().reshape(3, 6, 5, 4), expected(a.transpose(1, 3, 0, 2).copy(), 1), atol=1e-5
    )


def test_what_is_not_finite_stays_in_its_row() -> None:
    x = np.random.default_rng(0).normal(size=(4, 37)).astype(np.float32)
    x[1, 5], x[2, 7] = np.nan, np.inf
    y = layer_norm(gpudl.tensor(x), (37,)).numpy()
    assert np.isfinite(y[[0, 3]]).all() and np.isnan(y[1:3]).all()
