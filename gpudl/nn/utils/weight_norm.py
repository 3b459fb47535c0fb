"""Weight normalisation as a hook, PyTorch's older form: parameters weight_g and weight_v. See `parametrizations.weight_norm` for the newer."""

from __future__ import annotations

from typing import Any, TypeVar

from gpudl import ops
from gpudl._tensor import Tensor
from gpudl.nn.module import Module
from gpudl.nn.parameter import Parameter

M = TypeVar("M", bound=Module)


def norm_except_dim(v: Tensor, dim: int) -> Tensor:
    """The 2-norms of the slices of v along dim, as a tensor that broadcasts with it; dim -1: the norm of all of v, 0-d. IndexError as for `norm`."""
    if dim == -1:
        return ops.norm(v)
    axis = dim + v.ndim if dim < 0 else dim
    if not 0 <= axis < v.ndim:
        raise IndexError(f"weight_norm: dim {dim} is out of range for a tensor {tuple(v.shape)}")
    others = tuple(i for i in range(v.ndim) if i != axis)
    return ops.norm(v, 2, others, True) if others else v.abs()  # the norm of a number


def weight_normed(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """w = g * v / ||v||, the norm as in `norm_except_dim`. Source: Salimans & Kingma 2016, arXiv:1602.07868."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The forward pre-hook that computes the weight."""

    def __init__(self, name: str, dim: int | None):
        self.name, self.dim = name, -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Tensor:
        return weight_normed(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)

    def __call__(self, module: Module, _inputs: Any) -> None:
        module.__dict__[self.name] = self.compute_weight(module)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train the length g and the direction v of the weight apart: w = g * v / ||v||, computed before each forward.

    `<name>` gives way to the parameters `<name>_g` and `<name>_v`. dim: the axis whose slices have a length each (0: each output of a layer);
    None: one length for all of it. AttributeError where there is no such parameter, RuntimeError where it is normalised already.
    Source: Salimans & Kingma 2016, arXiv:1602.07868.
    """
    if any(isinstance(h, WeightNorm) and h.name == name for h in module._forward_pre_hooks.values()):
        raise RuntimeError(f"weight_norm: {name!r} of {module!r} is normalised already")
    weight = getattr(module, name)
    if not isinstance(weight, Parameter) or name not in module._parameters:
        raise ValueError(f"weight_norm: {name!r} of {module!r} is no parameter")
    hook = WeightNorm(name, dim)
    g = norm_except_dim(weight.detach(), hook.dim)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(g))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    hook(module, None)
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Make the weight a plain parameter again, with its present value. ValueError where it is not normalised."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module).detach()
            del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"], module._forward_pre_hooks[key]
            module.__dict__.pop(name, None)
            module.register_parameter(name, Parameter(weight))
            return module
    raise ValueError(f"remove_weight_norm: weight_norm of {name!r} not found in {module!r}")
