"""Losses beyond the registry's samples: extreme logits, labels that are wrong, ignored or NaN, empty batches, repeatable sums."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from accesses import accesses

import gpudl
from gpudl import kernels
from gpudl.nn import functional as F

DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)]


def t(value, device, grad=False):
    made = gpudl.tensor(np.asarray(value), device=device)
    return made.requires_grad_() if grad else made


def host(x):
    return x.detach().cpu().numpy()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rung", [("01", "01"), ("02", "02"), ("03", "02"), ("04", "03"), ("05", "04")])
def test_extreme_logits_are_exact(device, rung) -> None:
    with kernels.use("cross_entropy.forward", rung[0]), kernels.use("cross_entropy.backward", rung[1]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows of three doubles are no vectors: another rung takes those
        x = t(np.array([[1e5, 1e5 - 1, -1e5, -np.inf], [-3e38, 3e38, 0.0, -3e38]], np.float32), device, grad=True)
        loss = F.cross_entropy(x, t([1, 1], device), reduction="none")
        np.testing.assert_allclose(host(loss), [1 + np.log1p(np.exp(-1)), 0.0], rtol=1e-6)
        loss.sum().backward()
        p = 1 / (1 + np.exp(-1))
        np.testing.assert_allclose(host(x.grad), [[p, -p, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], rtol=1e-6)
        y = t([[0.0, -np.inf, 1.0]], device, grad=True)
        loss = F.cross_entropy(y, t([0], device))
        loss.backward()
        np.testing.assert_allclose(host(loss), np.log(1 + np.e), rtol=1e-12)
        np.testing.assert_allclose(host(y.grad), [[-np.e / (1 + np.e), 0.0, np.e / (1 + np.e)]], rtol=1e-12)
        assert F.cross_entropy(y, t([1], device)).item() == np.inf


@pytest.mark.parametrize("device", DEVICES)
def test_extreme_binary_logits(device) -> None:
    x = t(np.array([1e4, -1e4, 1e4, -1e4, 0.0], np.float32), device, grad=True)
    loss = F.binary_cross_entropy_with_logits(x, t(np.array([1, 0, 0, 1, 0.5], np.float32), device), reduction="none")
    np.testing.assert_allclose(host(loss), [0.0, 0.0, 1e4, 1e4, np.log(2)], rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(host(x.grad), [0.0, 0.0, 1.0, -1.0, 0.0], atol=1e-7)
    tiny = t(np.array([-60.0]), device, grad=True)  # sigmoid(x) - t without cancellation, on both sides
    F.binary_cross_entropy_with_logits(tiny, t([0.0], device)).backward()
    np.testing.assert_allclose(host(tiny.grad), np.exp(-60.0), rtol=1e-12)
    tiny = t(np.array([60.0]), device, grad=True)
    F.binary_cross_entropy_with_logits(tiny, t([1.0], device)).backward()
    np.testing.assert_allclose(host(tiny.grad), -np.exp(-60.0), rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("label", [3, -1, -99, 2**40])
def test_labels_out_of_range_raise_at_once(loss, label, device) -> None:
    x = t(np.zeros((4, 3)), device)
    with pytest.raises(IndexError, match=r"cross_entropy|nll_loss"):
        loss(x, t([0, 1, label, 2], device))
    assert np.isfinite(loss(x, t([0, 1, 2, 2], device)).item())  # nothing is left behind
    if label < 0:
        assert np.isfinite(loss(x, t([0, 1, label, 2], device), ignore_index=label).item())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_all_ignored_and_empty(loss, device) -> None:
    x = t(np.log(np.full((2, 4), 0.25)), device, grad=True)
    mean = loss(x, t([-100, -100], device))
    assert np.isnan(mean.item())  # 0 / 0, as in PyTorch
    mean.backward()
    np.testing.assert_array_equal(host(x.grad), np.zeros((2, 4)))
    assert loss(x, t([-100, -100], device), reduction="sum").item() == 0.0
    empty, none = t(np.zeros((0, 4)), device), t(np.zeros(0, np.int64), device)
    assert np.isnan(loss(empty, none).item()) and loss(empty, none, reduction="sum").item() == 0.0
    assert loss(empty, none, reduction="none").shape == (0,)


@pytest.mark.parametrize("device", DEVICES)
def test_ignored_rows_get_no_gradient_even_where_they_are_nan(device) -> None:
    x = np.zeros((2, 3))
    x[0] = np.nan
    leaf = t(x, device, grad=True)
    loss = F.cross_entropy(leaf, t([-100, 1], device))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(3))
    np.testing.assert_allclose(host(leaf.grad)[1], [1 / 3, -2 / 3, 1 / 3])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy", "kl_div"]
)
def test_nan_targets_give_nan(name, device) -> None:
    loss = getattr(F, name)
    x = t([0.5, 0.25], device, grad=True)
    target = t([np.nan, 0.5], device)
    out = loss(x, target, reduction="none")
    assert np.isnan(host(out)[0]) and np.isfinite(host(out)[1])
    mean = loss(x, target)
    assert np.isnan(mean.item())
    mean.backward()
    assert np.isnan(host(x.grad)[0]) and np.isfinite(host(x.grad)[1])
    assert np.isnan(loss(t(np.zeros(0), device), t(np.zeros(0), device)).item())


@pytest.mark.parametrize("device", DEVICES)
def test_nan_probabilities_give_nan(device) -> None:
    x = t(np.zeros((2, 3)), device, grad=True)
    loss = F.cross_entropy(x, t([[np.nan, 0.5, 0.5], [1.0, 0.0, 0.0]], device), reduction="none")
    assert np.isnan(host(loss)[0]) and host(loss)[1] == pytest.approx(np.log(3))
    loss.sum().backward()
    assert np.isfinite(host(x.grad)[1]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_probabilities_outside_the_unit_interval(device) -> None:
    with pytest.raises(RuntimeError, match="binary_cross_entropy: all elements of input should be between 0 and 1"):
        F.binary_cross_entropy(t([0.5, -0.1], device), t([1.0, 1.0], device))
    x = t([0.0, 1.0], device, grad=True)
    out = F.binary_cross_entropy(x, t([1.0, 0.0], device), reduction="none")
    np.testing.assert_array_equal(host(out), [100.0, 100.0])
    out.sum().backward()
    assert np.isfinite(host(x.grad)).all()


@pytest.mark.emulator
def test_reduced_losses_are_repeatable_bit_for_bit() -> None:
    """The order of threads, warps and blocks does not reach the result."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(2000, 5)).astype(np.float32), rng.integers(0, 5, 2000)
    seen = set()
    for order in ("ascending", "descending", "random"):
        with kernels.emulation(order=order):
            a = F.cross_entropy(t(x, "emulator"), t(labels, "emulator"))
            b = F.mse_loss(t(x, "emulator"), t(x[::-1].copy(), "emulator"))
            seen.add((a.item(), b.item()))
    assert len(seen) == 1


