"""Reductions: dtypes, axes, NaN, ties, emptiness, accuracy, and which rung runs where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl import kernels, ops
from gpudl.ops.reduce import kept_and_reduced

nan, inf = math.nan, math.inf


@pytest.fixture(params=["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def device(request: Any) -> str:
    return request.param


def host(t: gpudl.Tensor) -> np.ndarray:
    return t.detach().cpu().numpy()


# ------------------------------------------------------------------------------------------------------------------- dtypes
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_integers_and_bools_sum_to_int64(dtype: str, device: str) -> None:
    x = gpudl.tensor(np.array([[1, 1], [0, 1]]), dtype=dtype, device=device)
    for got, want in [(x.sum(), 3), (x.prod(1), [1, 0]), (x.cumsum(0), [[1, 1], [1, 2]]), (x.count_nonzero(), 3), (x.sum(0), [1, 2])]:
        assert got.dtype == gpudl.int64
        assert got.tolist() == want
    assert x.any(1).dtype == gpudl.bool_ and x.all(1).tolist() == [True, False]
    assert x.amax().dtype == x.dtype and x.max(0).values.dtype == x.dtype


def test_integer_extremes_are_exact(device: str) -> None:
    big = 2**62 + 1
    x = gpudl.tensor([[big, big - 1], [-big, -big + 1]], device=device)
    assert x.max().item() == big and x.min().item() == -big and x.sum().item() == 0
    assert x.argmax(1).tolist() == [0, 1] and x.min(1).values.tolist() == [big - 1, -big]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_summed_in_float32(dtype: str, device: str) -> None:
    x = gpudl.full((5000,), 1.0, dtype=dtype, device=device)
    assert (
        x.sum().item() == float(np.float32(5000).astype(x.dtype)) and x.mean().item() == 1.0
    )  # a sum kept in a half would stick at 256 or 2048


def test_dtype_casts_before_the_sum(device: str) -> None:
    x = gpudl.tensor([200, 100], dtype="uint8", device=device)
    assert x.sum(dtype="float64").dtype == gpudl.float64 and x.sum(dtype="float32").item() == 300.0
    assert x.mean(dtype="float32").item() == 150.0
    with pytest.raises(TypeError, match=r"mean: input is uint8; a floating dtype is needed"):
        x.mean()


# ------------------------------------------------------------------------------------------------------------------- axes
@pytest.mark.parametrize("dim", [None, (), 0, -1, (0, 2), (1, 3), (-1, 0), (0, 1, 2, 3), [2]])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_any_axes_of_any_layout(dim: Any, keepdim: bool, order: tuple[int, ...]) -> None:
    any_axes(dim, keepdim, order, "cpu")


@pytest.mark.emulator
@pytest.mark.parametrize("dim", [None, 0, (0, 2), (1, 3)])
def test_any_axes_of_a_permuted_tensor_in_the_kernels(dim: Any) -> None:
    any_axes(dim, False, (3, 1, 0, 2), "emulator")


def any_axes(dim: Any, keepdim: bool, order: tuple[int, ...], device: str) -> None:
    a = np.random.default_rng(1).normal(size=(3, 2, 4, 5)).transpose(order)
    x = gpudl.tensor(np.ascontiguousarray(a.transpose(np.argsort(order))), device=device).permute(order)
    axis = None if dim is None or dim == () else tuple(dim) if isinstance(dim, (list, tuple)) else dim
    for got, want in [
        (x.sum(dim, keepdim), a.sum(axis, keepdims=keepdim)),
        (x.mean(dim, keepdim), a.mean(axis, keepdims=keepdim)),
        (x.amax(dim if dim is not None else (), keepdim), a.max(axis, keepdims=keepdim)),
        (ops.var(x, dim, correction=0, keepdim=keepdim), a.var(axis, keepdims=keepdim)),
        (ops.any(x > 1, dim, keepdim), (a > 1).any(axis, keepdims=keepdim)),
    ]:
        assert got.shape == want.shape
        np.testing.assert_allclose(host(got), want, rtol=1e-12, atol=1e-12)


def test_channels_and_rows_and_columns_need_no_copy() -> None:
    """What a batch norm, a softmax row and a bias reduce over is seen as (A, B) x (P, Q) as it lies in memory."""
    x = np.zeros((2, 3, 4, 5), np.float32)
    for array, dim, want in [
        (x, (0, 2, 3), dict(A=1, B=3, P=2, Q=20, sa=0, sb=20, sp=60, sq=1)),
        (x, (3,), dict(A=1, B=24, P=1, Q=5, sa=0, sb=5, sp=0, sq=1)),
        (x, (0,), dict(A=1, B=60, P=1, Q=2, sa=0, sb=1, sp=0, sq=60)),
        (x, (1,), dict(A=2, B=20, P=1, Q=3, sa=60, sb=1, sp=0, sq=20)),
        (x.transpose(0, 2, 3, 1), (0, 1, 2), dict(A=1, B=3, P=2, Q=20, sa=0, sb=20, sp=60, sq=1)),
        (x, (0, 1, 2, 3), dict(A=1, B=1, P=1, Q=120, sa=0, sb=0, sp=0, sq=1)),
    ]:
        given, form = kept_and_reduced(gpudl.device("cpu"), array, dim)
        assert given is array and form == want


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("shape", "dim", "rung"),
    [
        ((100, 6), 1, "01_naive"),  # a warp for six terms would idle
        ((8, 100), 1, "04_warp_row"),
        ((100, 70), 0, "07_two_pass_columns"),
        ((16, 600), 0, "05_columns"),
        ((100000,), 0, "08_vector"),
    ],
)
def test_the_dispatch_rule(shape: tuple[int, ...], dim: int, rung: str) -> None:
    a = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    x = gpudl.tensor(a, device="emulator", requires_grad=True)
    y = x.sum(dim)
    assert y.grad_fn.rungs["reduce.forward"].name == rung
    bound = 2 * 2.0**-23 * math.sqrt(shape[dim]) * np.abs(a.astype(np.float64)).sum(dim)
    assert (np.abs(host(y) - a.astype(np.float64).sum(dim)) <= bound).all()


@pytest.mark.emulator
@pytest.mark.parametrize("rung", ["08_vector", "09_one_pass"])
@pytest.mark.parametrize("start", range(5))
def test_rows_that_start_anywhere(rung: str, start: int) -> None:
    """Between two vectors, shorter than one, and the same once more: the one-pass rung's counters are back at 0."""
    a = np.random.default_rng(start).normal(size=(3, 3000 + start)).astype(np.float32)
    x = gpudl.tensor(a, device="emulator")
    for end in (None, start + 2):
        want = a[:, start:end].astype(np.float64)
        bound = 2 * 2.0**-23 * math.sqrt(want.shape[1]) * np.abs(want).sum(1)
        with kernels.use("reduce.forward", rung), kernels.emulation(sanitize=True):
            for _ in range(2):
                assert (np.abs(host(x[:, start:end].sum(1)) - want.sum(1)) <= bound).all()
                np.testing.assert_array_equal(host(x[:, start:end].amax(1)), want.max(1).astype(np.float32))


