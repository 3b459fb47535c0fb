"""Convolution: what the registry's samples leave out. Pieces, strides of memory, fused layers, transposed convolution, scratch memory."""

from __future__ import annotations

import sys
import threading
import warnings

import numpy as np
import pytest

import gpudl
from gpudl import kernels, ops
from gpudl._cpu import conv
from gpudl._errors import DtypeError, ShapeError
from gpudl.autograd import gradcheck, gradgradcheck
from gpudl.emulator import _launch

rng = np.random.default_rng(6)
DEVICES = ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)]


def direct(x, w, b, stride, pad, dilation, groups):
    """The definition, one result at a time."""
    (N, _, H, W), (K, c, R, S) = x.shape, w.shape
    P, Q = ((n + 2 * p - d * (r - 1) - 1) // s + 1 for n, p, d, r, s in zip((H, W), pad, dilation, (R, S), stride))
    y = np.zeros((N, K, P, Q))
    for n, k, p, q in np.ndindex(y.shape):
        total = 0.0 if b is None else b[k]
        for i, r, s in np.ndindex(c, R, S):
            h, v = p * stride[0] + r * dilation[0] - pad[0], q * stride[1] + s * dilation[1] - pad[1]
            if 0 <= h < H and 0 <= v < W:
                total += x[n, k // (K // groups) * c + i, h, v] * w[k, i, r, s]
        y[n, k, p, q] = total
    return y


CASES = [
    ((2, 3, 7, 6), (4, 3, 3, 2), (2, 1), (1, 0), (1, 1), 1),
    ((1, 4, 9, 8), (6, 2, 3, 3), (2, 3), (1, 2), (2, 1), 2),
    ((2, 4, 5, 6), (8, 1, 2, 3), (1, 1), (3, 3), (1, 1), 4),
    ((3, 1, 4, 4), (2, 1, 4, 4), (1, 1), (0, 0), (1, 1), 1),
    ((1, 2, 3, 3), (1, 2, 2, 2), (3, 3), (2, 2), (3, 3), 1),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device", DEVICES)
def test_against_the_definition(case: tuple, device: str) -> None:
    xs, ws, stride, pad, dilation, groups = case
    x, w, b = rng.standard_normal(xs), rng.standard_normal(ws), rng.standard_normal(ws[0])
    got = gpudl.conv2d(*(gpudl.tensor(a, device=device) for a in (x, w, b)), stride, pad, dilation, groups)
    np.testing.assert_allclose(got.cpu().numpy(), direct(x, w, b, stride, pad, dilation, groups), rtol=0, atol=1e-12)


@pytest.mark.parametrize("piece", [1, 300, 5000])
def test_the_size_of_the_pieces_changes_nothing_but_rounding(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole images, several of them, or rows of one: the sums over places come in another order, no more."""
    found = []
    for size in (conv.PIECE, piece):
        monkeypatch.setattr(conv, "PIECE", size)
        g = np.random.default_rng(0)
        x, w, b = (gpudl.tensor(g.standard_normal(s)).requires_grad_() for s in ((5, 4, 9, 7), (6, 2, 3, 3), (6,)))
        y = gpudl.conv2d(x, w, b, 2, 1, 1, 2)
        z = ops.conv2d_relu_max_pool2d(x, w, b, 1, 1, 1, 2, pool_kernel_size=2)
        grads = gpudl.autograd.grad([y, z], [x, w, b], [gpudl.tensor(g.standard_normal(t.shape)) for t in (y, z)])
        found.append([y.detach(), z.detach(), *grads])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-11)


def test_pieces_cover_everything_once() -> None:
    for N, P, row in [(7, 5, 100), (3, 1000, 4096), (1, 1, 2**24), (0, 3, 8), (4, 3, 0)]:
        seen = np.zeros((N, P), int)
        for n, images, p, rows in conv._pieces(N, P, row):
            seen[n : n + images, p : p + rows] += 1
            assert images == 1 or rows == P
        assert (seen == 1).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_layers_equal_the_separate_ones(device: str, dtype: str) -> None:
    arrays = [rng.standard_normal(s) for s in ((3, 2, 11, 10), (5, 2, 3, 3), (5,))]
    pool = dict(pool_kernel_size=3, pool_stride=2, pool_padding=1)
    found = []
    for fused in (True, False):
        x, w, b = (gpudl.tensor(a, dtype=dtype, device=device).requires_grad_() for a in arrays)
        if fused:
            y, z = ops.conv2d_relu(x, w, b, 1, 1), ops.conv2d_relu_max_pool2d(x, w, b, 1, 1, **pool)
        else:
            y = ops.conv2d(x, w, b, 1, 1).relu()
            z = ops.max_pool2d(ops.conv2d(x, w, b, 1, 1).relu(), 3, 2, 1)
        dy = [gpudl.tensor(np.random.default_rng(1).standard_normal(t.shape), dtype=dtype, device=device) for t in (y, z)]
        found.append([y, z, *gpudl.autograd.grad([y], [x, w, b], dy[:1]), *gpudl.autograd.grad([z], [x, w, b], dy[1:])])
    for i, (a, b) in enumerate(zip(*found, strict=True)):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
        if i < 2 and device == "cpu":
            np.testing.assert_array_equal(a, b)  # bit for bit
        else:  # db is summed in another order; on kernels the fused forward sums on its own
            eps = 2.0 ** (-23 if dtype == "float32" else -52)
            np.testing.assert_allclose(a, b, rtol=0, atol=32 * eps * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("device", DEVICES)
def test_fused_pooling_at_ties_and_nan(device: str) -> None:
    """ReLU before the maximum (as layers) and after it (as the fused op) must choose alike: zeros tie, a NaN wins, -inf and padding never."""
    x = gpudl.tensor(np.array([[[[-1, -2, 3, 3], [-5, -1, 3, 0], [np.nan, 1, -np.inf, -np.inf], [2, 9, -np.inf, -np.inf]]]]), device=device)
    w = gpudl.ones(1, 1, 1, 1, dtype="float64", device=device)
    found = []
    for fused in (True, False):
        leaf = x.detach().requires_grad_()
        y = ops.conv2d_relu_max_pool2d(leaf, w, None, pool_kernel_size=2) if fused else ops.max_pool2d(ops.conv2d(leaf, w).relu(), 2)
        (dx,) = gpudl.autograd.grad(y, [leaf], gpudl.tensor(np.array([[[[1.0, 2], [3, 4]]]]), device=device))
        found.append((y.detach().cpu().numpy(), dx.cpu().numpy()))
    np.testing.assert_array_equal(found[0][0], [[[[0, 3], [np.nan, 0]]]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_gradients_of_every_part() -> None:
    x, w = (gpudl.tensor(rng.standard_normal(s)).requires_grad_() for s in ((2, 2, 5, 4), (4, 1, 2, 3)))
    gradgradcheck(lambda x, w: gpudl.conv2d(x, w, None, (2, 1), 1, (1, 2), 2), [x, w])
    g = gpudl.tensor(rng.standard_normal((2, 4, 3, 4))).requires_grad_()
    gradcheck(lambda g, w: gpudl.conv_transpose2d(g, w, None, (2, 1), 1, 0, 2), [g, w])
    gradgradcheck(lambda g, w: gpudl.conv_transpose2d(g, w, None, (2, 1), 1, 0, 2), [g, w])


@pytest.mark.parametrize("device", DEVICES)
def test_transposed_convolution_is_the_transpose(device: str) -> None:
    """<conv(x), y> = <x, conv_transpose(y)> for every x and y."""
    x, w, y = (gpudl.tensor(rng.standard_normal(s), device=device) for s in ((2, 3, 8, 7), (4, 3, 3, 2), (2, 4, 4, 3)))
    left = (gpudl.conv2d(x, w, None, 2, (1, 0)) * y).sum()
    right = (x * gpudl.conv_transpose2d(y, w, None, 2, (1, 0), (1, 1))).sum()
    assert abs(left.item() - right.item()) <= 1e-11
    assert gpudl.conv_transpose2d(y[0], w, gpudl.ones(3, dtype="float64", device=device), 2).shape == (3, 9, 6)


def test_errors_of_the_transposed_convolution() -> None:
    x, w = gpudl.zeros(1, 4, 5, 5), gpudl.zeros(4, 2, 3, 3)
    with pytest.raises(ShapeError, match=r"conv_transpose2d: input is \(1, 3, 5, 5\)"):
        gpudl.conv_transpose2d(gpudl.zeros(1, 3, 5, 5), w)
    with pytest.raises(ValueError, match=r"output_padding \(2, 2\) must be smaller than stride"):
        gpudl.conv_transpose2d(x, w, stride=2, output_padding=2)
    with pytest.raises(ShapeError, match="the result would be"):
        gpudl.conv_transpose2d(x, w, padding=9)
    with pytest.raises(DtypeError, match="all dtypes must be equal"):
        gpudl.conv_transpose2d(x, w.double())
    with pytest.raises(ShapeError, match=r"bias is \(3,\); bias must be \(2,\)"):
        gpudl.conv_transpose2d(x, w, gpudl.zeros(3))


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_computed_that_nobody_needs(device: str) -> None:
    x, w = gpudl.zeros(1, 1, 4, 4, device=device), gpudl.zeros(2, 1, 3, 3, device=device).requires_grad_()
    y = gpudl.conv2d(x, w)
    assert set(y.grad_fn.saved) == {"x"}
    y.backward(gpudl.ones(y.shape, device=device))
    assert "conv2d.dgrad" not in y.grad_fn.rungs
    with gpudl.no_grad():
        assert gpudl.conv2d(x, w).grad_fn is None


@pytest.mark.emulator
def test_backward_keeps_the_rungs_of_its_forward() -> None:
    x, w = (gpudl.tensor(rng.standard_normal(s), dtype="float32", device="emulator").requires_grad_() for s in ((1, 2, 5, 5), (3, 2, 3, 3)))
    with kernels.use("conv2d.dgrad", "01_naive"), kernels.use("conv2d.wgrad", "02_block_sum"):
        y = gpudl.conv2d(x, w)
    y.backward(gpudl.ones(y.shape, device="emulator"))
    assert y.grad_fn.rungs["conv2d.dgrad"].name == "01_naive" and y.grad_fn.rungs["conv2d.wgrad"].name == "02_block_sum"


def test_threads_do_not_share_scratch_memory() -> None:
    x, w = gpudl.tensor(rng.standard_normal((4, 3, 20, 20))), gpudl.tensor(rng.standard_normal((5, 3, 3, 3)))
    want, wrong = gpudl.conv2d(x, w).numpy(), []

    def work(factor: float) -> None:
        for _ in range(20):
            if not np.array_equal(gpudl.conv2d(x * factor, w).numpy(), want * factor):
                wrong.append(factor)

    threads = [threading.Thread(target=work, args=(f,)) for f in (1.0, 2.0, 4.0)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_read_only_and_strided_images() -> None:
    image = rng.standard_normal((2, 3, 6, 8))
    image.flags.writeable = False
    w = rng.standard_normal((4, 3, 3, 3))
    want = direct(image, w, None, (1, 1), (1, 1), (1, 1), 1)
    for x in (image, np.asfortranarray(image), image.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), image[:, :, ::-1][:, :, ::-1]):
        np.testing.assert_allclose(gpudl.conv2d(gpudl.from_numpy(x), gpudl.tensor(w), padding=1).numpy(), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_no_filters_at_all(device: str) -> None:
    x, w, b = (gpudl.zeros(*s, device=device).requires_grad_() for s in ((2, 3, 5, 5), (0, 3, 3, 3), (0,)))
    y = gpudl.conv2d(x, w, b)
    assert y.shape == (2, 0, 3, 3)
    dx, dw, db = gpudl.autograd.grad(y, [x, w, b], gpudl.ones(y.shape, device=device))
    assert dw.shape == w.shape and db.shape == b.shape and (dx.cpu().numpy() == 0).all()


# --------------------------------------------------------------------------------------------------------------------------- the ladders
PASSES = ("conv2d.forward", "conv2d.dgrad", "conv2d.wgrad")
RUNGS = [pytest.param(name, rung.name, id=f"{name}-{rung.name}") for name in PASSES for rung in kernels.ladder(name) if rung.backend == "cuda"]
LARGE = [(name, rung) for name, rung in (p.values for p in RUNGS) if rung[3:] in ("taps", "sub_grids", "warp_tile", "async", "winograd", "pointwise")]


def one_pass(ladder: str, x, w, dy, stride=1, pad=0, dilation=1, groups=1):
    """y, dx or dw: the operands that this pass takes are used, the third gives its shape alone."""
    op = sys.modules["gpudl.ops.conv2d"]
    geometry = op.check("conv2d", x, w, None, stride, pad, dilation, groups)
    size = geometry.pop("size")
    if ladder == "conv2d.forward":
        return op.Conv2d.apply(x, w, None, None, **geometry, size=size, act=None)
    if ladder == "conv2d.dgrad":
        return op.Conv2dDgrad.apply(dy, w, **geometry, size=x.shape[2:])
    return op.Conv2dWgrad.apply(x, dy, **geometry, size=w.shape[2:])


def operands(xs: tuple, ws: tuple, stride=1, pad=0, dilation=1, groups=1, device="emulator", seed=0):
    g = np.random.default_rng(seed)
    x, w = (gpudl.tensor(g.standard_normal(s), dtype="float32", device=device) for s in (xs, ws))
    y = gpudl.conv2d(gpudl.zeros(*xs), gpudl.zeros(*ws), None, stride, pad, dilation, groups).shape  # on the CPU: no launch
    return x, w, gpudl.tensor(g.standard_normal(y), dtype="float32", device=device)


# Whole tiles of every rung, no padding: what the formulas count. (x, w, groups); dgrad's dx is x.
EXACT: dict[str, tuple] = {
    "conv2d.forward": ((2, 16, 18, 18), (64, 16, 3, 3), 1),
    "conv2d.dgrad": ((2, 64, 16, 16), (16, 64, 4, 4), 1),
    "conv2d.wgrad": ((3, 32, 23, 18), (64, 32, 2, 2), 1),
    "08_small_channel": ((1, 2, 18, 34), (16, 2, 3, 3), 1),
    "10_depthwise": ((2, 3, 18, 18), (6, 1, 3, 3), 3),
    "11_pointwise": ((2, 16, 16, 16), (64, 16, 1, 1), 1),
}


def profile(ladder: str, rung: str, xs: tuple, ws: tuple, groups: int = 1) -> list:
    """The lines of the access profiles of a rung's launches, float32."""
    x, w, dy = operands(xs, ws, groups=groups)
    with kernels.use(ladder, rung):
        return profiled(lambda: one_pass(ladder, x, w, dy, groups=groups))


def profiled(call) -> list:
    seen: list = []
    plain = _launch.Function.__call__

    def launch(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        plain(self, *args, **kwargs)
        seen.extend(self.profile.lines)

    with pytest.MonkeyPatch.context() as patch, kernels.emulation(profile=True):
        patch.setattr(_launch.Function, "__call__", launch)
        call()
    return seen


@pytest.mark.emulator
@pytest.mark.parametrize(("ladder", "rung"), RUNGS)
def test_bytes_requested_are_the_header_formula(ladder: str, rung: str) -> None:
    xs, ws, groups = EXACT[rung] if rung in EXACT else EXACT[ladder]
    record = kernels.ladder(ladder)[rung]
    lines = profile(ladder, rung, xs, ws, groups)
    asked = sum(line.bytes for line in lines if line.space == "global")
    sizes = dict(N=xs[0], C=xs[1], H=xs[2], W=xs[3], K=ws[0], R=ws[2], S=ws[3], P=xs[2] - ws[2] + 1, Q=xs[3] - ws[3] + 1, groups=groups)
    sizes |= dict(stride_h=1, stride_w=1, dilation_h=1, dilation_w=1)
    assert record.traffic is not None
    assert asked == record.traffic({**sizes, "itemsize": 4, **record.tiles})
    # Where shared memory is what a rung is about, no access waits for another one's bank.
    if rung[3:] in ("taps", "sub_grids", "warp_tile", "async", "winograd", "depthwise", "pointwise"):
        conflicts = [line for line in lines if line.space == "shared" and line.wavefronts != line.ideal_wavefronts]
        assert not conflicts, conflicts


@pytest.mark.emulator
@pytest.mark.parametrize("rung", [k.name for k in kernels.ladder("conv2d_relu_max_pool2d.forward")])
def test_bytes_of_the_fused_pooling_are_the_header_formula(rung: str) -> None:
    ladder, (xs, ws, I) = "conv2d_relu_max_pool2d.forward", ((2, 2, 20, 36), (8, 2, 5, 5), 8)
    record = kernels.ladder(ladder)[rung]
    x, w, _ = operands(xs, ws)
    with kernels.use(ladder, rung):
        lines = profiled(lambda: ops.conv2d_relu_max_pool2d(x, w, pool_kernel_size=2))
    sizes = dict(N=xs[0], C=xs[1], K=ws[0], R=ws[2], S=ws[3], I=I, J=2 * I, A=2, B=2, rows=20, cols=20, groups=1, itemsize=4)
    assert record.traffic is not None
    assert sum(line.bytes for line in lines if line.space == "global") == record.traffic({**sizes, **record.tiles})


def close(got, want, terms: np.ndarray, length: int) -> None:
    """float32 sums of so many terms, of sizes that add up to `terms`: 2 eps sqrt(length) of them (after Higham & Mary 2019)."""
    error = np.abs(got.cpu().numpy().astype(np.float64) - want)
    assert (error <= 2 * 2.0**-23 * np.sqrt(length) * terms + 1e-30).all(), (error / terms).max()


def three(ladder: str, x, w, dy, **where):
    """(the pass in float64 on the CPU, the same of the operands' sizes, terms of a sum)."""
    x, w, dy = (gpudl.tensor(t.cpu().numpy(), dtype="float64") for t in (x, w, dy))
    length = {"conv2d.forward": w[0].numel(), "conv2d.dgrad": w[:, 0].numel(), "conv2d.wgrad": dy[:, 0].numel()}[ladder]
    return one_pass(ladder, x, w, dy, **where).numpy(), one_pass(ladder, x.abs(), w.abs(), dy.abs(), **where).numpy(), length


@pytest.mark.emulator
@pytest.mark.parametrize(("ladder", "rung"), LARGE)
def test_several_ragged_tiles(ladder: str, rung: str) -> None:
    """More than one tile each way, none of them full; strides, dilation and groups at once; more than one piece of wgrad's sum."""
    cases: list[tuple] = [((2, 19, 13, 12), (67, 19, 3, 3), dict(pad=1)), ((2, 134, 9, 8), (18, 67, 3, 3), dict(pad=2, groups=2))]
    cases.append(((1, 24, 9, 10), (24, 24, 3, 3), dict(pad=1)))  # whole steps along the sum
    if rung[3:] == "pointwise":
        cases = [((3, 19, 13, 12), (67, 19, 1, 1), {}), ((2, 26, 7, 20), (136, 13, 1, 1), dict(groups=2))]
    elif rung[3:] != "winograd":
        cases.append(((1, 33, 30, 29), (66, 33, 3, 2), dict(stride=(2, 3), pad=(0, 2), dilation=(2, 1))))
        cases.append(((3, 70, 7, 9), (65, 70, 2, 2), dict(stride=(3, 2), pad=1, dilation=(3, 2))))
    if ladder == "conv2d.wgrad":
        cases.append(((3, 3, 27, 29), (5, 3, 3, 3), dict(pad=1)))
    record = kernels.ladder(ladder)[rung]
    for xs, ws, where in cases:
        x, w, dy = operands(xs, ws, **where)
        before = record.launches
        with kernels.use(ladder, rung), kernels.emulation(sanitize=True):
            got = one_pass(ladder, x, w, dy, **where)
        assert record.launches == before + 1
        want, terms, length = three(ladder, x, w, dy, **where)
        # Winograd: 64/9 at most in place of 1 for the sizes of the terms; see the test below
        close(got, want, terms * (64 / 9 if rung[3:] == "winograd" else 1) + np.abs(terms).max() / 8, length)


@pytest.mark.emulator
@pytest.mark.parametrize("scale", ["normal", "uniform"])
def test_winograds_error_is_within_its_bound(scale: str) -> None:
    """y = A' ((G w G') . (B' x B)) A summed over c: with the entries' absolute values in every matrix, the same expression is the sum of the sizes
    of the terms that rounding sees, at most 64/9 = ((|A'| (|G| 1 . |B'| 1)) / 3)^2 times that of the definition for operands of one size.
    Rounding: Cg additions of products, 4 of each transform, each a random error of at most eps/2; 2 eps sqrt(terms) as everywhere."""
    B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float)
    G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float)
    assert (np.abs(A) @ (np.abs(G).sum(1) * np.abs(B).sum(1)))[0] / 3 == 8 / 3
    N, C, K, H = 2, 40, 36, 10
    g = np.random.default_rng(3)
    draw = g.standard_normal if scale == "normal" else lambda s: g.uniform(0, 1, s)
    x, w = (draw(s).astype(np.float32).astype(float) for s in ((N, C, H, H), (K, C, 3, 3)))
    want = gpudl.conv2d(gpudl.tensor(x), gpudl.tensor(w)).numpy()

    def winograd(a, b, c, x, w):
        u = np.einsum("ir,kcrs,js->kcij", b, w, b)
        y = np.empty((N, K, H - 2, H - 2))
        for p in range(0, H - 2, 2):
            for q in range(0, H - 2, 2):
                v = np.einsum("ih,nchl,jl->ncij", c, x[:, :, p : p + 4, q : q + 4], c)
                y[:, :, p : p + 2, q : q + 2] = np.einsum("pi,nkij,qj->nkpq", a, np.einsum("kcij,ncij->nkij", u, v), a)
        return y

    np.testing.assert_allclose(winograd(A, G, B, x, w), want, rtol=0, atol=1e-12 * np.abs(want).max())  # the matrices are the right ones
    terms = winograd(np.abs(A), np.abs(G), np.abs(B), np.abs(x), np.abs(w))
    with kernels.use("conv2d.forward", "09_winograd"):
        got = gpudl.conv2d(*(gpudl.tensor(a, dtype="float32", device="emulator") for a in (x, w)))
    close(got, want, terms, C + 12)
    # And it stays within what is asked of the other rungs, which is why the dispatch rule may choose it.
    close(got, want, gpudl.conv2d(gpudl.tensor(np.abs(x)), gpudl.tensor(np.abs(w))).numpy(), 9 * C)


# Which rung a launch gets, by (x, w, stride, padding, groups): the classes of the dispatch rule, in float32 on the emulator (sm_90).
CHOICES = [
    ((64, 1, 28, 28), (6, 1, 5, 5), 1, 2, 1, "08_small_channel", "02_gather", "03_implicit_gemm"),  # LeNet, first layer
    ((64, 6, 14, 14), (16, 6, 5, 5), 1, 0, 1, "04_implicit_gemm", "04_sub_grids", "03_implicit_gemm"),  # and second
    ((32, 3, 224, 224), (64, 3, 7, 7), 2, 3, 1, "08_small_channel", "04_sub_grids", "05_async"),  # ResNet, first layer
    ((32, 64, 56, 56), (64, 64, 3, 3), 1, 1, 1, "09_winograd", "06_async", "05_async"),
    ((32, 64, 56, 56), (128, 64, 3, 3), 2, 1, 1, "07_async", "06_async", "05_async"),
    ((32, 64, 56, 56), (256, 64, 1, 1), 1, 0, 1, "11_pointwise", "06_async", "03_implicit_gemm"),
    ((32, 256, 56, 56), (512, 256, 1, 1), 2, 0, 1, "07_async", "06_async", "05_async"),
    ((8, 96, 56, 56), (96, 1, 3, 3), 1, 1, 96, "10_depthwise", "02_gather", "02_block_sum"),
    ((8, 32, 14, 14), (32, 32, 3, 3), 1, 1, 1, "09_winograd", "04_sub_grids", "03_implicit_gemm"),
]


@pytest.mark.parametrize("case", CHOICES, ids=str)
def test_the_dispatch_rule(case: tuple) -> None:
    xs, ws, stride, pad, groups, *names = case
    P, Q = ((n + 2 * pad - r) // stride + 1 for n, r in zip(xs[2:], ws[2:]))
    sizes = dict(N=xs[0], C=xs[1], H=xs[2], W=xs[3], K=ws[0], R=ws[2], S=ws[3], P=P, Q=Q, groups=groups, pad_h=pad, pad_w=pad)
    sizes |= dict(stride_h=stride, stride_w=stride, dilation_h=1, dilation_w=1)
    device = gpudl.device("emulator")
    for ladder, name in zip(PASSES, names, strict=True):
        assert kernels.ladder(ladder).choose(sizes, gpudl.float32, device, {}).name == name
        for dtype in (gpudl.float64, gpudl.float16):
            assert kernels.ladder(ladder).choose(sizes, dtype, device, {}).takes(sizes, dtype, device)


@pytest.mark.emulator
def test_a_training_step_is_the_same_by_every_rung() -> None:
    """LeNet on a batch of digits' size: loss and gradients, with each rung that takes one of its layers."""
    gpudl.manual_seed(0)
    F = gpudl.nn.functional
    nets = [gpudl.nn.Conv2d(1, 6, 5, padding=2), gpudl.nn.Conv2d(6, 16, 5), gpudl.nn.Conv2d(16, 33, 1, padding=0), gpudl.nn.Linear(33, 10)]
    g = np.random.default_rng(0)
    images, labels = g.standard_normal((2, 1, 14, 14)), g.integers(0, 10, 2)

    def step(dtype, device):
        for layer in nets:
            layer.to(dtype).to(device)
            layer.zero_grad()
        x = gpudl.tensor(images, dtype=dtype, device=device, requires_grad=True)
        h = F.max_pool2d(F.conv2d(x, nets[0].weight, nets[0].bias, padding=2).relu(), 2)
        h = F.conv2d(h, nets[1].weight, nets[1].bias).relu()  # (2, 16, 3, 3)
        h = F.conv2d(F.conv2d(h, nets[2].weight, nets[2].bias), identity(33, dtype, device), None, padding=1, groups=33).mean((2, 3))
        loss = F.cross_entropy(nets[3](h), gpudl.tensor(labels, device=device))
        loss.backward()
        return [loss.detach().cpu().numpy(), x.grad.cpu().numpy(), *(p.grad.cpu().numpy() for layer in nets for p in layer.parameters())]

    def identity(channels, dtype, device):
        w = np.zeros((channels, 1, 3, 3))
        w[:, 0, 1, 1], w[:, 0, 0, 2] = 1, 0.5
        return gpudl.tensor(w, dtype=dtype, device=device)

    want = step("float64", "cpu")
    step("float32", "cpu")  # the parameters, rounded once: from here on they are the same in every step
    want = step("float64", "cpu")
    reached = set()
    for ladder, rung in (p.values for p in RUNGS):
        record = kernels.ladder(ladder)[rung]
        before = record.launches
        with kernels.use(ladder, rung), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # layers that it does not take
            got = step("float32", "emulator")
        reached |= {(ladder, rung)} if record.launches > before else set()
        for a, b in zip(got, want, strict=True):
            # four layers of sums of at most 150 products, and as many steps back
            assert np.abs(a - b).max() <= 8 * 2 * 2.0**-23 * np.sqrt(150) * max(np.abs(b).max(), 0.1), (ladder, rung)
    assert {p.values for p in RUNGS} - reached == {("conv2d.forward", "11_pointwise")}  # 3 x 3 places: no multiple of 4


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("act", [None, "relu", "sigmoid", "tanh", ("leaky_relu", 0.2), ("elu", 0.8)], ids=str)
def test_activation_and_residual_as_one_op(device: str, act) -> None:
    """Equal to the ops one after the other, gradients and gradients of gradients too; an image without a batch."""
    arrays = [rng.standard_normal(s) for s in ((3, 7, 6), (4, 3, 3, 3), (4,), (4, 7, 6))]
    functions = {"leaky_relu": gpudl.nn.functional.leaky_relu, "elu": gpudl.nn.functional.elu, "relu": gpudl.relu, "sigmoid": gpudl.sigmoid, "tanh": gpudl.tanh}
    found = []
    for fused in (True, False):
        x, w, b, r = leaves = [gpudl.tensor(a, device=device, requires_grad=True) for a in arrays]
        if fused:
            y = ops.conv2d_act(x, w, b, 1, 1, activation=act, residual=r)
        else:
            z = ops.conv2d(x, w, b, 1, 1) + r
            name, *number = act if isinstance(act, tuple) else (act,)
            y = z if act is None else functions[name](z, *number)
        dy = gpudl.tensor(np.random.default_rng(1).standard_normal(y.shape), device=device)
        grads = gpudl.autograd.grad(y, leaves, dy, create_graph=True)
        found.append([y, *grads, *gpudl.autograd.grad(sum((g * g).sum() for g in grads), leaves[:2])])
    for a, b in zip(*found, strict=True):
        a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
        np.testing.assert_allclose(a, b, rtol=0, atol=64 * 2.0**-52 * max(1.0, np.abs(b).max()))


@pytest.mark.emulator
@pytest.mark.parametrize("rung", [k.name for k in kernels.ladder("conv2d.forward") if k.backend == "cuda"])
def test_a_residual_that_lies_anywhere(rung: str) -> None:
    """A view that starts one element in, and one with strides, on every rung: none may read it 16 bytes at a time where it does not start so."""
    one = rung[3:] in ("pointwise", "depthwise")
    x, w, _ = operands((1, 3, 4, 4), (3, 1, 1, 1), groups=3) if one else operands((1, 3, 6, 6), (3, 3, 3, 3))
    memory = rng.standard_normal(200).astype(np.float32)
    want = gpudl.conv2d(x.cpu(), w.cpu(), groups=3 if one else 1).numpy()
    for start, step in ((1, 1), (3, 2)):
        flat = gpudl.tensor(memory, device="emulator")[start : start + 48 * step : step]
        with kernels.use("conv2d.forward", rung), kernels.emulation(sanitize=True):
            got = ops.conv2d_act(x, w, groups=3 if one else 1, residual=flat.reshape(1, 3, 4, 4))
        np.testing.assert_allclose(got.cpu().numpy(), want + memory[start : start + 48 * step : step].reshape(1, 3, 4, 4), rtol=0, atol=1e-5)


def test_errors_of_activation_and_residual() -> None:
    x, w = gpudl.zeros(2, 3, 5, 5), gpudl.zeros(4, 3, 3, 3)
    with pytest.raises(ValueError, match="conv2d: activation 'gelu' is not fused"):
        ops.conv2d_act(x, w, activation="gelu")
    with pytest.raises(ValueError, match="must not be negative"):
        ops.conv2d_act(x, w, activation=("leaky_relu", -0.1))
    with pytest.raises(ShapeError, match=r"residual is \(1, 4, 3, 3\) and the result \(2, 4, 3, 3\)"):
        ops.conv2d_act(x, w, residual=gpudl.zeros(1, 4, 3, 3))
    with pytest.raises(DtypeError, match="input is float32 and residual is float64"):
        ops.conv2d_act(x, w, residual=gpudl.zeros(2, 4, 3, 3, dtype="float64"))


@pytest.mark.parametrize("case", [((3, 33, 9, 25), 34, (1, 1)), ((2, 40, 24, 24), 32, (0, 2)), ((1, 64, 31, 30), 64, (1, 0)), ((9, 48, 18, 17), 50, (2, 2))])
@pytest.mark.parametrize("piece", [1, 2**20])
def test_winograd_on_the_cpu(case: tuple, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 with many channels: results and gradients against float64, which takes the definition; within what float32 sums may be off."""
    xs, K, pad = case
    fast = conv.winograd()
    monkeypatch.setattr(fast, "PIECE", piece)
    called = []
    monkeypatch.setattr(fast, "products", lambda *a, real=fast.products: called.append(1) or real(*a))
    x, w, dy = operands(xs, (K, xs[1], 3, 3), pad=pad, device="cpu", seed=4)
    called.clear()
    for ladder in PASSES:
        got = one_pass(ladder, x, w, dy, pad=pad)
        want, terms, length = three(ladder, x, w, dy, pad=pad)
        close(got, want, terms, length)
    assert len(called) == 2  # y and dx
    y = ops.conv2d_relu_max_pool2d(x, w, None, 1, pad, pool_kernel_size=2)
    np.testing.assert_array_equal(y.numpy(), ops.max_pool2d(ops.conv2d(x, w, None, 1, pad).relu(), 2).numpy())
