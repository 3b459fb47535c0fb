"""Ready-made parametrizations."""

from __future__ import annotations

from typing import Any, TypeVar

from gpudl._tensor import Tensor
from gpudl.nn.module import Module
from gpudl.nn.utils import parametrize
from gpudl.nn.utils.weight_norm import norm_except_dim, weight_normed

M = TypeVar("M", bound=Module)


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_normed(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train the length g and the direction v of the weight apart: w = g * v / ||v||.

    state_dict has parametrizations.<name>.original0 (g) and .original1 (v); one of the older `nn.utils.weight_norm` (<name>_g, <name>_v) loads
    too. dim: the axis whose slices have a length each (0: each output of a layer); None: one length for all of it. Undone by
    `parametrize.remove_parametrizations(module, name)`. ValueError where the module has no such tensor.
    Source: Salimans & Kingma 2016, arXiv:1602.07868.
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(_module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
        old = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if all(key in state for key in old):
            for i, key in enumerate(old):
                state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(key)

    module.register_load_state_dict_pre_hook(rename)
    return module
