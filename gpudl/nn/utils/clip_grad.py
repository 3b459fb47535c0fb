"""Gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from gpudl import autograd, ops
from gpudl._creation import tensor
from gpudl._tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    params = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad.detach() for p in params if p.grad is not None]


def get_total_norm(tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: Any = None) -> Tensor:
    """The norm of all tensors as one vector: a 0-d tensor on the first one's device (halves are summed in float32).

    norm_type: any p > 0 or inf. RuntimeError with error_if_nonfinite for a norm that is NaN or infinite (which waits for the device).
    """
    p = float(norm_type)
    if not p > 0:
        raise ValueError(f"get_total_norm: norm_type {norm_type!r} must be greater than 0")
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not given:
        return tensor(0.0)
    with autograd.no_grad():
        norms = []
        for g in given:
            if g.numel() == 0:
                continue
            g = g.float() if g.itemsize < 4 else g
            norms.append((g.abs().max() if p == math.inf else _norm(g, p)).to(given[0].device))
        total = ops.stack(norms) if norms else tensor([0.0], device=given[0].device)
        total = total.max() if p == math.inf else _norm(total, p)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"the total norm of order {p} of these gradients is {total.item()}, not finite; error_if_nonfinite=False clips anyway")
    return total


def _norm(x: Tensor, p: float) -> Tensor:
    return (x * x).sum().sqrt() if p == 2 else (x.abs() ** p).sum() ** (1 / p)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: Any = None
) -> Tensor:
    """Scale all gradients, in place, so that their norm as one vector is at most max_norm; returns the norm before.

        grad *= min(1, max_norm / (norm + 1e-6))

    Nothing waits for the device unless error_if_nonfinite asks for it; then RuntimeError, before any change. Parameters without a gradient
    are skipped. Source: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063.
    """
    grads = _gradients(parameters)
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    with autograd.no_grad():
        scale = (float(max_norm) / (total + 1e-6)).clamp(max=1.0)
        for g in grads:
            g.mul_(scale.to(g.device, g.dtype))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: Any = None) -> None:
    """Clamp every gradient, in place, to [-clip_value, clip_value]."""
    bound = float(clip_value)
    with autograd.no_grad():
        for g in _gradients(parameters):
            g.clamp_(-bound, bound)
