"""Functions made of other ops, names of dtypes and constants, and what programs ask about GPUs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl.autograd import gradcheck, gradgradcheck
from gpudl.nn import functional as F

inf, nan = math.inf, math.nan


@pytest.fixture(params=["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def device(request: Any) -> str:
    return request.param


def test_names_of_dtypes_and_constants() -> None:
    assert (gpudl.float, gpudl.int, gpudl.bool) == (gpudl.float32, gpudl.int32, gpudl.bool_)
    assert isinstance(gpudl.bfloat16, gpudl.dtype) and (gpudl.pi, gpudl.e, gpudl.inf) == (math.pi, math.e, inf) and math.isnan(gpudl.nan)
    assert gpudl.finfo(gpudl.bfloat16).eps == 2**-7 and gpudl.finfo().eps == 2**-23 and gpudl.iinfo(gpudl.int8).max == 127
    with pytest.raises(TypeError, match="finfo: int64 is not a floating dtype; see iinfo"):
        gpudl.finfo(gpudl.int64)
    with pytest.raises(TypeError, match="iinfo: float32 is not an integer dtype; see finfo"):
        gpudl.iinfo(gpudl.float32)


def test_the_gpu_is_counted_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Any) -> Any:
        raise gpudl.DeviceError("no usable GPU")

    monkeypatch.setattr(type(gpudl.device("cuda")), "xp", property(missing))
    assert not gpudl.cuda.is_available() and gpudl.cuda.device_count() == 0
    with pytest.raises(gpudl.DeviceError, match="no usable GPU"):
        gpudl.cuda.synchronize()


def test_close_and_equal(device: str) -> None:
    a = gpudl.tensor([1.0, 1.0, nan, inf, inf, 0.0, 1e9], device=device)
    b = gpudl.tensor([1.000009, 1.00002, nan, inf, -inf, 1e-9, inf], device=device)
    assert a.isclose(b).tolist() == np.isclose(a.cpu().numpy(), b.cpu().numpy()).tolist() == [True, False, False, True, False, True, False]
    assert gpudl.isclose(a, b, equal_nan=True).tolist()[2] and not gpudl.allclose(a, b) and gpudl.allclose(a, a, equal_nan=True)
    assert gpudl.equal(a[:2], a[:2]) and not gpudl.equal(a, a) and not gpudl.equal(a[:2], a[:1]) and gpudl.equal(a[:0], a[:0])
    whole = gpudl.tensor([100, 7], device=device)
    assert gpudl.isclose(whole, whole + 1, atol=1).tolist() == [True, True] and gpudl.isclose(whole, whole + 1).tolist() == [False, False]
    with pytest.raises(RuntimeError, match="isclose: input is float32 and other int64; the dtypes must be equal"):
        gpudl.isclose(a[:2], whole)
    with pytest.raises(ValueError, match="rtol is -1"):
        gpudl.isclose(a, b, rtol=-1)
    assert gpudl.is_tensor(a) and not gpudl.is_tensor(3) and gpudl.numel(a) == 7 and gpudl.is_floating_point(a)


def test_values_and_gradients(device: str) -> None:
    rng = np.random.default_rng(0)
    x, y, z = (gpudl.tensor(rng.normal(size=s) + 3, device=device, requires_grad=True) for s in ((2, 3), (3,), (2, 1)))
    for op, want in {
        lambda a, b, c: a.addcmul(b, c, value=-2): lambda a, b, c: a - 2 * b * c,
        lambda a, b, c: gpudl.addcdiv(a, b, c, value=0.5): lambda a, b, c: a + 0.5 * b / c,
        lambda a, b, c: a.lerp(b, 0.25): lambda a, b, c: a + 0.25 * (b - a),
        lambda a, b, c: a.lerp(b, c): lambda a, b, c: a + c * (b - a),
        lambda a, b, c: a.clamp_min(3).clamp_max(3.5): lambda a, b, c: np.clip(a, 3, 3.5),
        lambda a, b, c: F.normalize(a): lambda a, b, c: a / np.linalg.norm(a, axis=1, keepdims=True),
        lambda a, b, c: F.normalize(b, p=1, dim=0): lambda a, b, c: b / np.abs(b).sum(),
    }.items():
        got = op(x, y, z)
        np.testing.assert_allclose(got.detach().cpu().numpy(), want(*(t.detach().cpu().numpy() for t in (x, y, z))), rtol=1e-12)
        if device == "cpu":
            assert gradcheck(op, (x, y, z)) and gradgradcheck(op, (x, y, z))
    assert F.normalize(gpudl.zeros(1, 2, device=device)).tolist() == [[0, 0]]


def test_nan_to_num(device: str) -> None:
    x = gpudl.tensor([nan, inf, -inf, 2.0], device=device, requires_grad=True)
    most = float(np.finfo(np.float32).max)
    assert x.nan_to_num().tolist() == [0, most, -most, 2] and gpudl.nan_to_num(x, 1, 2, 3).tolist() == [1, 2, 3, 2]
    x.nan_to_num().sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0, 0, 0, 1]
    assert gpudl.tensor([3]).nan_to_num().tolist() == [3]


def test_new_tensors_are_like_the_old(device: str) -> None:
    x = gpudl.ones(2, dtype=gpudl.float64, device=device)
    for made, want in (
        (x.new_zeros(2, 1), [[0], [0]]), (x.new_ones((2,)), [1, 1]), (x.new_full((1,), 7), [7]), (x.new_tensor([1, 2]), [1, 2])
    ):  # fmt: skip
        assert made.tolist() == want and made.dtype == gpudl.float64 and made.device is x.device and not made.requires_grad
    assert x.new_tensor(3).shape == ()
    assert x.new_empty(3, dtype=gpudl.int8).dtype == gpudl.int8 and x.new_zeros(1, device="cpu", requires_grad=True).requires_grad


def test_middle_running_product_and_different_elements(device: str) -> None:
    x = gpudl.tensor([[3.0, 1.0, 2.0, 4.0], [5.0, nan, 7.0, 6.0]], device=device, requires_grad=True)
    values, indices = x.median(1)
    assert values.tolist()[0] == 2.0 and math.isnan(values.tolist()[1]) and indices.tolist() == [2, 1]
    (g,) = gpudl.autograd.grad(values, x, gpudl.tensor([2.0, 3.0], device=device))
    assert g.tolist() == [[0, 0, 2, 0], [0, 3, 0, 0]]
    ties = gpudl.tensor([1.0, 2.0, 2.0, 5.0], device=device, requires_grad=True)
    assert gpudl.autograd.grad(ties.median(), ties)[0].tolist() == [0, 0.5, 0.5, 0]
    z = gpudl.tensor([2.0, 0.0, 3.0, 0.0, 5.0], dtype=gpudl.float64, device=device, requires_grad=True)
    y = z.cumprod(0)
    assert y.tolist() == [2, 0, 0, 0, 0]
    (g,) = gpudl.autograd.grad(y, z, gpudl.tensor([1.0, 10.0, 100.0, 1000.0, 1e4], dtype=gpudl.float64, device=device))
    assert g.tolist() == [1, 20 + 600, 0, 0, 0]
    again = gpudl.tensor([[2, 1], [0, 9], [2, 1], [0, 3]], device=device)
    assert [t.tolist() for t in again.unique(return_inverse=True, return_counts=True)] == [
        [0, 1, 2, 3, 9], [[2, 1], [0, 4], [2, 1], [0, 3]], [2, 2, 2, 1, 1],
    ]  # fmt: skip
    assert [t.tolist() for t in again.unique(return_inverse=True, dim=0)] == [[[0, 3], [0, 9], [2, 1]], [2, 1, 2, 0]]
    assert gpudl.tensor([1, 1, 2, 1], device=device).unique_consecutive().tolist() == [1, 2, 1]
    assert again[:2].trace().item() == 11
    assert [t.tolist() for t in gpudl.where(again > 2)] == [[1, 3], [1, 1]]


def test_einsum(device: str) -> None:
    rng = np.random.default_rng(8)
    a, b, c = (rng.normal(size=s).astype(np.float32) for s in ((2, 3, 4), (4, 2, 5), (5,)))
    got = gpudl.einsum("bij,jbk,k->ib", *[gpudl.tensor(x, device=device) for x in (a, b, c)])
    want = np.einsum("bij,jbk,k->ib", a, b, c)
    assert np.abs(got.cpu().numpy() - want).max() <= 2 * 2**-23 * math.sqrt(20) * np.einsum("bij,jbk,k->ib", *map(np.abs, (a, b, c))).max()
    x = gpudl.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    assert (
        gpudl.einsum("ii", x).item() == 5
        and gpudl.einsum("ij->j", x).tolist() == [4, 6]
        and gpudl.einsum("ba", x).tolist() == [[1, 3], [2, 4]]
    )
    with pytest.raises(NotImplementedError, match=r"only the form einsum\('ij,jk->ik', a, b\)"):
        gpudl.einsum(x, [0, 1])


@pytest.mark.parametrize("name", ["cumprod", "einsum", "median"])
def test_their_gradients_and_the_gradients_of_those(name: str) -> None:
    rng = np.random.default_rng(9)
    x = gpudl.tensor(rng.permutation(12).reshape(3, 4) + rng.uniform(0.2, 0.4, size=(3, 4)), requires_grad=True)
    y = gpudl.tensor(rng.normal(size=(4, 3)), requires_grad=True)
    functions = {"cumprod": lambda x, y: (x / 6).cumprod(1) * y.T, "einsum": lambda x, y: gpudl.einsum("ij,jk,ij->k", x, y, x),
                 "median": lambda x, y: x.median(1).values * y[0]}  # fmt: skip
    assert gradcheck(functions[name], (x, y)) and gradgradcheck(functions[name], (x, y))


def test_operators_take_arrays_of_numpy() -> None:
    x = gpudl.tensor([1.0, 2.0, 3.0], dtype=gpudl.float64, requires_grad=True)
    a = np.array([10.0, 20.0, 30.0])
    for got, want in [
        (x + a, [11, 22, 33]), (a - x, [9, 18, 27]), (x * a, [10, 40, 90]), (a / x, [10, 10, 10]), (a // x, [10, 10, 10]), (x**a[:1], [1, 1024, 59049]),
        (x @ a, 140), (a @ x, 140), (np.ones((2, 3)) @ x, [6, 6]), (a > x, [True] * 3), (x == a, [False] * 3), (a != x, [True] * 3),
        (x + np.array(1.0), [2, 3, 4]), (np.float64(1) - x, [0, -1, -2]),
    ]:  # fmt: skip
        assert isinstance(got, gpudl.Tensor) and got.tolist() == want
    y = a * x
    a[:] = 0  # what backward reads is a copy
    (g,) = gpudl.autograd.grad(y, x, gpudl.ones(3, dtype=gpudl.float64))
    assert g.tolist() == [10, 20, 30]
    whole = gpudl.tensor([1, 2], dtype=gpudl.float32)
    assert (whole + np.array([1, 2])).dtype == gpudl.float64 and (np.array([1.0]) * whole).dtype == gpudl.float64
    assert (gpudl.tensor([1, 2]) / np.array([2, 4])).dtype == gpudl.float64
    assert (gpudl.tensor([True, False]) & np.array([True, True])).tolist() == [True, False]
    z = t = gpudl.ones(2)
    z += np.ones(2)
    assert z is not t and z.dtype == gpudl.float64 and t.tolist() == [1, 1]  # as in PyTorch
    for bad, message in [
        (lambda: whole + np.array(["a", "b"]), "data .* has no tensor dtype"),
        (lambda: whole.bfloat16() + np.ones(2), "add: a bfloat16 tensor and an ndarray meet in no dtype of NumPy"),
    ]:
        with pytest.raises(TypeError, match=message):
            bad()
    with pytest.raises(gpudl.ShapeError, match=r"add: shapes \(2,\) and \(3,\) do not broadcast"):
        whole + np.ones(3)


@pytest.mark.emulator
def test_a_number_on_the_cpu_goes_with_every_device() -> None:
    x = gpudl.tensor([1.0, 2.0], device="emulator", requires_grad=True)
    n = gpudl.tensor(3.0, requires_grad=True)
    for got, want in [
        (x * n, [3, 6]), (n - x, [2, 1]), (x**n, [1, 8]), (x < n, [True, True]), (gpudl.maximum(n, x), [3, 3]), (x * np.array(2.0), [2, 4]),
        (gpudl.where(x > 1, x, n), [3, 2]), (gpudl.where(gpudl.tensor(True), x, 0.0), [1, 2]), (x.clamp(max=gpudl.tensor(1.5)), [1, 1.5]),
        (x.masked_fill(x > 1, n), [1, 3]), (gpudl.lerp(x, x + 1, gpudl.tensor(0.5)), [1.5, 2.5]), (n + x[0], 4),
    ]:  # fmt: skip
        assert got.device == x.device and got.tolist() == want
    gx, gn = gpudl.autograd.grad(x * n * n, (x, n), gpudl.tensor([1.0, 10.0], device="emulator"))
    assert gx.device == x.device and gx.tolist() == [9, 90] and gn.device == n.device and gn.item() == 2 * 3 * 21
    x.detach().add_(n.detach())
    for bad in (
        lambda: x + gpudl.ones(2),
        lambda: x[0] + gpudl.ones(2),
        lambda: x + np.ones(2),
        lambda: gpudl.where(x > 0, x, gpudl.ones(2)),
    ):
        with pytest.raises(gpudl.DeviceError, match="all inputs must be on one device"):
            bad()
    with pytest.raises(gpudl.DeviceError, match="add_: the result is on emulator and does not fit in place into a tensor on cpu"):
        gpudl.tensor(1.0).add_(x.detach()[0])


def test_clamp_between_tensors(device: str) -> None:
    x, low, high = (gpudl.tensor(v, device=device, requires_grad=True) for v in ([-2.0, 0.5, 3.0, nan, 1.0], [[-1.0]], [1.0, 1.0, 1.0, 1.0, -3.0]))
    y = x.clamp(low, high)
    assert y.shape == (1, 5) and y.tolist()[0][:3] == [-1, 0.5, 1] and math.isnan(y.tolist()[0][3]) and y.tolist()[0][4] == -3
    gx, gl, gh = gpudl.autograd.grad(y, (x, low, high), gpudl.tensor([[1.0, 10.0, 100.0, 1000.0, 1e4]], device=device))
    assert gx.tolist() == [0, 10, 0, 0, 0] and gl.tolist() == [[1]] and gh.tolist() == [0, 0, 100, 0, 1e4]
    half = gpudl.tensor([0.25, 5.0], dtype=gpudl.float16, device=device)
    assert half.clamp(max=gpudl.tensor([1.0, 2.0], dtype=gpudl.float16, device=device)).dtype == gpudl.float16
    rng = np.random.default_rng(3)
    leaves = [gpudl.tensor(rng.normal(size=s), requires_grad=True) for s in ((4,), (3, 4), (1, 1))]
    assert gradcheck(gpudl.clamp, leaves) and gradgradcheck(lambda *t: gpudl.clamp(*t) ** 2, leaves)
    with pytest.raises(gpudl.ShapeError, match=r"clamp: shapes \(4,\) and \(3,\) do not broadcast"):
        gpudl.ones(4).clamp(min=gpudl.ones(3))


def test_xlogy_takes_the_dtype_of_its_operands() -> None:
    row = gpudl.ones(2)
    assert gpudl.xlogy(row, gpudl.tensor(2.0, dtype=gpudl.float64)).dtype == gpudl.xlogy(gpudl.tensor(2.0, dtype=gpudl.float64), row).dtype == gpudl.float32
    assert gpudl.xlogy(row.half(), gpudl.tensor([2, 3])).dtype == gpudl.float16 and gpudl.xlogy(gpudl.tensor(2), gpudl.tensor([2, 3])).dtype == gpudl.float32
