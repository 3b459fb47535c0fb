"""Every op that PyTorch has too: same values, dtypes and gradients, on the registry's samples, in float64, float32 and bfloat16."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from registry import OPS, function, outputs, place, samples

import gpudl
from gpudl import _dtypes

# Where PyTorch raises and gpudl computes: gradients of weights, int32 labels, axes one by one, more padding, no batch. Its own words.
TAKES_LESS = (
    "not implemented for",
    "is not differentiable with respect to argument 'weight'",
    "expected target dtype to be Long or Byte",
    "out of range for tensor of size [0]",
    "returned an invalid gradient at index 1",
    "Supported combinations for non-constant padding",
    "permute() takes 2 positional arguments",
    "tensor does not have a device",  # backward of group_norm with a bias and no weight
)


def theirs(name: str):
    for home in (torch.nn.functional, torch, torch.Tensor, torch.special, torch.linalg):
        if hasattr(home, name):
            return getattr(home, name)
    return None


def convert(value, dtype, leaves):
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(convert(v, dtype, leaves) for v in value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            t = torch.tensor(np.array(value)).to(dtype).requires_grad_()
            leaves.append(t)
            return t
        return torch.tensor(np.array(value))
    return getattr(torch, str(value)) if isinstance(value, np.dtype) else value


CASES = [
    pytest.param(name, i, dtype, id=f"{name}-{i}-{dtype}")
    for name, op in OPS.items()
    if theirs(op.function) is not None
    for i in range(len(samples(op)))
    for dtype in ("float64", "float32", "bfloat16")
]


@pytest.mark.parametrize(("name", "i", "dtype"), CASES)
def test_same_as_torch(name: str, i: int, dtype: str) -> None:
    op = OPS[name]
    sample = samples(op)[i]
    if dtype == "bfloat16" and not sample.options.get("halves", True):
        return
    leaves: list[torch.Tensor] = []
    kind = getattr(torch, dtype)
    args = [convert(a, kind, leaves) for a in sample.args]
    kwargs = {k: convert(v, kind, leaves) for k, v in sample.kwargs.items()}
    for key in sample.options.get("constant", ()):
        if isinstance(kwargs.get(key), torch.Tensor):
            kwargs[key].requires_grad_(False)
    leaves = [t for t in leaves if t.requires_grad]
    try:
        want = theirs(op.function)(*args, **kwargs)
    except (RuntimeError, NotImplementedError, TypeError, IndexError) as error:
        if any(text in str(error) for text in TAKES_LESS):
            return
        raise
    want = [w for w in (want if isinstance(want, (tuple, list)) else (want,)) if isinstance(w, torch.Tensor)]
    ours, our_kwargs, mine = place(sample, "cpu", dtype)
    got = outputs(function(op)(*ours, **our_kwargs))
    assert len(got) == len(want)
    eps = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7}[dtype]
    size = max([t.numel() for t in leaves] or [1])
    for g, w in zip(got, want, strict=True):
        assert str(g.dtype) == str(w.dtype).removeprefix("torch."), (g.dtype, w.dtype)
        assert tuple(g.shape) == tuple(w.shape)
        close(g.detach()._array, w.detach().to(torch.float64).numpy() if w.is_floating_point() else w.numpy(), eps * 16 * np.sqrt(size))
    pairs = [(g, w) for g, w in zip(got, want, strict=True) if w.requires_grad and g.requires_grad]
    if not pairs or not sample.options.get("grad", True):
        return
    rng = np.random.default_rng(0)
    cotangents = [rng.standard_normal(tuple(w.shape)) for _, w in pairs]
    theirs_dy = [torch.tensor(c).to(w.dtype) for c, (_, w) in zip(cotangents, pairs, strict=True)]
    ours_dy = [gpudl.tensor(c, dtype=g.dtype) for c, (g, _) in zip(cotangents, pairs, strict=True)]
    try:
        want_grads = torch.autograd.grad([w for _, w in pairs], leaves, theirs_dy, allow_unused=True)
    except RuntimeError as error:
        if any(text in str(error) for text in TAKES_LESS):
            return
        raise
    got_grads = gpudl.autograd.grad([g for g, _ in pairs], mine, ours_dy, allow_unused=True)
    for g, w in zip(got_grads, want_grads, strict=True):
        if w is None or g is None:
            assert (w is None or not w.any()) and (g is None or not g._array.any())
            continue
        assert _dtypes.as_dtype(dtype) == g.dtype
        close(g._array, w.to(torch.float64).numpy(), eps * 64 * np.sqrt(size))


def close(got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    got = got.astype(np.float64) if got.dtype.kind != "b" else got
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want)
        return
    finite = np.abs(want[np.isfinite(want)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)