@pytest.mark.emulator
@pytest.mark.parametrize("rung", [r.name for r in kernels.ladder("argmax.forward")])
def test_the_first_of_equals_and_nan_before_all_in_every_rung(rung: str) -> None:
    a = np.zeros((4, 5000), np.float32)
    a[0, [4999, 301, 2300]] = 1
    a[1, [17, 4000]] = np.nan
    a[2] = -np.inf
    a[3, 4999] = 2
    with kernels.use("argmax.forward", rung), kernels.emulation(sanitize=True):
        assert gpudl.tensor(a, device="emulator").argmax(1).tolist() == [301, 17, 0, 4999]
        assert gpudl.tensor(-a, device="emulator").argmin(1).tolist() == [301, 17, 0, 4999]


@pytest.mark.parametrize(("op", "args", "bytes"), [
    ("sum", (), 4 * 12 + 4), ("sum", (1,), 4 * 12 + 12), ("mean", ((0, 1),), 4 * 12 + 4), ("max", (0,), 4 * 12 + 4 * 12), ("argmax", (), 4 * 12 + 8),
    ("norm", (2, 1), 4 * 12 + 12),
])  # fmt: skip
def test_costs_count_the_results(op: str, args: tuple, bytes: int) -> None:
    from gpudl.autograd import Op

    assert Op.registry[op].cost(np.zeros((3, 4), np.float32), *args).bytes == bytes


