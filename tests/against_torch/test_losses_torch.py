"""Losses and batch_norm beside PyTorch's where the registry's samples do not reach: edge values, option combinations, running statistics."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gpudl  # noqa: E402
from gpudl.nn import functional as F  # noqa: E402

TF = torch.nn.functional


def both(name: str, arrays: list, dy: bool = True, **options):
    """Value and gradients of the floating arrays, from gpudl and from PyTorch."""
    results = []
    for home, make in ((F, lambda a: gpudl.tensor(a)), (TF, lambda a: torch.tensor(a))):
        tensors = [make(a) if isinstance(a, np.ndarray) else a for a in arrays]
        leaves = [x.requires_grad_() for x, a in zip(tensors[:1], arrays[:1], strict=True) if a.dtype.kind == "f"]
        given = {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = getattr(home, name)(*tensors, **given)
        if dy:
            out.sum().backward()
        results.append([out.detach().numpy(), *(x.grad.numpy() for x in leaves if x.grad is not None)])
    return results


def agree(name: str, arrays: list, **options) -> None:
    got, want = both(name, arrays, **options)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=1e-12 if w.dtype == np.float64 else 1e-5, atol=1e-12 if w.dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (0, 5), (3, 5, 2), (2, 5, 3, 2)])
@pytest.mark.parametrize(
    ("weighted", "smoothing", "ignored", "reduction"), itertools.product((False, True), (0.0, 0.2), (-100, 1), ("mean", "sum", "none"))
)
def test_cross_entropy(shape, weighted, smoothing, ignored, reduction, dtype) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, shape[:1] + shape[2:] if len(shape) > 1 else ())
    weight = dict(weight=rng.uniform(0.5, 2, 5).astype(dtype)) if weighted else {}
    agree(
        "cross_entropy",
        [rng.normal(size=shape).astype(dtype), labels],
        ignore_index=ignored,
        reduction=reduction,
        label_smoothing=smoothing,
        **weight,
    )
    if not smoothing:
        agree("nll_loss", [rng.normal(size=shape).astype(dtype), labels], ignore_index=ignored, reduction=reduction, **weight)
    if ignored < 0:
        p = rng.uniform(size=shape).astype(dtype)
        agree("cross_entropy", [rng.normal(size=shape).astype(dtype), p], reduction=reduction, label_smoothing=smoothing, **weight)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("labels", [[-100, -100], [0, -100], [0, 1]])
@pytest.mark.parametrize("row", [[0.0, 1.0, 2.0], [1e4, -1e4, 0.0], [np.nan, 0.0, 1.0], [-np.inf, 0.0, 1.0], [np.inf, 0.0, 1.0]])
def test_cross_entropy_at_the_edges(row, labels, reduction) -> None:
    agree("cross_entropy", [np.array([row, [0.5, 0.25, 0.0]]), np.array(labels)], reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "kl_div"])
def test_elementwise_losses_at_the_edges(name, reduction) -> None:
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 1e4, -1e4, np.nan, np.inf, 2.0]
    x, t = np.array(list(itertools.product(values, repeat=2))).T.copy()
    got, want = both(name, [x, t], dy=False, reduction=reduction)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
    keep = np.isfinite(x) & np.isfinite(t)
    agree(name, [x[keep], t[keep]], reduction=reduction)


def test_binary_cross_entropy_at_the_edges() -> None:
    x, t = np.array(list(itertools.product([0.0, 1e-300, 0.25, 1.0], [0.0, 0.5, 1.0]))).T.copy()
    for reduction, weight in itertools.product(("mean", "sum", "none"), ({}, dict(weight=np.linspace(0, 1, 12)))):
        for g, w in zip(*both("binary_cross_entropy", [x, t], reduction=reduction, **weight), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-8)  # PyTorch's least denominator is 1e-12 in float32


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_losses(name, reduction) -> None:
    rng = np.random.default_rng(0)
    agree(name, [rng.normal(size=(3, 4)), rng.normal(size=(3, 4))], reduction=reduction, weight=rng.uniform(size=(3, 4)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction, log_target) -> None:
    rng = np.random.default_rng(0)
    t = rng.uniform(0.1, 1, size=(3, 4))
    agree("kl_div", [np.log(rng.uniform(0.1, 1, size=(3, 4))), np.log(t) if log_target else t], reduction=reduction, log_target=log_target)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 2), (0, 3, 2)])
@pytest.mark.parametrize(
    ("training", "momentum", "eps", "affine"), itertools.product((True, False), (0.1, 0.7), (1e-5, 0.1), (True, False))
)
def test_batch_norm(shape, training, momentum, eps, affine, dtype) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, size=shape).astype(dtype)
    mean, var, w, b = (rng.uniform(0.5, 2, size=3).astype(dtype) for _ in range(4))
    dy = rng.normal(size=shape).astype(dtype)
    results = []
    for f, make in ((F.batch_norm, gpudl.tensor), (TF.batch_norm, torch.tensor)):
        leaves = [make(a).requires_grad_() for a in ((x, w, b) if affine else (x,))]
        stats = make(mean), make(var)
        y = f(leaves[0], *stats, *(leaves[1:] or (None, None)), training=training, momentum=momentum, eps=eps)
        y.backward(make(dy))
        results.append([y.detach().numpy(), *(s.numpy() for s in stats), *(v.grad.numpy() for v in leaves)])
    tolerance = 1e-11 if dtype == "float64" else 2e-5
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (3,)])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradient_of_class_weights_of_probabilities(shape, smoothing, reduction):
    rng = np.random.default_rng(0)
    x, p, w = rng.normal(size=shape), rng.random(shape), rng.random(3) + 0.1
    results = []
    for lib in (gpudl, torch):
        leaves = [lib.tensor(a, requires_grad=True) for a in (x, p, w)]
        loss = lib.nn.functional.cross_entropy(leaves[0], leaves[1], leaves[2], label_smoothing=smoothing, reduction=reduction)
        dy = lib.tensor(np.random.default_rng(1).normal(size=tuple(loss.shape)))
        results.append([t.detach().numpy() for t in (loss, *lib.autograd.grad(loss, leaves, dy))])
    for got, want in zip(*results, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
