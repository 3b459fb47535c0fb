"""batch_norm beyond the registry's samples: running statistics, modes, dtypes, in-place checks, the fused ReLU."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import kernels
from gpudl.ops import batch_norm, batch_norm_relu
from gpudl.ops.batch_norm import BLOCK, split, width

DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)]
SHAPES = [(6, 3), (4, 3, 5), (2, 3, 4, 2), (300, 33), (2, 2, 300), (3, 1, 2100)]


def rungs(name: str) -> list:
    return [rung.name for rung in kernels.ladder(name) if rung.backend == "cuda"]


def statistics(C: int, device: str, dtype=np.float64):
    return gpudl.tensor(np.linspace(-1, 1, C).astype(dtype), device=device), gpudl.tensor(np.linspace(1, 2, C).astype(dtype), device=device)


def expected(x: np.ndarray, momentum: float, C: int):
    axes = (0, *range(2, x.ndim))
    mean, var = np.linspace(-1, 1, C), np.linspace(1, 2, C)
    return (1 - momentum) * mean + momentum * x.mean(axes), (1 - momentum) * var + momentum * x.var(axes, ddof=1)


def check_statistics(shape, device: str, momentum: float = 0.3) -> None:
    x = np.random.default_rng(0).normal(2, 3, shape)
    mean, var = statistics(shape[1], device)
    versions = mean._version, var._version
    batch_norm(gpudl.tensor(x, device=device), mean, var, training=True, momentum=momentum)
    for got, want in zip((mean, var), expected(x, momentum, shape[1]), strict=True):
        np.testing.assert_allclose(got.cpu().numpy(), want, rtol=1e-12)
    assert mean._version > versions[0] and var._version > versions[1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.0, 0.3, 1.0])
def test_running_statistics(shape, momentum) -> None:
    check_statistics(shape, "cpu", momentum)


@pytest.mark.emulator
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rung", rungs("batch_norm.forward"))
def test_running_statistics_of_every_rung(shape, rung) -> None:
    if rung == "04_columns" and len(shape) > 2 or rung == "06_vector" and np.prod(shape[2:]) % 2:
        return
    with kernels.use("batch_norm.forward", rung), kernels.emulation(sanitize=True):
        check_statistics(shape, "emulator")


@pytest.mark.filterwarnings("ignore:batch_norm.forward. rung")  # this shape has too few values for vectors
@pytest.mark.emulator
@pytest.mark.parametrize("rung", rungs("batch_norm.forward"))
def test_a_large_mean_costs_no_digits(rung) -> None:
    """The variance is of differences from the mean: E[x^2] - E[x]^2 in float32 would be off by 100 % here."""
    x = (10000 + np.random.default_rng(0).normal(size=(200, 3))).astype(np.float32)
    _, var = statistics(3, "emulator", np.float32)
    mean = gpudl.zeros(3, device="emulator")
    with kernels.use("batch_norm.forward", rung):
        batch_norm(gpudl.tensor(x, device="emulator"), mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(var.cpu().numpy(), x.astype(np.float64).var(0, ddof=1), rtol=2e-3)


def test_a_large_mean_costs_no_digits_on_the_cpu() -> None:
    x = (10000 + np.random.default_rng(0).normal(size=(64, 3, 20))).astype(np.float32)
    mean, var = gpudl.zeros(3), gpudl.zeros(3)
    batch_norm(gpudl.tensor(x), mean, var, training=True, momentum=1.0)
    np.testing.assert_allclose(var.numpy(), x.astype(np.float64).var((0, 2), ddof=1), rtol=2e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_inputs_with_float32_parameters(device, dtype) -> None:
    kind = getattr(gpudl, dtype)
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(8, 3, 4)).astype(kind), device=device).requires_grad_()
    w, b = (
        gpudl.tensor([1.0, 2.0, -1.0], device=device, requires_grad=True),
        gpudl.tensor([0.0, 1.0, 2.0], device=device, requires_grad=True),
    )
    mean, var = gpudl.zeros(3, device=device), gpudl.ones(3, device=device)
    y = batch_norm(x, mean, var, w, b, training=True)
    y.sum().backward()
    assert y.dtype == kind and x.grad.dtype == kind and w.grad.dtype == gpudl.float32 and mean.dtype == gpudl.float32
    np.testing.assert_allclose(mean.cpu().numpy(), 0.1 * x.detach().cpu().float().numpy().mean((0, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(b.grad.cpu().numpy(), [32.0] * 3)
    assert batch_norm(x, mean, var, w, b).dtype == kind


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("training", [True, False])
def test_fused_relu_equals_the_two_ops(device, training) -> None:
    rng = np.random.default_rng(0)
    x, w, b, dy = rng.normal(size=(4, 3, 5)), rng.normal(size=3), rng.normal(size=3), rng.normal(size=(4, 3, 5))
    results = []
    for fused in (True, False):
        leaves = [gpudl.tensor(a, device=device).requires_grad_() for a in (x, w, b)]
        mean, var = statistics(3, device)
        args = (leaves[0], mean, var, leaves[1], leaves[2], training)
        y = batch_norm_relu(*args) if fused else batch_norm(*args).relu()
        y.backward(gpudl.tensor(dy, device=device))
        results.append([y, mean, *(t.grad for t in leaves)])
    for got, want in zip(*results, strict=True):
        np.testing.assert_array_equal(got.detach().cpu().numpy(), want.detach().cpu().numpy())


def test_strides_of_channels_last() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype(np.float32)
    last = gpudl.from_numpy(x).permute(0, 3, 1, 2)
    plain = gpudl.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    for training in (True, False):
        mean, var = gpudl.zeros(3), gpudl.ones(3)
        np.testing.assert_allclose(
            batch_norm(last, mean, var, training=training).numpy(),
            batch_norm(plain, mean, var, training=training).numpy(),
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize("device", DEVICES)
def test_an_empty_batch_changes_no_statistics(device) -> None:
    mean, var = statistics(3, device)
    w = gpudl.tensor([1.0, 2.0, 3.0], dtype=gpudl.float64, device=device, requires_grad=True)
    y = batch_norm(gpudl.zeros((0, 3, 4), dtype=gpudl.float64, device=device), mean, var, w, training=True)
    y.sum().backward()
    assert y.shape == (0, 3, 4)
    np.testing.assert_array_equal(mean.cpu().numpy(), np.linspace(-1, 1, 3))
    np.testing.assert_array_equal(w.grad.cpu().numpy(), np.zeros(3))


@pytest.mark.emulator
@pytest.mark.parametrize("rung", rungs("batch_norm.forward"))
@pytest.mark.filterwarnings("ignore:batch_norm.forward. rung")
def test_statistics_that_are_views_at_any_address(rung) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    means, variances = gpudl.zeros(4, device="emulator"), gpudl.ones(4, device="emulator")
    with kernels.use("batch_norm.forward", rung):
        gpudl.nn.functional.batch_norm(gpudl.tensor(x, device="emulator"), means[1:], variances[1:], training=True)
    np.testing.assert_allclose(means.cpu().numpy(), [0, *(0.1 * x.mean((0, 2, 3)))], rtol=1e-5, atol=1e-7)


def test_nan_stays_in_its_channel() -> None:
    x = np.random.default_rng(0).normal(size=(5, 2))
    x[3, 0] = np.nan
    y = batch_norm_relu(gpudl.tensor(x), None, None, training=True).numpy()
    assert np.isnan(y[:, 0]).all() and np.isfinite(y[:, 1]).all()


def test_statistics_that_change_before_backward_are_noticed() -> None:
    mean, var = statistics(3, "cpu")
    x = gpudl.tensor(np.ones((4, 3)), requires_grad=True)
    y = batch_norm(x, mean, var)
    batch_norm(gpudl.tensor(np.random.default_rng(0).normal(size=(4, 3))), mean, var, training=True)
    with pytest.raises(RuntimeError, match="batch_norm: (mean|var) .* was changed in place"):
        y.sum().backward()


@pytest.mark.parametrize(("change", "kind", "message"), [
    (dict(running_var=None), RuntimeError, "must be given together"),
    (dict(momentum=None), TypeError, "momentum is None"),
    (dict(eps=-1.0), ValueError, "eps -1.0"),
    (dict(running_mean=gpudl.zeros(3, dtype=gpudl.float64)), TypeError, "running_mean is float64 and input is float32"),
    (dict(running_mean=np.zeros(3)), TypeError, "running_mean must be a Tensor"),
    (dict(weight=gpudl.ones(3).requires_grad_(), running_mean=gpudl.zeros(3).requires_grad_()), RuntimeError, "running_mean: a leaf that requires"),
])  # fmt: skip
def test_bad_arguments_change_nothing(change, kind, message) -> None:
    args = dict(running_mean=gpudl.zeros(3), running_var=gpudl.ones(3), training=True) | change
    with pytest.raises(kind, match=message):
        batch_norm(gpudl.tensor(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)), **args)
    for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
        if isinstance(args[name], gpudl.Tensor):
            np.testing.assert_array_equal(args[name].detach().numpy(), np.full(3, value))


@pytest.mark.emulator
def test_devices_are_not_mixed() -> None:
    with pytest.raises(RuntimeError, match="batch_norm: input 0 on cpu, input 1 on emulator"):
        batch_norm(gpudl.zeros((4, 3)), gpudl.zeros(3, device="emulator"), gpudl.ones(3, device="emulator"))


@pytest.mark.parametrize(("shape", "blocks"), [
    ((3, 1, 2100), 6), ((64, 6, 784), 32), ((1, 3, 10**6), 342), ((10**5, 1, 1), 49), ((1, 4096, 10**4), 1), ((1, 1, 10**9), 1024), ((2, 70000, 1), 1),
])  # fmt: skip
def test_a_channel_is_split_so_that_no_block_has_too_little(shape, blocks) -> None:
    groups, pieces = split(*shape)
    assert groups * pieces == blocks
    assert max(groups, pieces) <= 65535  # the grid's limit
    assert (groups - 1) * BLOCK // width(shape[2]) < shape[0] and (pieces - 1) * width(shape[2]) < shape[2], "a block without values"


@pytest.mark.emulator
@pytest.mark.parametrize(("shape", "rung"), [
    ((9, 2, 1000), "vector"), ((9, 2, 1001), "split"), ((4, 2, 1000), "block_channel"), ((9000, 2), "columns"), ((2, 256, 3), "resident"),
])  # fmt: skip
def test_few_long_channels_are_split_and_many_short_ones_stay(shape, rung) -> None:
    taken = [r for name in ("forward", "backward") for r in kernels.ladder(f"batch_norm.{name}") if r.name.endswith(rung)]
    assert len(taken) == 2
    before = [r.launches for r in taken]
    x = gpudl.tensor(np.random.default_rng(0).normal(size=shape), device="emulator").requires_grad_()
    results = []
    for _ in range(2):
        x.grad = None
        y = batch_norm(x, None, None, training=True)
        y.backward(y.detach() ** 2)
        results.append((y.detach().cpu().numpy(), x.grad.cpu().numpy()))
    assert [r.launches for r in taken] == [b + 2 for b in before]
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(results[0][0].swapaxes(0, 1).reshape(2, -1).var(1), 1, rtol=1e-4)
