"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpudl import autograd, ops
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened, in one vector; differentiable."""
    return ops.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write a vector, as `parameters_to_vector` gives it, into the parameters. ShapeError where the length does not fit."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: vec must be a Tensor, not {type(vec).__name__}")
    params: Sequence[Tensor] = list(parameters)
    needed = sum(p.numel() for p in params)
    if vec.numel() != needed or vec.ndim != 1:
        raise ShapeError(f"vector_to_parameters: vec is {tuple(vec.shape)}; these parameters need ({needed},)")
    start = 0
    with autograd.no_grad():
        for p in params:
            p.copy_(vec.detach()[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