@pytest.mark.parametrize("device", DEVICES)
def test_int32_and_uint8_labels_and_strided_logits(device) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 3))
    want = F.cross_entropy(gpudl.tensor(np.ascontiguousarray(x.transpose(0, 2, 1))), gpudl.tensor(np.array([[0, 1, 2, 0, 1]] * 4)))
    for dtype in (np.int32, np.uint8, np.int16):
        got = F.cross_entropy(t(x, device).transpose(1, 2), t(np.array([[0, 1, 2, 0, 1]] * 4, dtype), device))
        assert got.item() == pytest.approx(want.item(), rel=1e-12)


def test_old_reduction_words_warn_and_work() -> None:
    x, y = gpudl.tensor([1.0, 3.0]), gpudl.tensor([0.0, 0.0])
    with pytest.warns(UserWarning, match="reduction='sum'"):
        assert F.mse_loss(x, y, size_average=False).item() == 10.0
    with pytest.warns(UserWarning, match="reduction='none'"):
        assert F.mse_loss(x, y, reduce=False).shape == (2,)


def test_broadcasting_warns() -> None:
    x, y = gpudl.tensor(np.ones((3, 1)), requires_grad=True), gpudl.tensor(np.zeros(4), requires_grad=True)
    with pytest.warns(UserWarning, match="broadcasting them is rarely meant"):
        loss = F.mse_loss(x, y)
    loss.backward()
    assert loss.item() == 1.0
    np.testing.assert_allclose(x.grad.numpy(), np.full((3, 1), 8 / 12))
    np.testing.assert_allclose(y.grad.numpy(), np.full(4, -6 / 12))


@pytest.mark.parametrize("device", DEVICES)
def test_integer_targets_are_promoted(device) -> None:
    assert F.mse_loss(t(np.array([1.0, 3.0], np.float32), device), t([0, 1], device)).item() == 2.5


def test_logits_changed_before_backward_are_noticed() -> None:
    x = gpudl.tensor(np.ones((2, 3)), requires_grad=True)
    y = x * 1
    loss = F.mse_loss(y, gpudl.tensor(np.zeros((2, 3))))
    y.add_(1)
    with pytest.raises(RuntimeError, match="mse_loss: x .* was changed in place"):
        loss.backward()


