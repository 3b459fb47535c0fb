"""Elementwise functions: every device function at special values, in-place forms, operators, what the registry's driver does not reach."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from accesses import accesses

import gpudl
from gpudl import kernels, nn, ops
from gpudl._errors import DtypeError, ShapeError
from gpudl.autograd import Op
from gpudl.kernels import FOLDER
from gpudl.ops import chain
from gpudl.ops._common import rectify, select
from gpudl.ops.elementwise import Binary, Smooth, Smooth2, Unary

SPECIAL = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 2.5, -2.5, 3, -3, 6, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 1e-3, 88, -88, 1000, -1000, 30])
LEFT, RIGHT = (m.ravel().copy() for m in np.meshgrid(SPECIAL, SPECIAL))
NUMBERS = {"clamp": (-1.0, 2.0), "hardtanh": (-1.0, 2.0), "leaky_relu": (0.2, 0.0), "elu": (1.5, 0.0), "softplus": (2.0, 3.0)}  # p and q
FLOATING = {name: op for name, op in Op.registry.items() if not name.startswith("bitwise")}
UNARY = {n: op for n, op in FLOATING.items() if issubclass(op, Unary)}
BINARY = {n: op for n, op in FLOATING.items() if issubclass(op, Binary)}


def call(name: str):
    function = getattr(sys.modules[FLOATING[name].__module__], FLOATING[name].function)
    return lambda *args: function(*args, *NUMBERS.get(name, ())[: 1 if name in ("leaky_relu", "elu") else 2])


def table(family: str, names: list[str], smooth: list[str]) -> str:
    """A kernel that evaluates every function of a family, one after another: one compilation, not eighty."""
    two = family == "binary"
    calls = []
    for name in names:
        p, q = NUMBERS.get(name, (0.0, 0.0))
        forward = f"{name}_fwd(a[i], b[i])" if two else f"{name}_fwd(a[i], VALUE({p}), VALUE({q}))"
        calls.append(forward)
        if name in smooth and two:
            calls += [f"{name}_da(dy[i], a[i], b[i])", f"{name}_db(dy[i], a[i], b[i])"]
        elif name in smooth:
            calls.append(f"{name}_bwd(dy[i], {'a[i]' if UNARY[name].keeps == 'x' else forward}, VALUE({p}), VALUE({q}))")
    return "\n".join([
        f'#include "{family}/functions.cuh"',
        'extern "C" __global__ void table(const VALUE* a, const VALUE* b, const VALUE* dy, VALUE* out, int n) {',
        "    const int i = threadIdx.x + blockIdx.x * blockDim.x;",
        "    if (i >= n) return;",
        *[f"    out[{row} * (long long)n + i] = VALUE({c});" for row, c in enumerate(calls)],
        "}\n",
    ])  # fmt: skip


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", ["unary", "binary"])
def test_every_device_function_agrees_with_numpy_at_special_values(family: str, dtype: str) -> None:
    from gpudl import emulator

    names = list(UNARY if family == "unary" else BINARY)
    smooth = [n for n in names if issubclass(FLOATING[n], (Smooth, Smooth2))]
    assert len(names) > 20 and len(smooth) > 8
    inputs = [LEFT, RIGHT] if family == "binary" else [SPECIAL]
    rng = np.random.default_rng(1)
    leaves = [gpudl.tensor(np.concatenate([x, rng.normal(size=200)]), dtype=dtype).requires_grad_() for x in inputs]
    dy = gpudl.tensor(rng.normal(size=leaves[0].numel()), dtype=dtype)
    want, what = [], []
    for name in names:
        y = call(name)(*leaves)
        want.append(y.detach().numpy().astype(float))
        what.append(name)
        if name in smooth:
            want += [g.numpy().astype(float) for g in gpudl.autograd.grad(y, leaves, dy)]
            what += [f"the derivative of {name}"] * len(leaves)
    text = f"#define VALUE {'double' if dtype == 'float64' else 'float'}\n" + table(family, names, smooth)
    a, b = (emulator.array(t.detach().numpy()) for t in (leaves * 2)[:2])
    out = emulator.array(np.zeros((len(want), dy.numel()), dtype))
    function = emulator.compile(text, options=(f"-I{FOLDER}",), sanitize=False).get_function("table")
    function(-(-dy.numel() // 128), 128, (a, b, emulator.array(dy.numpy()), out, np.int32(dy.numel())))
    eps = np.finfo(dtype).eps
    wrong = []
    for name, w, g in zip(what, want, np.asarray(out, float), strict=True):
        with np.errstate(all="ignore"):
            fine = (w == g) | (np.isnan(w) & np.isnan(g)) | (np.abs(w - g) <= 32 * eps * (np.abs(w) + 0.5))
        for j in np.flatnonzero(~fine)[:3]:
            wrong.append(f"{name} at {[float(t.detach().numpy()[j]) for t in leaves]}, dy {dy.numpy()[j]}: NumPy {w[j]}, the kernel {g[j]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "bool"])
def test_integer_kernels_agree_with_numpy(dtype: str) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 2, 40) if dtype == "bool" else rng.integers(-100, 100, 40), rng.integers(1, 9, 40)
    a, b = (gpudl.tensor(x, dtype=dtype) for x in (a, b))
    if dtype == "int64":  # no double in between
        a = a + 2**60
    two = [gpudl.mul, gpudl.add, gpudl.maximum, gpudl.eq, gpudl.lt, gpudl.bitwise_and, gpudl.bitwise_xor, gpudl.logical_or, gpudl.div, gpudl.atan2]
    if dtype != "bool":
        two += [gpudl.sub, gpudl.floor_divide, gpudl.remainder, gpudl.fmod, lambda x, y: gpudl.div(x, y, rounding_mode="trunc")]
        two += [gpudl.pow] if dtype != "int64" else []
    one = [gpudl.bitwise_not, gpudl.logical_not, gpudl.isnan, gpudl.isfinite, gpudl.exp, gpudl.sign]
    one += [gpudl.neg, gpudl.abs, gpudl.square] if dtype != "bool" else []
    for f in two:
        want, got = f(a, b), f(a.to("emulator"), b.to("emulator")).cpu()
        assert got.dtype == want.dtype, f
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6, err_msg=str(f))
    for f in one:
        want, got = f(a), f(a.to("emulator")).cpu()
        assert got.dtype == want.dtype, f
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-6, err_msg=str(f))


@pytest.mark.emulator
def test_an_integer_division_by_zero_is_0_in_a_kernel_and_an_error_on_the_cpu() -> None:
    a = gpudl.tensor([5, -5, -(2**63)])
    for f in (gpudl.floor_divide, gpudl.remainder, gpudl.fmod):
        with pytest.raises(ZeroDivisionError, match="an integer is divided by zero"):
            f(a, 0)
        assert f(a.to("emulator"), 0).tolist() == [0, 0, 0]
    assert gpudl.floor_divide(a.to("emulator"), -1).tolist()[:2] == [-5, 5]  # and the third does not trap


def test_offset_views_in_the_vector_rungs() -> None:
    memory = gpudl.arange(41, dtype=gpudl.float32, device="emulator")
    other = gpudl.ones(41, device="emulator")
    for start in range(4):
        x = memory[start:].detach().requires_grad_()
        y = gpudl.relu(x * other[start:])
        np.testing.assert_array_equal(y.detach().cpu().numpy(), np.arange(start, 41))
        y.backward(memory[start:])
        np.testing.assert_array_equal(x.grad.cpu().numpy(), np.arange(start, 41))


# --------------------------------------------------------------------------------------------------------------------- in place, operators
@pytest.mark.parametrize("name", ["exp_", "sin_", "sigmoid_", "relu_", "square_", "abs_", "log1p_", "neg_", "clamp_", "mul_", "div_", "pow_", "add_", "sub_"])
def test_in_place_gives_the_gradient_of_the_function(name: str) -> None:
    rng = np.random.default_rng(0)
    start, other = rng.uniform(0.5, 1.5, size=(3, 4)), rng.uniform(0.5, 1.5, size=4)
    arguments = {"clamp_": (0.7, 1.2), "pow_": (3,)}.get(name)
    results = []
    for inplace in (True, False):
        x, w = gpudl.tensor(start).requires_grad_(), gpudl.tensor(other).requires_grad_()
        more = arguments or ((w,) if name in ("mul_", "div_", "add_", "sub_") else ())
        y = x * 2
        z = getattr(y, name)(*more) if inplace else getattr(y, name[:-1])(*more)
        assert (z is y) == inplace
        z.backward(gpudl.tensor(start))
        results.append((z.detach().numpy(), x.grad.numpy(), w.grad.numpy() if w.grad is not None else 0))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14)


def test_in_place_refusals() -> None:
    x = gpudl.ones(3).requires_grad_()
    with pytest.raises(RuntimeError, match="add_: a leaf that requires a gradient cannot be changed in place"):
        x.add_(1)
    with pytest.raises(ShapeError, match=r"mul_: the result is \(2, 3\) and does not fit in place into \(3,\)"):
        gpudl.ones(3).mul_(gpudl.ones(2, 3))
    with pytest.raises(RuntimeError, match="div_: the result is float32 and cannot be written into int64"):
        gpudl.arange(3).div_(2)
    y = x * 2
    z = y.sin()
    y.add_(1)
    with pytest.raises(RuntimeError, match="sin: x .* was changed in place after the forward that needs it"):
        z.sum().backward()


def test_operators_with_numbers_on_either_side() -> None:
    x = gpudl.tensor([1.0, 4.0])
    for got, want in [
        (x + 1, [2, 5]), (1 + x, [2, 5]), (x - 1, [0, 3]), (1 - x, [0, -3]), (x * 3, [3, 12]), (3 * x, [3, 12]), (x / 2, [0.5, 2]), (2 / x, [2, 0.5]),
        (x**2, [1, 16]), (2**x, [2, 16]), (x // 3, [0, 1]), (9 // x, [9, 2]), (x % 3, [1, 1]), (9 % x, [0, 1]), (-x, [-1, -4]), (+x, [1, 4]),
        (abs(-x), [1, 4]),
        (x > 2, [False, True]), (2 > x, [True, False]), (x == 4, [False, True]), (x != 4, [True, False]), (4 <= x, [False, True]),
        (x + np.float32(1), [2, 5]), (np.float64(1) - x, [0, -3]), (~(x > 2), [True, False]), ((x > 2) | (x < 2), [True, True]),
        ((x > 2) & True, [False, True]),
    ]:  # fmt: skip
        assert got.tolist() == want
    y = x
    y += 1
    y *= 2
    y -= 3
    y /= 2
    y **= 2
    assert y is x and x.tolist() == [0.25, 12.25]
    assert (x == None) is False and (x != "a") is True  # noqa: E711
    with pytest.raises(TypeError):
        x + None
    with pytest.raises(TypeError, match="add: operands are Tensor and ndarray"):
        gpudl.add(x, np.ones(2))  # the operators take arrays


def test_errors_name_shapes_and_dtypes() -> None:
    with pytest.raises(ShapeError, match=r"mul: shapes \(2, 3\) and \(4,\) do not broadcast"):
        gpudl.ones(2, 3) * gpudl.ones(4)
    with pytest.raises(DtypeError, match="bitwise_and: operands are float32 and int64"):
        gpudl.ones(2) & gpudl.arange(2)
    with pytest.raises(RuntimeError, match="masked_fill: value 2.5 does not fit into int64"):
        gpudl.arange(3).masked_fill(gpudl.arange(3) > 1, 2.5)
    with pytest.raises(ShapeError, match=r"masked_fill_: the result is \(2, 3\) and does not fit in place into \(3,\)"):
        gpudl.arange(3).masked_fill_(gpudl.ones(2, 3, dtype=bool), 0)
    with pytest.raises(ShapeError, match=r"masked_fill: shapes \(3,\) and \(2,\) do not broadcast"):
        gpudl.arange(3).masked_fill(gpudl.ones(2, dtype=bool), 0)
    with pytest.raises(gpudl.DeviceError, match="add: input 0 on cpu, input 1 on emulator"):
        gpudl.ones(2) + gpudl.ones(2, device="emulator")


def test_integers_where_floats_are_needed_are_a_type_and_a_runtime_error() -> None:
    for kind in (TypeError, RuntimeError):
        with pytest.raises(kind, match=r"mean: input is int64; a floating dtype is needed\. Convert it with \.float\(\)"):
            gpudl.tensor([1, 2]).mean()


def test_a_fractional_alpha_is_not_rounded() -> None:
    a = gpudl.tensor([1, 2])
    for op in (gpudl.add, gpudl.sub):
        with pytest.raises(RuntimeError, match=rf"{op.__name__}: alpha is 0.5 and the result int64"):
            op(a, a, alpha=0.5)
    assert gpudl.add(a, a, alpha=2).tolist() == [3, 6] and gpudl.add(a.float(), a, alpha=0.5).tolist() == [1.5, 3.0]


def test_masked_fill_and_where() -> None:
    x = gpudl.tensor([1.0, 2.0, 3.0]).requires_grad_()
    y = x.masked_fill(x > 1.5, -1)
    y.backward(gpudl.tensor([1.0, 2.0, 3.0]))
    assert y.tolist() == [1, -1, -1] and x.grad.tolist() == [1, 0, 0]
    z = x.detach().clone().masked_fill_(gpudl.tensor([True, False, False]), float("inf"))
    assert z.tolist() == [float("inf"), 2, 3]
    assert gpudl.where(gpudl.tensor([True, False]), 1, 2.5).dtype == gpudl.float32
    assert gpudl.where(gpudl.tensor([[True], [False]]), x.detach(), 0).tolist() == [[1, 2, 3], [0, 0, 0]]


def test_ties_and_bounds() -> None:
    x, y = (gpudl.tensor([1.0, 2.0, 3.0]).requires_grad_() for _ in range(2))
    gpudl.maximum(x, y).backward(gpudl.ones(3))
    assert x.grad.tolist() == y.grad.tolist() == [0.5, 0.5, 0.5]
    x = gpudl.tensor([1.0, 2.0, 3.0]).requires_grad_()
    x.clamp(1, 2).backward(gpudl.ones(3))
    assert x.grad.tolist() == [1, 1, 0]
    x = gpudl.tensor([0.0, -0.0]).requires_grad_()
    (abs(x) + gpudl.relu(x)).backward(gpudl.ones(2))
    assert x.grad.tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(), (5,), (3, 7, 5), (40000,), (3, 4, 50, 60), (0, 3)])
def test_rectify_in_any_memory_order(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=shape), np.asfortranarray(rng.normal(size=shape)), rng.normal(size=(*shape, 2))[..., 0]):
        np.testing.assert_array_equal(rectify(x), np.maximum(x, 0))
        np.testing.assert_array_equal(rectify(x, out=np.array(x)), np.maximum(x, 0))
    if len(shape) == 4:  # channels-last
        x = rng.normal(size=shape).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
        assert rectify(x).strides == x.strides
        np.testing.assert_array_equal(rectify(x), np.maximum(x, 0))
    assert np.isnan(rectify(np.array([np.nan, 1.0]))[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.int8])
def test_select_is_where(dtype: type) -> None:
    rng = np.random.default_rng(0)
    c, a, b = rng.random((5, 6)) < 0.5, rng.normal(size=(5, 6)).astype(dtype), rng.normal(size=6).astype(dtype)
    if dtype not in (np.int64, np.int8):
        a[0], b[0] = np.nan, np.inf
    for x, y in [(a, b), (a, 0), (0.0, a), (a, 3), (2, a), (b, a)]:
        got = select(c, x, y)
        np.testing.assert_array_equal(got, np.where(c, x, y).astype(dtype))
        assert got.dtype == dtype


def test_only_what_a_gradient_needs_is_kept() -> None:
    x, w = gpudl.ones(3), gpudl.ones(3).requires_grad_()
    node = (x * w)._node
    assert set(node.saved) == {"a"}  # w's gradient needs x; nothing needs w
    assert (w + 1)._node.saved == {} and (w + w)._node.saved == {}


def test_aliases() -> None:
    x = gpudl.tensor([1.0, 2.0])
    assert ops.relu6(x * 9).tolist() == [6, 6] and gpudl.multiply(x, 2).tolist() == [2, 4] and gpudl.true_divide(x, 2).tolist() == [0.5, 1]
    assert x.clip(1.5).tolist() == [1.5, 2] and gpudl.clip(x, max=1.5).tolist() == [1, 1.5]


# -------------------------------------------------------------------------------------------------------------------------- fused chains
ONE_BY_ONE = {"relu": ops.relu, "gelu": ops.gelu, "gelu_tanh": ops.gelu_tanh, "silu": ops.silu, "softsign": ops.softsign,
              "logsigmoid": ops.logsigmoid, "sigmoid": ops.sigmoid, "tanh": ops.tanh}  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator), pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_chain_gives_the_bits_of_its_ops(device: str, dtype: str) -> None:
    """Forward and backward, in every dtype: one rounding too few (a product fused into a sum, a half kept in float) would show."""
    rng = np.random.default_rng(4)
    assert set(ONE_BY_ONE) == set(chain.ACTIVATIONS)
    for i, name in enumerate([*ONE_BY_ONE, None]):
        x, r, dy = (gpudl.tensor(rng.normal(size=(37, 11)), dtype=dtype, device=device) for _ in range(3))
        b = gpudl.tensor(rng.normal(size=11), dtype=dtype, device=device)
        leaves = [t.requires_grad_() for t in (x, b, r)]
        gpudl.manual_seed(i)
        v = ops.dropout(ONE_BY_ONE[name](x + b) if name else x + b, 0.3) + r
        want = [v, *gpudl.autograd.grad(v, leaves, dy)]
        for rung in ("01_naive", "02_vector"):
            gpudl.manual_seed(i)
            with kernels.use("bias_act_dropout_add.forward", rung), kernels.use("bias_act_dropout_add.backward", rung):
                y = ops.bias_act_dropout_add(x, b, name, 0.3, residual=r)
                got = [y, *gpudl.autograd.grad(y, leaves, dy)]
            for w, g in zip(want, got, strict=True):
                np.testing.assert_array_equal(g.detach().cpu()._array.astype(float), w.detach().cpu()._array.astype(float))


def test_a_chain_that_does_not_train_drops_nothing() -> None:
    x, r = gpudl.randn(4, 3), gpudl.randn(4, 3)
    for y in (ops.bias_act_dropout_add(x, None, "relu", 0.9, training=False, residual=r), ops.bias_act_dropout_add(x, None, "relu", residual=r)):
        np.testing.assert_array_equal(y.numpy(), np.maximum(x.numpy(), 0) + r.numpy())
    assert (ops.bias_act_dropout_add(x, None, "relu", 1.0).numpy() == 0).all()
    with pytest.raises(DtypeError, match="input is float32 and bias is float64"):
        ops.bias_act_dropout_add(x, gpudl.ones(3, dtype="float64"))


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_activation_and_dropout_in_a_sequential_are_one_launch(dtype: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.GELU(), nn.Dropout(0.4)).to("emulator")
    x = gpudl.tensor(np.random.default_rng(2).normal(size=(5, 3, 7)), dtype=dtype, device="emulator").requires_grad_()
    runs = []
    for fused in (True, False):
        gpudl.manual_seed(9)
        with nn.set_fusion_enabled(fused):
            y = model(x)
        assert (y.grad_fn.name == "bias_act_dropout_add") == fused
        runs.append([y, *gpudl.autograd.grad(y, [x], y.detach())])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.detach().cpu().numpy(), other.detach().cpu().numpy())
    with kernels.use("dropout.forward", "01_naive"):
        assert model(x).grad_fn.name == "dropout"  # a rung that was asked for runs
    model.eval()
    assert model(x).grad_fn.name == "gelu"


# --------------------------------------------------------------------------------------------------------- what a rung asks of memory
def _dense(*shape: int, dtype: str = "float32") -> gpudl.Tensor:
    return gpudl.tensor(np.random.default_rng(1).normal(size=shape), dtype=dtype, device="emulator").requires_grad_()


def _forward(function, *inputs):
    return lambda ladder, rung: lambda: function(*[t.detach() for t in inputs])


def _backward(function, *inputs):
    def prepare(ladder: str, rung: str):
        with kernels.use(ladder, rung):  # backward launches what was picked at forward
            y = function(*inputs)
        return lambda: gpudl.autograd.grad(y, [t for t in inputs if t.requires_grad], y.detach())

    return prepare


def _traffic_cases():
    x, z, bias, residual = _dense(64, 1024), _dense(64, 1024), _dense(1024), _dense(64, 1024)
    condition = x.detach() > 0

    def run(a, b, r):
        return ops.bias_act_dropout_add(a, b, "gelu", 0.5, residual=r)

    return {
        "unary.forward": _forward(ops.relu, x), "unary.backward": _backward(ops.relu, x),
        "binary.forward": _forward(ops.mul, x, z), "binary.backward": _backward(ops.mul, x, z),
        "where.forward": _forward(lambda a, b: ops.where(condition, a, b), x, z),
        "where.backward": _backward(lambda a, b: ops.where(condition, a, b), x, z),
        "bias_act_dropout_add.forward": _forward(run, x, bias, residual), "bias_act_dropout_add.backward": _backward(run, x, bias, residual),
        "dropout.forward": _forward(lambda a: ops.dropout(a, 0.5), x), "dropout.backward": _backward(lambda a: ops.dropout(a, 0.5), x),
        "maxout.forward": _forward(lambda a: ops.maxout(a, 4), x), "maxout.backward": _backward(lambda a: ops.maxout(a, 4), x),
        "random.fill": lambda ladder, rung: lambda: gpudl.rand(64, 1024, device="emulator"),
        "adaptive_piecewise_linear.forward": _forward(ops.adaptive_piecewise_linear, _dense(8, 16, 256), _dense(3, 16), _dense(3, 16)),
        "adaptive_piecewise_linear.backward": _backward(ops.adaptive_piecewise_linear, _dense(8, 16, 256), _dense(3, 16), _dense(3, 16)),
    }  # fmt: skip


TRAFFIC = ["unary", "binary", "where", "bias_act_dropout_add", "dropout", "maxout", "random", "adaptive_piecewise_linear"]
STRIDED = ("01_naive", "02_flat", "02_whole")  # rungs that may ask for more sectors than they use: masks and pieces decide what is read


@pytest.mark.emulator
@pytest.mark.parametrize("family", TRAFFIC)
def test_bytes_are_those_of_the_record_and_vectors_waste_none(family: str) -> None:
    for name, case in _traffic_cases().items():
        for rung in kernels.ladder(name):
            if name.split(".")[0] == family and rung.backend == "cuda":
                asked, stated, lines = accesses(name, rung.name, case(name, rung.name))
                assert abs(asked - stated) <= 0.05 * stated, f"{rung!r} asks for {asked} bytes and states {stated}"
                if rung.name not in STRIDED and name != "adaptive_piecewise_linear.backward":
                    waste = [line for line in lines if line.space == "global" and line.sectors > line.ideal_sectors]
                    assert not waste, f"{rung!r}: {waste[0]}"


# ------------------------------------------------------------------------------------------------------- compiled loops of the CPU path
def _ulps(got: np.ndarray, want: np.ndarray) -> float:
    """The worst distance from float64 values, in units in the last place of their float32."""
    return float(np.max(np.abs(got.astype(np.float64) - want) / np.spacing(np.maximum(np.abs(want), 2.0**-126).astype(np.float32))))


def _floats() -> np.ndarray:
    """Every size of float32: evenly spaced ones, and every exponent."""
    rng = np.random.default_rng(6)
    x = np.concatenate([np.linspace(-4.5, 4.5, 90001), 2.0 ** rng.uniform(-149, 5, 60000) * rng.choice([-1, 1], 60000)])
    return x.astype(np.float32)


def test_erf_is_within_8_units_in_the_last_place() -> None:
    x = _floats()
    assert _ulps(gpudl.erf(gpudl.tensor(x)).numpy(), np.array([math.erf(v) for v in x.tolist()])) <= 8
    y = gpudl.erf(gpudl.tensor([0.0, -0.0, np.inf, -np.inf, np.nan, 30.0, -30.0])).numpy()
    np.testing.assert_array_equal(y, [0, -0.0, 1, -1, np.nan, 1, -1])
    assert np.signbit(y[1]) and not np.signbit(y[0]) and np.abs(gpudl.erf(gpudl.tensor(x)).numpy()).max() == 1
    assert gpudl.erf(gpudl.tensor(0.5)).shape == () and gpudl.erf(gpudl.zeros(0, 3)).shape == (0, 3)


def test_gelu_and_its_gradient_in_float32() -> None:
    """Against float64: erf's 8 units and the rounding of 1 + erf, a product and two roundings; the density's exponential to 2 units."""
    x = _floats()
    x32, x64 = (gpudl.tensor(x, dtype=d).requires_grad_() for d in ("float32", "float64"))
    dy = gpudl.tensor(np.random.default_rng(3).normal(size=x.size).astype(np.float32))
    y32, y64 = (ops.gelu(v) for v in (x32, x64))
    eps = 2.0**-23
    assert (np.abs(y32.detach().numpy() - y64.detach().numpy()) <= 12 * eps * np.abs(x) + 2.0**-149).all()
    (g32,), (g64,) = gpudl.autograd.grad(y32, [x32], dy), gpudl.autograd.grad(y64, [x64], dy.double())
    assert (np.abs(g32.numpy() - g64.numpy()) <= 16 * eps * np.abs(dy.numpy()) * (1 + np.abs(x))).all()
    t = gpudl.tensor(np.arange(12.0).reshape(3, 4), dtype="float32").T.requires_grad_()  # strided
    np.testing.assert_allclose(gpudl.autograd.grad(ops.gelu(t), [t], t.detach())[0].numpy(), _gelu_slope(t.detach().numpy()) * t.detach().numpy(), 1e-5)


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_divisions_give_numpys_bits(name: str) -> None:
    rng = np.random.default_rng(5)
    n = 20000
    special = np.array([*SPECIAL, 1e-44, 16777217, 3.3, 0.1, 4194303.5, 4194304, 1e30, -1e30], np.float32)
    pairs = [
        tuple(m.ravel() for m in np.meshgrid(special, special)),
        (rng.normal(size=n), rng.normal(size=n)),
        (rng.normal(size=n) * 10 ** rng.uniform(-9, 9, n), rng.normal(size=n)),
        (rng.integers(-100, 100, n) * np.float32(0.1), rng.choice([0.1, 0.2, 0.3, -0.1], n)),  # quotients that round to an integer
        (rng.integers(-(10**6), 10**6, n), rng.integers(1, 300, n)),
        (rng.normal(size=(3, 700)), rng.normal(size=(700,))), (rng.normal(size=(40, 40)).T, rng.normal(size=())),
    ]  # fmt: skip
    for a, b in pairs:
        a, b = np.asarray(a).astype(np.float32), np.asarray(b).astype(np.float32)
        with np.errstate(all="ignore"):
            want = getattr(np, name)(a, b)
        got = getattr(ops, name)(gpudl.tensor(a), gpudl.tensor(b)).numpy()
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got[~np.isnan(want)]), np.signbit(want[~np.isnan(want)]))


def test_clamp_keeps_nan_and_gives_max_where_min_is_larger() -> None:
    x = gpudl.tensor([-2.0, 0.5, 3.0, np.nan, np.inf])
    np.testing.assert_array_equal(ops.clamp(x, -1, 1).numpy(), np.array([-1, 0.5, 1, np.nan, 1], np.float32))
    np.testing.assert_array_equal(ops.clamp(x, 2, 1).numpy(), np.array([1, 1, 1, np.nan, 1], np.float32))
    assert ops.clamp(x, 0.1).dtype == np.float32 and ops.hardtanh(x.half()).dtype == np.float16


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator), pytest.param("cuda", marks=pytest.mark.gpu)])
def test_subnormal_numbers_are_not_zeros(device: str) -> None:
    x = gpudl.tensor([1e-40, -3e-39], device=device)
    np.testing.assert_allclose((x * 3).cpu().numpy(), np.float32([3e-40, -9e-39]), rtol=1e-4)
    np.testing.assert_allclose(x.abs().log().cpu().numpy(), np.log([1e-40, 3e-39]), rtol=1e-5)
    np.testing.assert_allclose(gpudl.tensor([-90.0], device=device).exp().cpu().numpy(), np.exp([-90.0]), rtol=1e-4)
