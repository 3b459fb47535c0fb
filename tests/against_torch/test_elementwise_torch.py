"""Elementwise functions against PyTorch where they bend: zeros, infinities, NaN, ties, bounds; and the whole table of result dtypes."""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import gpudl
from gpudl import ops

SPECIAL = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 2.5, -2.5, 3, -3, 6, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 1e-3, 88, -88, 1000, -1000, 30])
LEFT, RIGHT = (m.ravel().copy() for m in np.meshgrid(SPECIAL, SPECIAL))
UNARY = (
    "abs neg sign square reciprocal exp expm1 log log1p log2 log10 sqrt rsqrt sin cos tanh sigmoid erf floor ceil round trunc isnan isinf isfinite "
    "logical_not relu"
).split()
BINARY = "add sub mul div maximum minimum fmod remainder pow atan2 eq ne lt le gt ge logical_and logical_or logical_xor".split()
ACTIVATIONS = [
    ("relu6", ()), ("leaky_relu", (0.2,)), ("leaky_relu", (-0.2,)), ("elu", (1.5,)), ("selu", ()), ("celu", (2.0,)), ("gelu", ()), ("silu", ()),
    ("mish", ()), ("softplus", ()), ("softplus", (2.0, 3.0)), ("logsigmoid", ()), ("softsign", ()), ("hardtanh", ()), ("hardtanh", (-2.0, 3.0)),
    ("hardsigmoid", ()), ("hardswish", ()),
]  # fmt: skip
# Where PyTorch's paths differ among themselves: its float kernels of gelu, elu and hardswish treat infinity or NaN unlike its double ones.
EXCEPT = {
    "gelu": np.isinf,
    "elu": np.isnan, "selu": np.isnan, "celu": np.isnan, "hardswish": np.isnan,
}  # fmt: skip


