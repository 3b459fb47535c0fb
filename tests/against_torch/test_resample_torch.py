"""affine_grid, grid_sample, interpolate and pixel shuffling against PyTorch: values and gradients, every mode."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl.nn import functional as F

torch = pytest.importorskip("torch")
TF = torch.nn.functional


def compare(name: str, arrays: list[np.ndarray], *args: Any, exact: bool = False, **options: Any) -> None:
    """float64: a few products and sums of numbers of size 1."""
    results = []
    for lib in (gpudl, torch):
        tensors = [lib.tensor(a, requires_grad=True) for a in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = getattr(lib.nn.functional, name)(*tensors, *args, **options)
        dy = lib.tensor(np.random.default_rng(1).normal(size=tuple(out.shape)))
        grads = lib.autograd.grad(out, tensors, dy, allow_unused=True)  # nearest: nothing of the grid, zeros in PyTorch
        results.append([out.detach().numpy(), *[np.zeros(a.shape) if g is None else g.numpy() for a, g in zip(arrays, grads, strict=True)]])
    for got, want in zip(*results, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0 if exact else 1e-12, atol=0 if exact else 1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape, out", [((2, 3, 5, 4), (6, 3)), ((1, 1, 1, 4), (2, 2)), ((1, 2, 3, 1), (1, 5))])
def test_grid_sample(shape: Any, out: Any, mode: str, padding_mode: str, align_corners: bool) -> None:
    rng = np.random.default_rng(0)
    grid = rng.uniform(-3, 3, size=(shape[0], *out, 2))
    compare("grid_sample", [rng.normal(size=shape), grid], mode=mode, padding_mode=padding_mode, align_corners=align_corners)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (1, 1, 1, 3), (2, 1, 3, 1)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_grid(size: Any, align_corners: bool) -> None:
    compare("affine_grid", [np.random.default_rng(2).normal(size=(size[0], 2, 3))], size, align_corners=align_corners)


@pytest.mark.parametrize(
    "shape, options",
    [
        *itertools.product([(2, 3, 7)], [{"size": 5}, {"size": (12,)}, {"scale_factor": 2.5}, {"scale_factor": 0.4}]),
        *itertools.product([(2, 3, 5, 4)], [{"size": (3, 9)}, {"size": 7}, {"scale_factor": 2}, {"scale_factor": (1.7, 0.6)}, {"size": (1, 1)}]),
    ],
)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "area"])
@pytest.mark.parametrize("align_corners", [None, False, True])
def test_interpolate(shape: Any, options: Any, mode: str, align_corners: Any) -> None:
    mode = "bilinear" if mode == "linear" and len(shape) == 4 else mode
    if align_corners is not None and "linear" not in mode:
        pytest.skip("for linear modes")
    x = np.random.default_rng(3).normal(size=shape)
    for more in ({}, {"recompute_scale_factor": True}) if "scale_factor" in options else ({},):
        compare("interpolate", [x], mode=mode, align_corners=align_corners, **options, **more)


def test_pixels_are_shuffled() -> None:
    rng = np.random.default_rng(4)
    compare("pixel_shuffle", [rng.normal(size=(2, 12, 3, 4))], 2, exact=True)
    compare("pixel_unshuffle", [rng.normal(size=(3, 6, 4))], 2, exact=True)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: F.grid_sample(gpudl.ones(1, 1, 2, 2), gpudl.ones(1, 2, 2, 3)), ValueError, r"grid_sample: input is .* and grid \(1, 2, 2, 3\)"),
        (lambda: F.grid_sample(gpudl.ones(1, 1, 2, 2), gpudl.ones(1, 2, 2, 2), "bicubic"), NotImplementedError, "mode=bicubic"),
        (lambda: F.grid_sample(gpudl.ones(1, 1, 2, 2), gpudl.ones(1, 2, 2, 2).double()), RuntimeError, "the dtypes must be equal"),
        (lambda: F.interpolate(gpudl.ones(1, 1, 2, 2)), ValueError, "give size or scale_factor, one of the two"),
        (lambda: F.interpolate(gpudl.ones(1, 1, 2, 2), (3, 3, 3)), ValueError, r"has 3 numbers for the 2 axes"),
        (lambda: F.interpolate(gpudl.ones(1, 1, 2, 2), 3, mode="bicubic"), NotImplementedError, "mode 'bicubic'"),
        (lambda: F.interpolate(gpudl.ones(1, 1, 2, 2), 3, align_corners=True), ValueError, "goes with the linear modes only"),
        (lambda: F.interpolate(gpudl.ones(1, 1, 2, 2), scale_factor=0.1), ValueError, r"the result would be \(0, 0\)"),
        (lambda: F.affine_grid(gpudl.ones(1, 3, 3), (1, 1, 2, 2)), ValueError, r"affine_grid: theta is \(1, 3, 3\)"),
        (lambda: F.pixel_shuffle(gpudl.ones(3, 2, 2), 2), ValueError, r"pixel_shuffle: input is \(3, 2, 2\)"),
    ],
)
def test_messages(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
