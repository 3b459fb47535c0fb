"""Result dtypes, as PyTorch's documentation states them ("Tensor Attributes: torch.dtype", type promotion); the table against PyTorch itself
is in tests/against_torch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gpudl
from gpudl import bfloat16, bool_, float16, float32, float64, int8, int16, int32, int64, uint8

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)


def category(dtype: np.dtype) -> int:
    return 0 if dtype == bool_ else 1 if dtype in (uint8, int8, int16, int32, int64) else 2


# Pairs that a rule of thumb gets wrong; all others follow from "the wider of one category, the higher of two".
@pytest.mark.parametrize(
    ("a", "b", "want"),
    [
        (float16, bfloat16, float32), (uint8, int8, int16), (uint8, int16, int16), (int64, float16, float16), (int64, bfloat16, bfloat16),
        (bool_, uint8, uint8), (bool_, bool_, bool_), (float16, float32, float32), (bfloat16, float64, float64), (int32, int64, int64),
    ],
)  # fmt: skip
def test_two_tensors(a: np.dtype, b: np.dtype, want: np.dtype) -> None:
    for x, y in ((a, b), (b, a)):
        assert gpudl.promote_types(x, y) == want
        assert (gpudl.ones(2, dtype=x) * gpudl.ones(2, dtype=y)).dtype == want
        assert gpudl.maximum(gpudl.ones(2, dtype=x), gpudl.ones(2, dtype=y)).dtype == want
        assert gpudl.where(gpudl.tensor([True, False]), gpudl.ones(2, dtype=x), gpudl.ones(2, dtype=y)).dtype == want


def test_every_pair_commutes_and_never_leaves_the_higher_category() -> None:
    for a, b in itertools.product(ALL, ALL):
        got = (gpudl.ones(2, dtype=a) + gpudl.ones(2, dtype=b)).dtype
        assert got == (gpudl.ones(2, dtype=b) + gpudl.ones(2, dtype=a)).dtype == gpudl.result_type(gpudl.ones(2, dtype=a), gpudl.ones(2, dtype=b))
        assert category(got) == max(category(a), category(b))
        if category(a) != category(b):
            assert got == (a if category(a) > category(b) else b)


@pytest.mark.parametrize("dtype", ALL)
def test_numbers_and_0d_tensors_do_not_widen_within_a_category(dtype: np.dtype) -> None:
    x = gpudl.ones(3, dtype=dtype)
    for number, kind in ((True, 0), (2, 1), (2.5, 2)):
        want = dtype if category(dtype) >= kind else (int64, float32)[kind - 1]
        assert (x + number).dtype == (number + x).dtype == (x * number).dtype == want
    for other in ALL:
        want = dtype if category(dtype) >= category(other) else other
        assert (x * gpudl.ones((), dtype=other)).dtype == (gpudl.ones((), dtype=other) * x).dtype == want


@pytest.mark.parametrize("dtype", ALL)
def test_results_of_a_fixed_kind(dtype: np.dtype) -> None:
    x = gpudl.ones(3, dtype=dtype)
    floating = dtype if category(dtype) == 2 else float32
    for f in (gpudl.exp, gpudl.log, gpudl.sqrt, gpudl.sigmoid, gpudl.tanh, gpudl.sin, gpudl.erf, gpudl.reciprocal, gpudl.rsqrt, gpudl.log1p):
        assert f(x).dtype == floating
    assert (x / 2).dtype == (x / x).dtype == (1 / x).dtype == floating
    assert (x == 1).dtype == (x < x).dtype == gpudl.isnan(x).dtype == gpudl.logical_not(x).dtype == gpudl.logical_and(x, x).dtype == bool_
    assert x.clamp(0.5).dtype == floating
    if dtype != bool_:
        for f in (gpudl.neg, gpudl.abs, gpudl.sign, gpudl.square, gpudl.floor, gpudl.round, gpudl.relu):
            assert f(x).dtype == dtype
        assert (x // 2).dtype == (x % 2).dtype == (x**2).dtype == x.clamp(0).dtype == dtype
        assert gpudl.div(x, 2, rounding_mode="trunc").dtype == dtype


def test_a_half_meets_a_number_before_it_is_rounded() -> None:
    """1e-8 and 1e5 are 0 and infinity in float16: the number must enter the computation as it is."""
    x = gpudl.tensor([1000.0], dtype=float16)
    assert (x * 1e-4).item() == np.float16(0.1) and (x / 1e5).item() == np.float16(0.01) and (x * 1e-8 * 1e4).dtype == float16
    assert (x + 0.0004).dtype == float16 and (gpudl.tensor([1.0], dtype=bfloat16) * 1.01).item() == 1.0078125


@pytest.mark.emulator
def test_kernels_promote_alike() -> None:
    for a, b in ((float16, float32), (int64, float32), (uint8, int8), (float16, bfloat16), (bool_, int32), (int32, float16)):
        x, y = gpudl.tensor([1, 0, 1], dtype=a), gpudl.tensor([1, 2, 3], dtype=b)
        want, got = x + y, x.to("emulator") + y.to("emulator")
        assert got.dtype == want.dtype and got.tolist() == want.tolist()
    x = gpudl.tensor([1000.0], dtype=float16, device="emulator")
    assert (x * 1e-4).item() == np.float16(0.1) and (x / 1e5).item() == np.float16(0.01)


def test_gradients_come_back_in_the_operands_dtype() -> None:
    x, w = gpudl.ones(3, dtype=float16).requires_grad_(), gpudl.ones((), dtype=float64).requires_grad_()
    y = x * w * gpudl.arange(3)
    assert y.dtype == float16
    y.backward(gpudl.ones(3, dtype=float16))
    assert x.grad.dtype == float16 and w.grad.dtype == float64 and w.grad.item() == 3


def test_in_place_never_goes_down_a_category() -> None:
    x = gpudl.ones(2, dtype=int64)
    with pytest.raises(RuntimeError, match="the result is float32 and cannot be written into int64"):
        x.mul_(2.5)
    with pytest.raises(RuntimeError, match="add_: the result is int64 and cannot be written into bool"):
        gpudl.ones(2, dtype=bool_).add_(1)
    assert gpudl.ones(2, dtype=float16).add_(gpudl.ones(2, dtype=float64)).dtype == float16
    assert gpudl.ones(2, dtype=int8).mul_(gpudl.ones(2, dtype=int64)).dtype == int8


def test_the_default_dtype() -> None:
    try:
        gpudl.set_default_dtype(float64)
        assert (gpudl.arange(3) / 2).dtype == gpudl.arange(3).exp().dtype == (gpudl.arange(3) * 2.5).dtype == float64
    finally:
        gpudl.set_default_dtype(float32)