def test_repeatable_bit_for_bit(device: str) -> None:
    a = np.random.default_rng(0).normal(size=20000).astype(np.float32)
    x = gpudl.tensor(a, device=device)
    assert len({x.sum().item() for _ in range(3)}) == 1


def test_sum_to_size() -> None:
    x = gpudl.ones(2, 3, 4)
    assert x.sum_to_size(3, 1).tolist() == [[8.0], [8.0], [8.0]] and x.sum_to_size(2, 3, 4) is not None
    with pytest.raises(ValueError, match=r"sum_to_size: \(2, 4\) does not broadcast to \(2, 3, 4\)"):
        x.sum_to_size(2, 4)


# ------------------------------------------------------------------------------------------------------------------- emptiness, NaN, ties
def test_over_nothing(device: str) -> None:
    x = gpudl.zeros(2, 0, device=device)
    assert x.sum().item() == 0 and x.sum(1).tolist() == [0, 0] and x.prod(1).tolist() == [1, 1] and x.sum(0).shape == (0,)
    assert np.isnan(host(x.mean(1))).all() and np.isnan(host(ops.var(x, 1))).all() and math.isnan(x.mean().item())
    assert x.any(1).tolist() == [False, False] and x.all(1).tolist() == [True, True]
    assert x.amax(0).shape == (0,) and x.max(0).indices.shape == (0,)
    assert ops.logsumexp(x, 1).tolist() == [-inf, -inf] and x.cumsum(1).shape == (2, 0)
    for bad, kind in [
        (lambda: x.max(), RuntimeError),
        (lambda: x.amax(1), IndexError),
        (lambda: x.min(1), IndexError),
        (lambda: x.argmax(), IndexError),
        (lambda: x.argmin(1), IndexError),
    ]:
        with pytest.raises(kind, match=r"\(2, 0\)"):
            bad()


def test_nan_wins_every_extreme(device: str) -> None:
    x = gpudl.tensor([[1.0, nan, 3.0], [-inf, inf, 0.0], [nan, nan, nan]], device=device)
    np.testing.assert_array_equal(host(x.amax(1)), [nan, inf, nan])
    np.testing.assert_array_equal(host(x.amin(1)), [nan, -inf, nan])
    assert x.argmax(1).tolist() == [1, 1, 0] and x.argmin(1).tolist() == [1, 0, 0]
    assert math.isnan(x.max().item()) and math.isnan(x.min().item()) and math.isnan(x.sum().item())
    assert x.any(1).tolist() == [True] * 3 and x.all(1).tolist() == [True, False, True]


def test_ties_share_the_gradient_of_amax_and_the_first_takes_that_of_max(device: str) -> None:
    x = gpudl.tensor([[2.0, 5.0, 5.0], [1.0, 1.0, 1.0]], device=device, requires_grad=True)
    dy = gpudl.tensor([3.0, 6.0], device=device)
    x.amax(1).backward(dy)
    np.testing.assert_array_equal(host(x.grad), [[0, 1.5, 1.5], [2, 2, 2]])
    x.grad = None
    values, indices = x.max(1)
    values.backward(dy)
    assert indices.tolist() == [1, 0]
    np.testing.assert_array_equal(host(x.grad), [[0, 3, 0], [6, 0, 0]])
    x.grad = None
    x.max().backward()
    np.testing.assert_array_equal(host(x.grad), [[0, 0.5, 0.5], [0, 0, 0]])
    m = gpudl.max(x, 1)
    assert m.values is m[0] and m.indices is m[1] and not m.indices.requires_grad
    assert gpudl.max(x, gpudl.tensor([3.0], device=device)).tolist() == [[3, 5, 5], [3, 3, 3]]


