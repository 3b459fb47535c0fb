"""Calls of every op on every device, dtype and rung, from the samples that the op files give."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import gpudl
from gpudl import _dtypes
from gpudl.autograd import Op, Sample

OPS = {name: op for name, op in sorted(Op.registry.items()) if "samples" in vars(op)}


def function(op: type[Op]) -> Callable[..., Any]:
    return getattr(sys.modules[op.__module__], op.function)


def samples(op: type[Op]) -> list[Sample]:
    return list(op.samples(np.random.default_rng(7)))  # type: ignore[attr-defined]


def place(
    sample: Sample, device: str = "cpu", dtype: Any = None, grad: bool = True
) -> tuple[list[Any], dict[str, Any], list[gpudl.Tensor]]:
    """The sample's arguments on a device (floating arrays cast to dtype), and the tensors that require a gradient."""
    leaves: list[gpudl.Tensor] = []

    def convert(value: Any, grad: bool = grad) -> Any:
        if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
            return type(value)(convert(v, grad) for v in value)
        if not isinstance(value, np.ndarray):
            return value
        floating = value.dtype.kind == "f" or value.dtype == _dtypes.bfloat16
        wanted = _dtypes.as_dtype(dtype) if floating and dtype is not None else value.dtype
        where = gpudl.device(device)
        if value.flags.c_contiguous or not where.kernels:
            array = value.astype(wanted, order="K") if where.kernels or not floating else _keep_layout(value, wanted)
            made = gpudl._tensor.wrap(where.from_host(array) if where.kernels else array, where)
        else:  # keep the strides: copy the memory behind the view, then take the same view
            made = _strided(value, wanted, where)
        if floating and grad:
            made.requires_grad_()
            leaves.append(made)
        return made

    constant = sample.options.get("constant", ())
    return [convert(a) for a in sample.args], {k: convert(v, grad and k not in constant) for k, v in sample.kwargs.items()}, leaves


def _keep_layout(value: np.ndarray, dtype: Any) -> np.ndarray:
    if value.flags.c_contiguous:
        return value.astype(dtype)
    return np.lib.stride_tricks.as_strided(*_memory(value, dtype)) if 0 not in value.shape else value.astype(dtype)


def _memory(value: np.ndarray, dtype: Any) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
    """A flat copy of the memory that a view spans (from its first element on; strides must not be negative), shape, strides in bytes."""
    steps = [s // value.itemsize for s in value.strides]
    span = 1 + sum(s * (n - 1) for s, n in zip(steps, value.shape, strict=True))
    flat = np.zeros(span, dtype)
    view = np.lib.stride_tricks.as_strided(flat, value.shape, [s * flat.itemsize for s in steps])
    view[...] = value.astype(dtype)
    return flat, value.shape, view.strides


def _strided(value: np.ndarray, dtype: Any, where: Any) -> gpudl.Tensor:
    if 0 in value.shape or any(s < 0 for s in value.strides):
        return gpudl._tensor.wrap(where.from_host(value.astype(dtype)), where)
    flat, shape, strides = _memory(value, dtype)
    memory = where.from_host(flat)
    return gpudl._tensor.wrap(where.xp.lib.stride_tricks.as_strided(memory, shape, strides), where)


def outputs(result: Any) -> list[gpudl.Tensor]:
    return [r for r in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(r, gpudl.Tensor)]


def host(t: gpudl.Tensor | None) -> np.ndarray | None:
    return None if t is None else np.array(t.detach().cpu()._array)


def run(op: type[Op], sample: Sample, device: str, dtype: Any, seed: int = 3) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Outputs, and gradients for random cotangents, in host memory."""
    args, kwargs, leaves = place(sample, device, dtype, grad=sample.options.get("grad", True))
    outs = outputs(function(op)(*args, **kwargs))
    grads: list[np.ndarray | None] = []
    wanted = [o for o in outs if o.requires_grad]
    if wanted and leaves:
        rng = np.random.default_rng(seed)
        # multiples of 1/64 below 4: exact in every floating dtype, so that runs in two dtypes start from the same values
        drawn = [np.clip(np.round(64 * rng.standard_normal(o.shape)) / 64, -3.5, 3.5) for o in wanted]
        cotangents = [gpudl.tensor(z, dtype=o.dtype, device=o.device) for z, o in zip(drawn, wanted, strict=True)]
        grads = [host(g) for g in gpudl.autograd.grad(wanted, leaves, cotangents, allow_unused=True)]
    return [host(o) for o in outs], grads  # type: ignore[misc]


def variants(rng: Any, op: type[Op]) -> Iterator[Sample]:
    """Strided, offset and broadcast forms of the op's first suitable sample: memory layouts that no op has to think of itself."""
    for sample in samples(op):
        big = [i for i, a in enumerate(sample.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f" and a.ndim >= 2 and a.size > 4]
        if not big:
            continue
        for change in (_transposed, _offset):
            args = [change(a) if i in big else a for i, a in enumerate(sample.args)]
            made = Sample(*args, **sample.kwargs)
            made.options = sample.options
            yield made
        return


def _transposed(a: np.ndarray) -> np.ndarray:
    return np.asfortranarray(a)


def _offset(a: np.ndarray) -> np.ndarray:
    """The same values as every second element of a row twice as long."""
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


# How far a rung of lower precision (Kernel.precision) rounds each factor of a product: tf32 keeps 10 bits of mantissa.
INPUTS = {"ieee": 0.0, "tf32": 2.0**-11, "tf32x3": 0.0}


def tolerance(dtype: Any, want: np.ndarray, length: int, factor: float, precision: str = "ieee") -> np.ndarray:
    """Error allowed in a value summed over `length` terms of about its own size: 2 eps sqrt(length), and one unit in the last place of the
    result's dtype for the final rounding (after Higham & Mary 2019, doi:10.1137/18M1226312). Where one factor of each term is rounded by the
    rung, those errors add up as a random walk does, like the terms themselves: INPUTS relative to the sum, here eight times."""
    eps = 2.0**-52 if dtype == _dtypes.float64 else 2.0**-23
    last = {_dtypes.float16: 2.0**-11, _dtypes.bfloat16: 2.0**-8}.get(dtype, eps)
    scale = np.maximum(np.abs(want), np.abs(want).max(initial=0) * (1.0 if want.size else 0) / 8) + 0.05
    return factor * (8 * eps * np.sqrt(length) + 2 * last + 8 * INPUTS[precision]) * scale