def compare(name: str, theirs, ours, *arrays: np.ndarray, dtype: str = "float64", rtol: float = 1e-12, atol: float = 1e-14) -> None:
    ts = [torch.tensor(a, dtype=getattr(torch, dtype), requires_grad=True) for a in arrays]
    gs = [gpudl.tensor(a, dtype=dtype).requires_grad_() for a in arrays]
    want, got = theirs(*ts), ours(*gs)
    assert str(want.dtype) == f"torch.{got.dtype}"
    keep: Any = ~EXCEPT[name](arrays[0]) if name in EXCEPT else ...
    pairs = [("value", want.detach().numpy(), got.detach().numpy())]
    if want.requires_grad:
        dy = np.linspace(0.5, 1.5, want.numel()).reshape(want.shape)
        tg = torch.autograd.grad(want, ts, torch.tensor(dy, dtype=want.dtype), allow_unused=True)
        gg = gpudl.autograd.grad(got, gs, gpudl.tensor(dy, dtype=got.dtype), allow_unused=True)
        assert [t is None for t in tg] == [g is None for g in gg]
        pairs += [(f"gradient {i}", t.numpy(), g.numpy()) for i, (t, g) in enumerate(zip(tg, gg, strict=True)) if t is not None]
    for what, t, g in pairs:
        np.testing.assert_allclose(g[keep].astype(float), t[keep].astype(float), rtol=rtol, atol=atol, err_msg=f"{name}: {what}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
class TestSpecialValues:
    def tolerances(self, dtype: str) -> dict[str, float]:
        return dict(dtype=dtype) if dtype == "float64" else dict(dtype=dtype, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", UNARY)
    def test_unary(self, name: str, dtype: str) -> None:
        compare(name, getattr(torch, name), getattr(ops, name), SPECIAL, **self.tolerances(dtype))

    @pytest.mark.parametrize("name", BINARY)
    def test_binary(self, name: str, dtype: str) -> None:
        compare(name, getattr(torch, name), getattr(ops, name), LEFT, RIGHT, **self.tolerances(dtype))

    @pytest.mark.parametrize(("name", "args"), ACTIVATIONS)
    def test_activation(self, name: str, args: tuple, dtype: str) -> None:
        settings = self.tolerances(dtype)
        if name == "hardsigmoid":  # PyTorch's 1/6 is a float
            settings |= dict(rtol=1e-6)
        compare(name, lambda x: getattr(TF, name)(x, *args), lambda x: getattr(ops, name)(x, *args), SPECIAL, **settings)

    def test_gelu_tanh(self, dtype: str) -> None:
        finite = SPECIAL[np.isfinite(SPECIAL)]
        compare("gelu tanh", lambda x: TF.gelu(x, approximate="tanh"), lambda x: ops.gelu(x, approximate="tanh"), finite, **self.tolerances(dtype))

    @pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 2.0), (0.5, None), (3.0, 1.0)])
    def test_clamp(self, bounds: tuple, dtype: str) -> None:
        compare("clamp", lambda x: torch.clamp(x, *bounds), lambda x: gpudl.clamp(x, *bounds), SPECIAL, **self.tolerances(dtype))

    def test_clamp_with_tensors(self, dtype: str) -> None:
        x, low = (np.where(np.isnan(v), 0, v) for v in (LEFT, RIGHT))  # where x is NaN PyTorch's derivative is 0, ours 1
        compare("clamp", lambda x, lo: torch.clamp(x, lo), lambda x, lo: gpudl.clamp(x, lo), x, low, **self.tolerances(dtype))
        compare("clamp", lambda x, hi: torch.clamp(x, max=hi), lambda x, hi: gpudl.clamp(x, max=hi), x, low, **self.tolerances(dtype))

    @pytest.mark.parametrize("exponent", [2, 2.0, 0, 0.0, 0.5, -1, -1.0, 3, 1, 1.5, np.inf])
    def test_pow_with_a_number(self, exponent: float, dtype: str) -> None:
        compare(f"pow {exponent}", lambda x: x**exponent, lambda x: x**exponent, SPECIAL, **self.tolerances(dtype))
        compare(f"{exponent} pow", lambda x: exponent**x, lambda x: exponent**x, SPECIAL, **self.tolerances(dtype))

    @pytest.mark.parametrize("mode", ["floor", "trunc"])
    def test_div_rounded(self, mode: str, dtype: str) -> None:
        compare(
            "div", lambda a, b: torch.div(a, b, rounding_mode=mode), lambda a, b: gpudl.div(a, b, rounding_mode=mode), LEFT, RIGHT,
            **self.tolerances(dtype),
        )  # fmt: skip

    def test_where_and_prelu(self, dtype: str) -> None:
        compare("where", lambda a, b: torch.where(a > 0, a, b), lambda a, b: gpudl.where(a > 0, a, b), LEFT, RIGHT, **self.tolerances(dtype))
        weight = np.array([0.3])
        for x, w in ((SPECIAL, weight), (np.random.default_rng(0).normal(size=(2, 3, 4)), np.array([0.1, -0.2, 0.3]))):
            ts, gs = (torch.tensor(v).requires_grad_() for v in (x, w)), (gpudl.tensor(v).requires_grad_() for v in (x, w))
            tx, tw = ts
            gx, gw = gs
            want, got = TF.prelu(tx, tw), ops.prelu(gx, gw)
            np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy())
            if np.isfinite(x).all():
                want.backward(torch.ones_like(want))
                got.backward(gpudl.ones_like(got))
                np.testing.assert_allclose(gx.grad.numpy(), tx.grad.numpy())
                np.testing.assert_allclose(gw.grad.numpy(), tw.grad.numpy())


DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
TABLE = {
    "add": operator.add, "mul": operator.mul, "div": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow,
    "eq": operator.eq, "lt": operator.lt, "and": operator.and_, "xor": operator.xor, "sub": operator.sub,
}  # fmt: skip


def outcome(f, *args) -> str:
    try:
        return str(f(*args).dtype).removeprefix("torch.")
    except (TypeError, RuntimeError):
        return "error"


