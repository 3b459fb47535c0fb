"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpudl.kernels import Kernel, ladder
from gpudl.optim._optimizer import CHUNK, Optimizer, Params, traffic

BLOCK = 256
chunks: dict[str, Any] = dict(grid=lambda chunks: chunks, block=BLOCK, BLOCK=BLOCK, CHUNK=CHUNK, traffic=traffic)
ladder("adagrad.step", Kernel("01_multi_tensor.cu", **chunks), Kernel("02_vector.cu", **chunks))


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients so far.

        g  = grad + weight_decay * p                       (-grad with maximize)
        s += g^2;   p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    params: see `Optimizer`. State, made at construction as in PyTorch: step, sum (s). ValueError for a negative option.
    Source: Duchi, Hazan, Singer 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization".
    """

    ladder = "adagrad.step"
    counted = True

    def __init__(
        self, params: Params, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0, initial_accumulator_value: float = 0,
        eps: float = 1e-10, foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ):  # fmt: skip
        super().__init__(params, dict(
            lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value,
            foreach=foreach, maximize=maximize, differentiable=differentiable, fused=fused,
        ))  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                self._prepare(group, p)

    def _slots(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _start(self, group: Mapping[str, Any], slot: str) -> float:
        return group["initial_accumulator_value"]

    def _update(
        self, group: Mapping[str, Any], p: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], step: float, first: bool
    ) -> None:
        total = state["sum"]
        a, b = self._scratch(p), self._scratch(p, 1)
        if group["maximize"]:
            g = np.negative(g, out=b)
        if group["weight_decay"]:
            g = np.add(g, np.multiply(p, group["weight_decay"], out=a), out=b)
        total += np.multiply(g, g, out=a)
        np.sqrt(total, out=a)
        a += group["eps"]
        np.divide(g, a, out=a)
        a *= group["lr"] / (1 + (step - 1) * group["lr_decay"])
        p -= a

    def _hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        return {k: group[k] for k in ("lr", "lr_decay", "eps", "weight_decay")}

    def _defines(self, group: Mapping[str, Any]) -> dict[str, int]:
        return {"MAXIMIZE": int(group["maximize"])}