@pytest.mark.emulator
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("way", "rung"), [(way, r.name) for way in ("forward", "backward") for r in kernels.ladder(f"pointwise_loss.{way}")]
)
def test_bytes_that_pointwise_losses_request(way, rung, weighted, reduction) -> None:
    rng = np.random.default_rng(0)
    x, target, w = (t(rng.normal(size=(64, 256)).astype(np.float32), "emulator", grad=k == 0) for k in range(3))

    def work():
        loss = F.binary_cross_entropy_with_logits(x, target, reduction=reduction, pos_weight=w if weighted else None)
        loss.backward(gpudl.ones_like(loss))

    found = accesses(f"pointwise_loss.{way}", rung, work)
    assert abs(found.asked - found.stated) <= 0.01 * found.stated  # besides: a sum a block, written and read
    wide = sum(line.bytes for line in found.lines if line.space == "global" and line.ideal_sectors == 16 * line.requests)
    assert (wide > 0.9 * found.stated) == (rung in ("02_vector", "03_vector"))


@pytest.mark.emulator
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_pointwise_losses_of_views_that_start_anywhere(reduction) -> None:
    """One element into its memory a view is not aligned to 16 bytes; the vector rungs must notice."""
    rng = np.random.default_rng(0)
    memory = [rng.normal(size=38).astype(np.float32) for _ in range(2)]
    found = []
    for device in ("cpu", "emulator"):
        a, b = (t(m, device, grad=True) for m in memory)
        with kernels.emulation(sanitize=True):
            loss = F.mse_loss(a[1:], b[1:], reduction=reduction)
            loss.backward(gpudl.ones_like(loss))
        found.append([host(v) for v in (loss, a.grad, b.grad)])
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("forward", "backward"),
    [("02_warp_row", "02_warp_row"), ("03_online", None), ("04_block_row", "03_block_row"), ("05_vector", "04_vector")],
)
@pytest.mark.parametrize("kind", ["labels", "smoothing", "probabilities"])
def test_bytes_that_cross_entropy_requests(forward, backward, kind) -> None:
    """With smoothing each thread of a forward asks for its row's label, too: 2 KB of 32 a row."""
    rng = np.random.default_rng(0)
    M, C = 4, 4096
    x = t(rng.normal(size=(M, C)).astype(np.float32), "emulator", grad=True)
    p = np.exp(rng.normal(size=(M, C)))
    target = t((p / p.sum(1, keepdims=True)).astype(np.float32) if kind == "probabilities" else rng.integers(0, C, M), "emulator")

    def work():
        F.cross_entropy(x, target, label_smoothing=0.1 if kind == "smoothing" else 0.0).backward()

    found = accesses("cross_entropy.forward", forward, work)
    assert found.stated <= found.asked <= (1.15 if kind == "smoothing" else 1.01) * found.stated
    wide = [line for line in found.lines if line.space == "global" and line.ideal_sectors == 16 * line.requests]
    assert bool(wide) == (forward == "05_vector")
    if backward:
        found = accesses("cross_entropy.backward", backward, work)
        assert abs(found.asked - found.stated) <= 0.01 * found.stated


@pytest.mark.emulator
@pytest.mark.parametrize("rung", [r.name for r in kernels.ladder("nll_loss.forward")])
def test_bytes_that_nll_loss_requests(rung) -> None:
    x = gpudl.zeros(2048, 32, device="emulator", requires_grad=True)
    target = gpudl.zeros(2048, dtype="int64", device="emulator")
    found = accesses("nll_loss.forward", rung, lambda: F.nll_loss(x, target))
    assert abs(found.asked - found.stated) <= 0.02 * found.stated  # and the partial sums
    for name in ("01_naive", "02_vector"):
        found = accesses("nll_loss.backward", name, lambda: F.nll_loss(x, target).backward())
        assert abs(found.asked - found.stated) <= 0.05 * found.stated  # and dy and the sum of the weights where a row has its label


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("M", "C"), [(2, 50257), (3, 4100)])
def test_the_rows_of_a_language_model(device, M, C) -> None:
    """Long rows, of a length that is a multiple of 16 bytes and not; beside NumPy in float64."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(0, 3, size=(M, C)).astype(np.float32), rng.integers(0, C, M)
    given = t(x, device, grad=True)
    loss = F.cross_entropy(given, t(labels, device))
    loss.backward()
    wide = x.astype(np.float64)
    lse = np.log(np.exp(wide).sum(1))
    want = np.exp(wide - lse[:, None])
    want[np.arange(M), labels] -= 1
    eps = 2.0**-23
    assert abs(loss.item() - (lse - wide[np.arange(M), labels]).mean()) <= 2 * eps * np.sqrt(C) * 10
    assert np.abs(host(given.grad) - want / M).max() <= 2 * eps * np.sqrt(C)