@pytest.mark.parametrize("name", [*TABLE, "maximum", "fmod", "atan2", "where", "logical_and"])
def test_result_dtypes(name: str) -> None:
    def where(library):
        return lambda a, b: library.where(library.tensor(True), a, b)

    theirs = TABLE.get(name) or (where(torch) if name == "where" else getattr(torch, name))
    ours = TABLE.get(name) or (where(gpudl) if name == "where" else getattr(gpudl, name))
    wrong = []
    for a in DTYPES:
        for b in DTYPES:
            if "bool" in (a, b) and name in ("sub", "pow"):  # PyTorch refuses more: float - bool, bool ** bool
                continue
            for i in ((3,), ()):
                for j in ((3,), ()):
                    want = outcome(theirs, torch.ones(i, dtype=getattr(torch, a)), torch.ones(j, dtype=getattr(torch, b)))
                    got = outcome(ours, gpudl.ones(i, dtype=a), gpudl.ones(j, dtype=b))
                    if want != got:
                        wrong.append((a, i, b, j, want, got))
        for number in (2, 2.5, True) if name in TABLE else ():
            if "bool" in (a, str(type(number).__name__)) and name in ("sub", "pow"):
                continue
            for i in ((3,), ()):
                x, t = gpudl.ones(i, dtype=a), torch.ones(i, dtype=getattr(torch, a))
                if outcome(theirs, t, number) != outcome(ours, x, number) or outcome(theirs, number, t) != outcome(ours, number, x):
                    wrong.append((a, i, number, outcome(theirs, t, number), outcome(ours, x, number)))
    assert not wrong


@pytest.mark.parametrize("name", [*UNARY, "bitwise_not"])
def test_result_dtypes_of_one_operand(name: str) -> None:
    for a in DTYPES:
        want, got = outcome(getattr(torch, name), torch.ones(3, dtype=getattr(torch, a))), outcome(getattr(ops, name), gpudl.ones(3, dtype=a))
        assert want == got or (a == "bool" and want == "error"), f"{name} of {a}: {want} in PyTorch, {got}"


def test_clamp_between_tensors() -> None:
    """Each combination of special values, with both bounds and with one: value and all three gradients."""
    some = np.array([0.5, np.nan, np.inf, -np.inf, 2.0, -1.0, 1.0])
    x, low, high = (m.ravel().copy() for m in np.meshgrid(some, some, some))
    both = lambda lib: lambda *t: lib.clamp(*t)
    compare("clamp", both(torch), both(gpudl), x, low, high)
    for name in ("min", "max"):
        one = lambda lib: lambda x, b: lib.clamp(x, **{name: b})  # noqa: B023
        compare(f"clamp {name}", one(torch), one(gpudl), x, low)
    rng = np.random.default_rng(0)
    compare("clamp", both(torch), both(gpudl), rng.normal(size=(3, 4)), rng.normal(size=(4,)) - 1, rng.normal(size=(3, 1)) + 1)  # broadcast
    for a, b in ((gpudl.arange(5).clamp(min=gpudl.tensor(2)), torch.arange(5).clamp(min=torch.tensor(2))),
                 (gpudl.arange(5).clamp(max=gpudl.tensor([1.5])), torch.arange(5).clamp(max=torch.tensor([1.5])))):  # fmt: skip
        assert a.tolist() == b.tolist() and str(b.dtype) == f"torch.{a.dtype}"


def test_bools_have_no_difference() -> None:
    for lib in (gpudl, torch):
        b, f, i = lib.tensor([True]), lib.tensor([1.5]), lib.tensor([2])
        for bad in (lambda: f - b, lambda: b - f, lambda: 1.5 - b, lambda: b - 1, lambda: b - b, lambda: i - b, lambda: f - True, lambda: True - i):  # noqa: B023
            with pytest.raises(RuntimeError):
                bad()
        assert (f - b.float()).tolist() == [0.5] and (f + b).tolist() == [2.5]


@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("correction", [0, 1, 2, 3, 3.5, 5])
def test_variance_with_few_degrees_of_freedom(name: str, correction: float) -> None:
    """n = 1, 2, 3 values, different and equal: inf, NaN and the sign of the gradient are PyTorch's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in (np.array([1.0, 2.0, 4.0]), np.ones(3), np.array([1.0, 3.0]), np.array([2.0]), np.array([[1.0, 2.0], [5.0, 5.0]])):
            spread = lambda lib: lambda x: getattr(lib, name)(x, -1, correction=correction)  # noqa: B023
            compare(f"{name} {correction}", spread(torch), spread(gpudl), data)
