"""Bias and activation at the end of a product: equal to the separate ops in value, gradient and gradient of the gradient; what is asked of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from accesses import accesses

import gpudl
from gpudl import kernels, nn, ops
from gpudl.nn import functional as F
from gpudl.ops import _epilogue

DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)]
EVERY = [*_epilogue.ACTIVATIONS, *[(name, p) for name in ("leaky_relu", "elu") for p in (1.7, 0.3, 0.0, -0.3)]]
rng = np.random.default_rng(5)


def apart(y: gpudl.Tensor, activation: Any) -> gpudl.Tensor:
    """The activation as the op of its own that a user would write."""
    name, number = _epilogue.split(activation)
    if name is None:
        return y
    if name in ("sigmoid", "tanh"):
        return getattr(y, name)()
    if name == "gelu_tanh":
        return F.gelu(y, approximate="tanh")
    return getattr(F, name)(y, *[number] * isinstance(activation, tuple))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("activation", EVERY)
def test_fused_linear_equals_the_separate_ops(device: str, activation: Any) -> None:
    """Results are equal bit for bit, with and without a graph; of the derivatives those that come from the output may round otherwise."""
    arrays = [rng.standard_normal(s) for s in ((9, 7), (6, 7), (6,))]
    dy = rng.standard_normal((9, 6))
    found = []
    for fused in (True, False):
        x, w, b = (gpudl.tensor(a, dtype="float32", device=device).requires_grad_() for a in arrays)
        y = ops.linear_act(x, w, b, activation) if fused else apart(ops.linear(x, w, b), activation)
        if fused:
            with gpudl.no_grad():
                np.testing.assert_array_equal(ops.linear_act(x, w, b, activation).cpu().numpy(), y.detach().cpu().numpy())
        found.append([y, *gpudl.autograd.grad(y, [x, w, b], gpudl.tensor(dy, dtype="float32", device=device))])
    for k, (a, b) in enumerate(zip(*found, strict=True)):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
        if k == 0 or activation == "relu":
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=16 * 2.0**-23 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("activation", EVERY)
def test_gradients_of_gradients(activation: Any) -> None:
    """Of each input alone too: what GELU and SiLU keep must be there whoever needs a gradient."""
    arrays = [rng.standard_normal(s) for s in ((4, 3), (2, 3), (2,))]
    for wanted in ({0, 1, 2}, {0}, {1}, {2}):
        given = [gpudl.tensor(a, requires_grad=k in wanted) for k, a in enumerate(arrays)]

        def call(*leaves: gpudl.Tensor, given: Any = given) -> gpudl.Tensor:
            values = iter(leaves)
            return ops.linear_act(*[next(values) if t.requires_grad else t for t in given], activation)

        leaves = [t for t in given if t.requires_grad]
        assert gpudl.autograd.gradcheck(call, leaves)
        assert gpudl.autograd.gradgradcheck(call, leaves)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("activation", [None, "relu", "gelu", ("elu", 0.3)])
@pytest.mark.parametrize(
    "shapes", [((9, 7), (6, 7), (9, 6)), ((2, 3, 7), (8, 7), (3, 8)), ((7,), (6, 7), (6,)), ((5, 7), (7,), (5,)), ((4, 7), (6, 7), ())]
)
def test_a_residual_is_added_before_the_activation(device: str, activation: Any, shapes: Any) -> None:
    """Equal to the ops one by one: bias, residual, activation; the residual of any strides and start; every gradient."""
    x, w, r = (rng.standard_normal(s) for s in shapes)
    b = rng.standard_normal(w.shape[:-1])
    dy = rng.standard_normal((*x.shape[:-1], *w.shape[:-1]))
    found = []
    for fused in (True, False):
        given = [gpudl.tensor(a, dtype="float32", device=device).requires_grad_() for a in (x, w, b)]
        memory = gpudl.tensor(np.append(0.0, r.T), dtype="float32", device=device).requires_grad_()
        residual = memory[1:].reshape(r.T.shape).permute(*range(r.ndim - 1, -1, -1)) if r.ndim else memory[1]
        if fused:
            y = ops.linear_act(*given, activation, residual)
            with gpudl.no_grad():
                np.testing.assert_array_equal(ops.linear_act(*given, activation, residual).cpu().numpy(), y.detach().cpu().numpy())
        else:
            y = apart(ops.linear(*given) + residual, activation)
        found.append([y, *gpudl.autograd.grad(y, [*given, memory], gpudl.tensor(dy, dtype="float32", device=device))])
    for a, b in zip(*found, strict=True):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=16 * 2.0**-23 * max(1.0, np.abs(b).max()))
    np.testing.assert_array_equal(*[f[0].detach().cpu().numpy() for f in found])


@pytest.mark.emulator
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_addmm_is_one_launch(shape: tuple[int, ...]) -> None:
    values = [rng.standard_normal(s) for s in (shape, (3, 5), (5, 4))]
    found = []
    for device in ("cpu", "emulator"):
        c, a, b = (gpudl.tensor(v, device=device, requires_grad=True) for v in values)
        before = sum(r.launches for r in kernels.ladder("binary.forward")), sum(r.launches for r in kernels.ladder("matmul.forward"))
        y = gpudl.addmm(c, a, b)
        after = sum(r.launches for r in kernels.ladder("binary.forward")), sum(r.launches for r in kernels.ladder("matmul.forward"))
        assert (after[0] - before[0], after[1] - before[1]) == ((0, 1) if device == "emulator" else (0, 0))
        found.append([y, *gpudl.autograd.grad(y.square().sum(), [c, a, b])])
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got.detach().cpu().numpy(), want.detach().cpu().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.emulator
@pytest.mark.parametrize("rung", [r.name for r in kernels.ladder("matmul.forward") if r.backend == "cuda"])
def test_every_rung_adds_a_residual_and_keeps_the_sum(rung: str) -> None:
    """Ragged and whole vectors, a batch; in one launch, under the sanitizer."""
    record = kernels.ladder("matmul.forward")[rung]
    dtype = "float32" if gpudl.float32 in record.dtypes else "float16"
    for m, k, n in ((70, 24, 66), (66, 40, 136)):
        x, w, r = (np.round(4 * rng.standard_normal(s)) / 8 for s in ((m, k), (n, k), (m, n)))
        x_, w_, r_ = (gpudl.tensor(a, dtype=dtype, device="emulator") for a in (x, w, r))
        before = record.launches
        with kernels.use("matmul.forward", rung), kernels.emulation(sanitize=True):
            got = ops.linear_act(x_, w_, None, None, r_)
            kept = ops.linear_act(x_.requires_grad_(), w_, None, "silu")
        assert record.launches == before + 2
        z = x @ w.T  # multiples of 1/64: exact in every dtype that a rung computes in
        eps = 2.0**-10 if dtype == "float16" else 2.0**-20
        assert np.abs(got.double().cpu().numpy() - (z + r)).max() <= eps * (np.abs(z) + 1).max()
        assert np.abs(kept.detach().double().cpu().numpy() - z / (1 + np.exp(-z))).max() <= eps * (np.abs(z) + 1).max()
        assert np.abs(kept._node.saved["v"].array.astype(np.float64) - z).max() <= eps * (np.abs(z) + 1).max()


# ------------------------------------------------------------------------------------------------------------------- nn.Sequential
MODULES = [nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.SiLU(inplace=True), nn.LeakyReLU(), nn.LeakyReLU(0.3), nn.ELU(),
           nn.ELU(0.7, inplace=True), nn.LeakyReLU(-0.5), nn.ELU(-0.5)]  # fmt: skip


def names(y: gpudl.Tensor) -> list[str]:
    return [node.name for node in gpudl.autograd.nodes(y) if node.name != "leaf"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_sequential_runs_linear_and_activation_as_one_op(module: nn.Module, device: str) -> None:
    net = nn.Sequential(nn.Linear(6, 5), module).to(device)
    x = gpudl.tensor(rng.standard_normal((7, 6)), dtype="float32", device=device, requires_grad=True)
    dy = gpudl.tensor(rng.standard_normal((7, 5)), dtype="float32", device=device)
    found = []
    for mode in (True, False):
        with nn.set_fusion_enabled(mode):
            y = net(x)
        found.append([y, *gpudl.autograd.grad(y, [x, *net.parameters()], dy, retain_graph=True)])
        alone = mode and not (
            isinstance(module, (nn.LeakyReLU, nn.ELU)) and getattr(module, "alpha", getattr(module, "negative_slope", 1)) < 0
        )
        assert ("linear" in names(y)) and (len(names(y)) == 1) == alone
    for a, b in zip(*found, strict=True):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
        assert np.abs(a - b).max() <= 16 * 2.0**-23 * max(1.0, np.abs(b).max())
    np.testing.assert_array_equal(*[f[0].detach().cpu().numpy() for f in found])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_sequential_runs_convolution_and_activation_as_one_op(module: nn.Module, device: str) -> None:
    """Where the derivative follows from the output; equal results and gradients everywhere."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), module).to(device)
    x = gpudl.tensor(rng.standard_normal((2, 2, 5, 6)), dtype="float32", device=device, requires_grad=True)
    dy = gpudl.tensor(rng.standard_normal((2, 3, 3, 4)), dtype="float32", device=device)
    found = []
    for mode in (True, False):
        with nn.set_fusion_enabled(mode):
            y = net(x)
        found.append([y, *gpudl.autograd.grad(y, [x, *net.parameters()], dy, retain_graph=True)])
        falls = isinstance(module, (nn.GELU, nn.SiLU)) or getattr(module, "alpha", getattr(module, "negative_slope", 1)) < 0
        assert (len(names(y)) == 1) == (mode and not falls)
    for a, b in zip(*found, strict=True):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
        assert np.abs(a - b).max() <= 32 * 2.0**-23 * max(1.0, np.abs(b).max())


