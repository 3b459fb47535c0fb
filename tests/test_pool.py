"""Pooling: what the registry's samples leave out. Indices, ties, NaN, padding, forms of the index, determinism."""

from __future__ import annotations

import numpy as np
import pytest
from accesses import accesses

import gpudl
from gpudl import kernels, ops
from gpudl._errors import ShapeError
from gpudl.ops.pool import AvgPool2d, MaxPool2d, MaxTake

rng = np.random.default_rng(8)
DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)]


@pytest.mark.parametrize("device", DEVICES)
def test_indices_point_at_the_maxima(device: str) -> None:
    x = rng.standard_normal((2, 3, 9, 8))
    for args in [(2,), (3, 2, 1), ((2, 3), (1, 2), (1, 1), (2, 1), True), (3, 1, 1, 2)]:
        y, at = ops.max_pool2d(gpudl.tensor(x, device=device), *args, return_indices=True)
        assert at.dtype == np.int64 and at.shape == y.shape
        places = at.cpu().numpy().reshape(2, 3, -1)
        np.testing.assert_array_equal(np.take_along_axis(x.reshape(2, 3, -1), places, 2), y.cpu().numpy().reshape(2, 3, -1))
    y, at = ops.adaptive_max_pool2d(gpudl.tensor(x, device=device), (4, 3), return_indices=True)
    np.testing.assert_array_equal(np.take_along_axis(x.reshape(2, 3, -1), at.cpu().numpy().reshape(2, 3, -1), 2), y.cpu().numpy().reshape(2, 3, -1))


@pytest.mark.parametrize("device", DEVICES)
def test_the_first_of_equal_maxima_wins_and_the_last_nan(device: str) -> None:
    """PyTorch compares with `value > maximum or value is NaN`, so each NaN takes over from the one before."""
    x = np.array([[[[1.0, 1.0, np.nan, 0.0], [1.0, 1.0, 2.0, np.nan]]]])
    y, at = ops.max_pool2d(gpudl.tensor(x, device=device), 2, return_indices=True)
    np.testing.assert_array_equal(y.cpu().numpy(), [[[[1.0, np.nan]]]])
    np.testing.assert_array_equal(at.cpu().numpy(), [[[[0, 7]]]])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("indices", [False, True])
def test_an_image_of_minus_infinity(device: str, indices: bool) -> None:
    """The gradient goes to the first element inside the image, never into the padding."""
    x = gpudl.full((1, 1, 4, 4), -np.inf, device=device).requires_grad_()
    out = ops.max_pool2d(x, 3, 2, 1, return_indices=indices)
    y = out[0] if indices else out
    assert (y.detach().cpu().numpy() == -np.inf).all()
    if indices:
        np.testing.assert_array_equal(out[1].cpu().numpy(), [[[[0, 1], [4, 5]]]])
    (dx,) = gpudl.autograd.grad(y, [x], gpudl.ones(1, 1, 2, 2, device=device))
    want = np.zeros((4, 4))
    want[:2, :2] = 1
    np.testing.assert_array_equal(dx.cpu().numpy()[0, 0], want)


