"""Products, convolution and pooling beside PyTorch: values, sizes, indices, gradients, and which calls raise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import gpudl
from gpudl import ops

rng = np.random.default_rng(9)


def both(theirs, ours, *arrays, dtype="float64", tolerance=1e-11, **options):
    """Results and gradients for the same random cotangents; NaN equal NaN."""
    ts = [torch.tensor(a, dtype=getattr(torch, dtype)).requires_grad_() for a in arrays]
    gs = [gpudl.tensor(a, dtype=dtype).requires_grad_() for a in arrays]
    want, got = theirs(*ts, **options), ours(*gs, **options)
    if isinstance(want, tuple):
        np.testing.assert_array_equal(got[1].numpy(), want[1].numpy())
        want, got = want[0], got[0]
    assert tuple(want.shape) == tuple(got.shape)
    dy = rng.standard_normal(tuple(want.shape))
    want_grads = torch.autograd.grad(want, ts, torch.tensor(dy, dtype=want.dtype))
    got_grads = gpudl.autograd.grad(got, gs, gpudl.tensor(dy, dtype=dtype))
    for w, g in zip([want, *want_grads], [got, *got_grads], strict=True):
        np.testing.assert_allclose(g.detach().numpy(), w.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", [
    {}, {"padding": "same"}, {"padding": "valid"}, {"padding": "same", "dilation": (2, 3)}, {"stride": (2, 3), "padding": (3, 1)},
    {"stride": 2, "padding": 2, "dilation": 2}, {"groups": 2}, {"groups": 4, "stride": 2, "padding": 1},
])  # fmt: skip
@pytest.mark.parametrize("window", [(3, 3), (2, 4), (1, 1)])
@pytest.mark.parametrize("batch", [(2,), (), (0,)])
def test_conv2d(options, window, batch):
    groups = options.get("groups", 1)
    arrays = [rng.standard_normal((*batch, 4, 11, 13)), rng.standard_normal((8, 4 // groups, *window)), rng.standard_normal(8)]
    both(TF.conv2d, gpudl.conv2d, *arrays, **options)


@pytest.mark.parametrize("options", [
    {}, {"stride": 2}, {"stride": (3, 2), "padding": (1, 2), "output_padding": (2, 1)}, {"groups": 2, "dilation": 2, "padding": 1},
])  # fmt: skip
def test_conv_transpose2d(options):
    arrays = [rng.standard_normal((2, 4, 6, 5)), rng.standard_normal((4, 6 // options.get("groups", 1), 3, 2)), rng.standard_normal(6)]
    both(TF.conv_transpose2d, gpudl.conv_transpose2d, *arrays, **options)


@pytest.mark.parametrize("options", [
    dict(kernel_size=2), dict(kernel_size=3, stride=2, padding=1), dict(kernel_size=(3, 2), stride=(1, 3), padding=(1, 0), dilation=(2, 1)),
    dict(kernel_size=3, stride=2, ceil_mode=True), dict(kernel_size=2, stride=3, padding=1, ceil_mode=True), dict(kernel_size=5, stride=1, padding=2),
    dict(kernel_size=3, stride=3, padding=1, dilation=2, ceil_mode=True),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 3, 9, 10), (3, 8, 7)])
@pytest.mark.parametrize("indices", [False, True])
def test_max_pool2d(options, shape, indices):
    x = rng.integers(-3, 3, size=shape).astype(float)  # many ties
    both(TF.max_pool2d, ops.max_pool2d, x, return_indices=indices, **options)
    x[rng.random(shape) < 0.1] = np.nan
    x[rng.random(shape) < 0.3] = -np.inf
    both(TF.max_pool2d, ops.max_pool2d, x, return_indices=indices, **options)


@pytest.mark.parametrize("options", [
    dict(kernel_size=2), dict(kernel_size=3, stride=2, padding=1), dict(kernel_size=(3, 2), stride=(1, 3), padding=(1, 0)),
    dict(kernel_size=3, stride=2, ceil_mode=True), dict(kernel_size=2, stride=3, padding=1, ceil_mode=True),
    dict(kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False), dict(kernel_size=3, padding=1, divisor_override=5),
    dict(kernel_size=3, divisor_override=-2),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 3, 9, 10), (3, 8, 7)])
def test_avg_pool2d(options, shape):
    both(TF.avg_pool2d, ops.avg_pool2d, rng.standard_normal(shape), **options)


@pytest.mark.parametrize("size", [1, (3, 2), (9, 10), (12, 7), (None, 4)])
@pytest.mark.parametrize("shape", [(2, 3, 9, 10), (3, 8, 7)])
def test_adaptive_pools(size, shape):
    x = rng.standard_normal(shape)
    both(TF.adaptive_avg_pool2d, ops.adaptive_avg_pool2d, x, output_size=size)
    both(TF.adaptive_max_pool2d, ops.adaptive_max_pool2d, x, output_size=size)
    both(TF.adaptive_max_pool2d, ops.adaptive_max_pool2d, rng.integers(-2, 2, size=shape).astype(float), output_size=size, return_indices=True)


@pytest.mark.parametrize("shapes", [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
])  # fmt: skip
def test_matmul(shapes):
    both(torch.matmul, gpudl.matmul, *(rng.standard_normal(s) for s in shapes))


@pytest.mark.emulator
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shapes", [((70, 40), (40, 24)), ((33, 19), (19, 27))])
def test_halves_on_tensor_cores(dtype, shapes):
    """Forward and gradients of the kernels in the emulator: both sides add in float32 and round once, so they differ by one last place at most
    (of two matrices; PyTorch's batched products with a transposed operand are less exact)."""
    arrays = [rng.standard_normal(s) for s in shapes]
    ts = [torch.tensor(a, dtype=getattr(torch, dtype)).requires_grad_() for a in arrays]
    gs = [gpudl.tensor(a, dtype=dtype, device="emulator").requires_grad_() for a in arrays]
    before = [gpudl.kernels.ladder("matmul.forward")[rung].launches for rung in ("14_half", "14_half_64")]
    want, got = ts[0] @ ts[1], gs[0] @ gs[1]
    dy = rng.standard_normal(tuple(want.shape))
    want_grads = torch.autograd.grad(want, ts, torch.tensor(dy, dtype=want.dtype))
    got_grads = gpudl.autograd.grad(got, gs, gpudl.tensor(dy, dtype=dtype, device="emulator"))
    last = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    for w, g in zip([want, *want_grads], [got, *got_grads], strict=True):
        np.testing.assert_allclose(g.float().cpu().detach().numpy(), w.float().detach().numpy(), rtol=last, atol=1e-4)
    assert sum(gpudl.kernels.ladder("matmul.forward")[rung].launches for rung in ("14_half", "14_half_64")) == sum(before) + 3


def test_float32_matmul_precision():
    assert gpudl.get_float32_matmul_precision() == torch.get_float32_matmul_precision() == "highest"
    try:
        for mode in ("medium", "high", "highest"):
            torch.set_float32_matmul_precision(mode)
            gpudl.set_float32_matmul_precision(mode)
            assert gpudl.get_float32_matmul_precision() == torch.get_float32_matmul_precision() == mode
    finally:
        torch.set_float32_matmul_precision("highest")
        gpudl.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("shapes", [((2, 3), (4, 3), (4,)), ((5, 2, 3), (4, 3), (4,)), ((3,), (4, 3), (4,)), ((2, 3), (3,)), ((0, 3), (4, 3), (4,))])
def test_linear(shapes):
    both(TF.linear, ops.linear, *(rng.standard_normal(s) for s in shapes))


def test_float32_is_as_close_to_the_truth():
    """A whole layer in float32: no worse than PyTorch's error against float64, with a factor of 4 for luck."""
    x, w = rng.standard_normal((4, 16, 14, 14)), rng.standard_normal((32, 16, 3, 3))
    truth = TF.conv2d(torch.tensor(x), torch.tensor(w), padding=1).numpy()
    theirs = TF.conv2d(torch.tensor(x).float(), torch.tensor(w).float(), padding=1).numpy()
    ours = gpudl.conv2d(gpudl.tensor(x).float(), gpudl.tensor(w).float(), padding=1).numpy()
    assert np.abs(ours - truth).max() <= 4 * np.abs(theirs - truth).max()


BAD = [
    (TF.conv2d, ops.conv2d, [(2, 3, 8, 8), (4, 2, 3, 3)], {}),
    (TF.conv2d, ops.conv2d, [(2, 4, 8, 8), (3, 2, 3, 3)], {"groups": 2}),
    (TF.conv2d, ops.conv2d, [(2, 3, 2, 8), (4, 3, 3, 3)], {}),
    (TF.conv2d, ops.conv2d, [(2, 3, 8, 8), (4, 3, 3, 3)], {"stride": 0}),
    (TF.conv2d, ops.conv2d, [(2, 3, 8, 8), (4, 3, 3, 3)], {"padding": -1}),
    (TF.conv2d, ops.conv2d, [(2, 3, 8, 8), (4, 3, 3, 3)], {"padding": "same", "stride": 2}),
    (TF.conv2d, ops.conv2d, [(2, 3, 8, 8), (4, 3, 3, 3), (3,)], {}),
    (TF.conv2d, ops.conv2d, [(8, 8), (4, 1, 3, 3)], {}),
    (TF.max_pool2d, ops.max_pool2d, [(2, 3, 8, 8)], {"kernel_size": 2, "padding": 2}),
    (TF.max_pool2d, ops.max_pool2d, [(2, 3, 2, 8)], {"kernel_size": 3}),
    (TF.max_pool2d, ops.max_pool2d, [(8, 8)], {"kernel_size": 2}),
    (TF.max_pool2d, ops.max_pool2d, [(2, 3, 8, 8)], {"kernel_size": 2, "stride": 0}),
    (TF.avg_pool2d, ops.avg_pool2d, [(2, 3, 8, 8)], {"kernel_size": 2, "divisor_override": 0}),
    (TF.avg_pool2d, ops.avg_pool2d, [(2, 3, 8, 8)], {"kernel_size": 2, "padding": 2}),
    (TF.linear, ops.linear, [(2, 3), (4, 5)], {}),
    (TF.linear, ops.linear, [(2, 3), (4, 3), (3,)], {}),
    (torch.matmul, gpudl.matmul, [(2, 3), (2, 3)], {}),
    (torch.matmul, gpudl.matmul, [(), (2, 3)], {}),
    (torch.bmm, gpudl.bmm, [(2, 3), (3, 4)], {}),
    (torch.mm, gpudl.mm, [(2, 2, 3), (3, 4)], {}),
]


@pytest.mark.parametrize("case", BAD)
def test_what_pytorch_refuses_is_refused(case):
    theirs, ours, shapes, options = case
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)) as expected:
        theirs(*(torch.zeros(s) for s in shapes), **options)
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)) as found:
        ours(*(gpudl.zeros(*s) for s in shapes), **options)
    if not isinstance(expected.value, RuntimeError) or isinstance(found.value, ValueError):
        return
    assert isinstance(found.value, RuntimeError), found.value
