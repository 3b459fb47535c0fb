"""Convolution: what the registry's samples leave out. Pieces, strides of memory, fused layers, transposed convolution, scratch memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import gpudl
from gpudl import kernels, ops
from gpudl._cpu import conv
from gpudl._errors import DtypeError, ShapeError
from gpudl.autograd import gradcheck, gradgradcheck

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