@pytest.mark.parametrize("device", DEVICES)
def test_overlapping_windows_add_up_alike_every_time(device: str) -> None:
    x = gpudl.tensor(rng.standard_normal((2, 2, 12, 11)), dtype="float32", device=device).requires_grad_()
    y = ops.max_pool2d(x, 5, 1, 2)
    dy = gpudl.tensor(rng.standard_normal(y.shape), dtype="float32", device=device)
    first, second = (gpudl.autograd.grad(y, [x], dy, retain_graph=True)[0].cpu().numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.emulator
def test_the_place_of_a_maximum_takes_one_byte() -> None:
    x = gpudl.tensor(rng.standard_normal((1, 2, 8, 8)), dtype="float32", device="emulator").requires_grad_()
    small, naive = ops.max_pool2d(x, 2), None
    with kernels.use("max_pool2d.forward", "01_naive"):
        naive = ops.max_pool2d(x, 2)
    assert small.grad_fn.saved["at"].array.dtype == np.uint8 and naive.grad_fn.saved["at"].array.dtype == np.int64
    dy = gpudl.tensor(rng.standard_normal((1, 2, 4, 4)), dtype="float32", device="emulator")
    grads = [gpudl.autograd.grad(y, [x], dy)[0].cpu().numpy() for y in (small, naive)]
    np.testing.assert_array_equal(*grads)
    assert ops.max_pool2d(x, (4, 8), return_indices=True)[0].grad_fn.saved["at"].array.dtype == np.int64  # asked for


@pytest.mark.parametrize("device", DEVICES)
def test_mean_of_ones_is_one_where_padding_does_not_count(device: str) -> None:
    x = gpudl.ones(1, 2, 7, 6, device=device)
    for args in [(3, 2, 1, False, False), (3, 2, 1, True, False), ((2, 3), 1, (1, 1), True, False)]:
        assert (ops.avg_pool2d(x, *args).cpu().numpy() == 1).all()
    edges = ops.avg_pool2d(x, 3, 2, 1).cpu().numpy()[0, 0]
    np.testing.assert_allclose(edges[0, 0], 4 / 9)
    for size in (1, (3, 2), (7, 6), (9, 8), (None, 3)):
        assert (ops.adaptive_avg_pool2d(x, size).cpu().numpy() == 1).all()


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_the_mean_sum_to_those_of_the_results(device: str) -> None:
    """Every dy is shared out in full where padding does not count."""
    x = gpudl.tensor(rng.standard_normal((2, 3, 9, 7)), device=device).requires_grad_()
    for y in (ops.avg_pool2d(x, 3, 2, 1, True, False), ops.adaptive_avg_pool2d(x, (4, 5))):
        dy = gpudl.tensor(rng.standard_normal(y.shape), device=device)
        (dx,) = gpudl.autograd.grad(y, [x], dy)
        assert abs(dx.sum().item() - dy.sum().item()) <= 1e-12


def test_empty_batches_and_channels() -> None:
    for shape in [(0, 3, 6, 6), (2, 0, 6, 6)]:
        x = gpudl.zeros(*shape).requires_grad_()
        for y in (ops.max_pool2d(x, 2), ops.avg_pool2d(x, 2), ops.adaptive_avg_pool2d(x, 3), ops.adaptive_max_pool2d(x, 3)):
            assert y.shape == (*shape[:2], 3, 3)
            assert gpudl.autograd.grad(y, [x], gpudl.ones(y.shape))[0].shape == shape


def test_adaptive_errors() -> None:
    with pytest.raises(ShapeError, match=r"adaptive_max_pool2d: input is \(2, 3\)"):
        ops.adaptive_max_pool2d(gpudl.zeros(2, 3), 2)
    with pytest.raises(ValueError, match="adaptive_avg_pool2d: output_size must be"):
        ops.adaptive_avg_pool2d(gpudl.zeros(1, 2, 3, 3), (-1, 2))
    with pytest.raises(TypeError, match="adaptive_avg_pool2d: input is int64"):
        ops.adaptive_avg_pool2d(gpudl.zeros(1, 2, 3, 3, dtype="int64"), 2)


# --------------------------------------------------------------------------------------------------------- what a rung asks of memory
def _traffic_cases(args: tuple) -> dict:
    x = gpudl.tensor(rng.standard_normal((4, 4, 32, 64)), dtype="float32", device="emulator").requires_grad_()

    def backward(function: object) -> object:
        def prepare(ladder: str, rung: str) -> object:
            with kernels.use(ladder, rung):  # backward launches what was picked at forward
                y = function(x, *args)
            return lambda: gpudl.autograd.grad(y, [x], y.detach())

        return prepare

    def take(ladder: str, rung: str) -> object:
        y = ops.max_pool2d(x, *args)
        at = gpudl._tensor.wrap(y.grad_fn.saved["at"].array, x.device)
        window = {k: y.grad_fn.params[k] for k in ("window", "stride", "pad", "dilation")}
        return lambda: MaxTake.apply(x.detach(), at, **window)

    return {
        "max_pool2d.forward": lambda *_: lambda: ops.max_pool2d(x.detach(), *args), "max_pool2d.backward": backward(ops.max_pool2d),
        "max_pool2d.take": take,
        "avg_pool2d.forward": lambda *_: lambda: ops.avg_pool2d(x.detach(), *args), "avg_pool2d.backward": backward(ops.avg_pool2d),
    }  # fmt: skip


# Windows side by side; windows that overlap, whose rows and columns in the padding are missing from what all but the tiles state.
@pytest.mark.emulator
@pytest.mark.parametrize("args", [(2,), (3, 1, 1), (3, 2, 1)], ids=str)
def test_bytes_are_those_of_the_record_and_vectors_waste_none(args: tuple) -> None:
    for name, case in _traffic_cases(args).items():
        for rung in kernels.ladder(name):
            if rung.backend != "cuda" or (rung.name == "03_vector" and args != (2,)):
                continue
            asked, stated, lines = accesses(name, rung.name, case(name, rung.name))
            exact = args == (2,) or rung.name == "04_tile"
            assert abs(asked - stated) <= (0 if exact else 0.05 * stated), f"{rung!r} asks for {asked} bytes and states {stated}"
            if rung.name == "03_vector":
                assert all(line.sectors == line.ideal_sectors for line in lines if line.space == "global"), rung


@pytest.mark.emulator
def test_a_tile_reads_each_place_about_once() -> None:
    """3 x 3 windows, one place apart: nine times the image without a tile."""
    x = gpudl.tensor(rng.standard_normal((2, 2, 32, 64)), dtype="float32", device="emulator")
    read = {}
    for rung in ("02_offsets", "04_tile"):
        lines = accesses("max_pool2d.forward", rung, lambda: ops.max_pool2d(x, 3, 1, 1)).lines
        read[rung] = sum(line.bytes for line in lines if line.space == "global" and line.op == "load") / (4 * x.numel())
    assert read["02_offsets"] > 8.5 and read["04_tile"] < 1.4


@pytest.mark.emulator
@pytest.mark.parametrize("ladder", ["max_pool2d.forward", "max_pool2d.backward", "avg_pool2d.forward", "avg_pool2d.backward"])
def test_the_dispatch_rule_picks_what_fits_the_windows(ladder: str) -> None:
    function = ops.max_pool2d if ladder.startswith("max") else ops.avg_pool2d
    tile = "04_tile" if ladder.startswith("max") else {"f": "01_naive", "b": "02_gather"}[ladder[11]]
    plain = {"max_pool2d.forward": "02_offsets", "max_pool2d.backward": "02_gather", "avg_pool2d.forward": "01_naive", "avg_pool2d.backward": "02_gather"}
    for args, width, wanted in [((2,), 8, "03_vector"), ((2,), 6, plain[ladder]), ((3, 1, 1), 8, tile), ((2, 3), 9, plain[ladder])]:
        x = gpudl.tensor(rng.standard_normal((1, 2, 8, width)), dtype="float32", device="emulator").requires_grad_()
        y = function(x, *args)
        node = y.grad_fn
        gpudl.autograd.grad(y, [x], y.detach(), retain_graph=True)
        assert node.rungs[ladder].name == wanted, (args, width)


def test_costs_count_what_is_read_and_what_is_written() -> None:
    x = np.zeros((2, 3, 8, 6), np.float32)
    places = 2 * 3 * 4 * 3
    assert MaxPool2d.cost(x, 2).bytes == x.nbytes + places * (4 + 1)
    assert MaxPool2d.cost(x, 2, return_indices=True).bytes == x.nbytes + places * (4 + 8)
    assert AvgPool2d.cost(x, 2).bytes == AvgPool2d.cost(x, None, output_size=(4, 3)).bytes == x.nbytes + places * 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cpus_loops_of_common_windows_agree_with_the_definition(dtype: str) -> None:
    """Windows of 2 x 2 and 3 x 3 have loops of their own inside the image, and others at its edges; ties, NaN and -inf in both."""
    for size in ((1, 1), (2, 3), (3, 3), (4, 5), (9, 8), (13, 40)):
        x = rng.integers(-3, 3, size=(2, 3, *size)).astype(dtype)
        x[rng.random(x.shape) < 0.1] = -np.inf
        x[rng.random(x.shape) < 0.05] = np.nan
        for args in [(2, 2), (2, 2, 1), (3, 1, 1), (3, 2, 1), (3, 2, 0), (3, 1, 0), (3, 2, 1, 1, True), (2, 2, 0, 1, True), (3, 3, 1)]:
            kernel, step, pad = (*args, 0)[:3]
            if min(size) + 2 * pad < kernel:
                continue
            y, at = ops.max_pool2d(gpudl.tensor(x), *args, return_indices=True)
            for p, q in np.ndindex(*y.shape[2:]):
                top, left = p * step - pad, q * step - pad
                rows, cols = slice(max(top, 0), min(top + kernel, size[0])), slice(max(left, 0), min(left + kernel, size[1]))
                part = x[:, :, rows, cols]
                for n, c in np.ndindex(2, 3):
                    values = part[n, c].ravel()
                    k = np.flatnonzero(np.isnan(values))[-1] if np.isnan(values).any() else values.argmax()
                    place = (rows.start + k // part.shape[3]) * size[1] + cols.start + k % part.shape[3]
                    np.testing.assert_array_equal(y.numpy()[n, c, p, q], values[k])
                    assert at.numpy()[n, c, p, q] == place, (size, args)


@pytest.mark.parametrize("device", DEVICES)
def test_adaptive_windows_that_lie_evenly_are_fixed_ones(device: str) -> None:
    x = gpudl.tensor(rng.standard_normal((2, 3, 12, 8)), device=device).requires_grad_()
    for adaptive, fixed in ((ops.adaptive_max_pool2d, ops.max_pool2d), (ops.adaptive_avg_pool2d, ops.avg_pool2d)):
        for size, window in [((6, 4), 2), ((4, 8), (3, 1)), ((1, 1), (12, 8)), ((12, 8), 1)]:
            y, want = adaptive(x, size), fixed(x, window)
            np.testing.assert_allclose(y.detach().cpu().numpy(), want.detach().cpu().numpy(), rtol=1e-14)
            dy = gpudl.tensor(rng.standard_normal(y.shape), device=device)
            got, ought = (gpudl.autograd.grad(v, [x], dy)[0].cpu().numpy() for v in (y, want))
            np.testing.assert_allclose(got, ought, rtol=1e-14)
    if device == "emulator":
        assert ops.adaptive_avg_pool2d(x.float(), (6, 4)).grad_fn.rungs["avg_pool2d.forward"].name == "03_vector"