def test_products_with_zeros(device: str) -> None:
    x = gpudl.tensor([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0], [2.0, 3.0, 4.0]], device=device, requires_grad=True)
    x.prod(1).backward(gpudl.tensor([1.0, 2.0, 0.5], device=device))
    np.testing.assert_array_equal(host(x.grad), [[0, 6, 0], [0, 0, 0], [6, 4, 3]])


# ------------------------------------------------------------------------------------------------------------------- moments, norms, logs
def test_variance_of_large_values_does_not_cancel(device: str) -> None:
    a = (np.random.default_rng(0).normal(size=(4, 1000)) + 1000).astype(np.float32)
    got = host(ops.var(gpudl.tensor(a, device=device), 1))
    np.testing.assert_allclose(got, a.astype(np.float64).var(1, ddof=1), rtol=1e-4)  # sum of squares minus square of sum is off by 6 %


@pytest.mark.parametrize("correction", [0, 1, 2, 1.5])
def test_corrections(correction: float) -> None:
    a = np.random.default_rng(0).normal(size=(3, 7))
    x = gpudl.tensor(a)
    want = ((a - a.mean(1, keepdims=True)) ** 2).sum(1) / (7 - correction)
    np.testing.assert_allclose(host(gpudl.var(x, 1, correction=correction)), want, rtol=1e-13)
    var, mean = gpudl.var_mean(x, 1, correction=correction, keepdim=True)
    std, _ = gpudl.std_mean(x, 1, correction=correction)
    assert var.shape == mean.shape == (3, 1)
    np.testing.assert_allclose(host(std), np.sqrt(want), rtol=1e-13)
    assert x.var(1, False).tolist() == gpudl.var(x, 1, correction=0).tolist() and x.std(True).ndim == 0


def test_std_and_norm_have_a_gradient_of_zero_at_zero(device: str) -> None:
    x = gpudl.tensor([[2.0, 2.0], [0.0, 0.0]], device=device, requires_grad=True)
    (x.std(1).sum() + x.norm(2, 1)[1]).backward()
    np.testing.assert_array_equal(host(x.grad), np.zeros((2, 2)))


def test_logsumexp_is_stable(device: str) -> None:
    x = gpudl.tensor([[1000.0, 1000.0], [-inf, -inf], [inf, 0.0], [-1000.0, -inf]], device=device, requires_grad=True)
    y = gpudl.logsumexp(x, 1)
    np.testing.assert_allclose(host(y), [1000 + math.log(2), -inf, inf, -1000], rtol=1e-6)
    y[0].backward()
    np.testing.assert_allclose(host(x.grad)[0], [0.5, 0.5], rtol=1e-6)


def test_gradient_of_a_sum_is_a_view_and_costs_no_memory() -> None:
    x = gpudl.ones(3, 4, requires_grad=True)
    y = x.sum(0)
    (g,) = y.grad_fn.backward([np.ones(4, np.float32)], False)
    assert g.shape == (3, 4) and g.strides[0] == 0


def test_every_reduction_names_itself_in_its_errors() -> None:
    x = gpudl.zeros(2, 3)
    for name in (
        "sum",
        "mean",
        "prod",
        "amax",
        "amin",
        "max",
        "min",
        "argmax",
        "argmin",
        "any",
        "all",
        "var",
        "std",
        "cumsum",
        "logsumexp",
    ):
        with pytest.raises(IndexError, match=rf"{name}: dim 5 is out of range for a tensor of 2 dimension"):
            getattr(gpudl, name)(x, 5)
        with pytest.raises(TypeError, match=rf"{name}: input must be a Tensor, not list"):
            getattr(gpudl, name)([1.0], 0)


@pytest.mark.emulator
def test_a_picked_rung_runs_in_backward_too() -> None:
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(4, 50)), device="emulator", requires_grad=True)
    with kernels.use("argmax.backward", "01_naive"):
        y = x.max(1).values
    y.sum().backward()
    assert y.grad_fn.rungs["argmax.backward"].name == "01_naive"
    assert host(x.grad).sum() == 4