def test_a_number_that_changes_and_a_hook_are_honoured() -> None:
    act = nn.LeakyReLU(0.25)
    net, x = nn.Sequential(nn.Linear(3, 3, bias=False), act), gpudl.tensor(-np.eye(3, dtype=np.float32))
    net[0].weight.data.copy_(gpudl.eye(3))
    assert net(x)[0, 0].item() == -0.25
    act.negative_slope = 0.5
    assert net(x)[0, 0].item() == -0.5
    seen: list[Any] = []
    handle = net[0].register_forward_hook(lambda *a: seen.append(a))
    assert net(x)[0, 0].item() == -0.5 and len(seen) == 1 and "leaky_relu" in names(net(x))
    handle.remove()
    assert names(net(x)) == ["linear"]
    gelu = nn.GELU()
    gelu.approximate = "erf"
    with pytest.raises(RuntimeError, match="approximate 'erf'"):
        nn.Sequential(nn.Linear(3, 3), gelu)(x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("module", MODULES[:10], ids=repr)
def test_halves_are_equal_too(module: nn.Module, dtype: str) -> None:
    net = nn.Sequential(nn.Linear(6, 5), module).to(getattr(gpudl, dtype))
    x = gpudl.tensor(rng.standard_normal((7, 6)), dtype=dtype)
    y = net(x)
    with nn.set_fusion_enabled(False):
        np.testing.assert_array_equal(y.detach().float().numpy(), net(x).detach().float().numpy())


def test_a_changed_input_is_noticed_only_where_it_matters() -> None:
    """GELU keeps x for gradients of gradients alone: writing to it spoils no first gradient that does not read it."""
    x, w = gpudl.ones(2, 3), gpudl.ones(4, 3, requires_grad=True)
    v = gpudl.ones(2, 3, requires_grad=True) * 1
    y = ops.linear_act(v, w.detach(), None, "gelu")
    v.add_(1)
    (g,) = gpudl.autograd.grad(y.sum(), [v], allow_unused=True)
    assert g is None or np.isfinite(g.numpy()).all()
    y = ops.linear_act(x, w, None, "gelu")
    x.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


# --------------------------------------------------------------------------------------------------------------------------- memory
@pytest.mark.emulator
@pytest.mark.parametrize("rung", [r.name for r in kernels.ladder("epilogue.backward")])
@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
def test_bytes_that_backward_requests(rung: str, activation: str | None) -> None:
    x, w, b = (gpudl.tensor(np.ones(s, np.float32), device="emulator", requires_grad=True) for s in ((64, 8), (256, 8), (256,)))

    def work() -> None:
        y = ops.linear_act(x, w, b, activation)
        y.backward(gpudl.ones_like(y))

    found = accesses("epilogue.backward", rung, work)
    assert found.asked == found.stated


def test_a_leaky_relu_that_the_next_module_changes_runs_by_itself() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.ReLU(inplace=True))
    x = gpudl.randn(5, 3, requires_grad=True)
    with nn.set_fusion_enabled(False):
        (want,) = gpudl.autograd.grad(model(x).sum(), x)
    (got,) = gpudl.autograd.grad(model(x).sum(), x)
    assert got.tolist() == want.tolist()
