"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpudl.kernels import Kernel, ladder
from gpudl.optim._optimizer import CHUNK, Optimizer, Params, traffic

BLOCK = 256
chunks: dict[str, Any] = dict(grid=lambda chunks: chunks, block=BLOCK, BLOCK=BLOCK, CHUNK=CHUNK, traffic=traffic)
ladder("rmsprop.step", Kernel("01_multi_tensor.cu", **chunks), Kernel("02_vector.cu", **chunks))


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient.

        g   = grad + weight_decay * p                      (-grad with maximize)
        v   = alpha * v + (1 - alpha) * g^2;   a += (1 - alpha) * (g - a), d = sqrt(v - a^2) + eps with centered, else d = sqrt(v) + eps
        buf = momentum * buf + g / d;   p -= lr * buf      (without momentum p -= lr * g / d)

    params: see `Optimizer`. State: step, square_avg (v), grad_avg (a), momentum_buffer. ValueError for a negative option.
    Source: Tieleman & Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv:1308.0850.
    """

    ladder = "rmsprop.step"
    counted = True

    def __init__(
        self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0, momentum: float = 0,
        centered: bool = False, capturable: bool = False, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        super().__init__(params, dict(
            lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered, weight_decay=weight_decay, capturable=capturable,
            foreach=foreach, maximize=maximize, differentiable=differentiable,
        ))  # fmt: skip

    def _check_options(self, group: Mapping[str, Any]) -> None:
        super()._check_options(group)
        self._at_least_zero("alpha", group["alpha"])

    def _slots(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("square_avg", *(("momentum_buffer",) if group["momentum"] > 0 else ()), *(("grad_avg",) if group["centered"] else ()))

    def _update(
        self, group: Mapping[str, Any], p: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], step: float, first: bool
    ) -> None:
        v, alpha = state["square_avg"], group["alpha"]
        a, b = self._scratch(p), self._scratch(p, 1)
        if group["maximize"]:
            g = np.negative(g, out=b)
        if group["weight_decay"]:
            g = np.add(g, np.multiply(p, group["weight_decay"], out=a), out=b)
        v *= alpha
        np.multiply(g, g, out=a)
        a *= 1 - alpha
        v += a
        if group["centered"]:
            mean = state["grad_avg"]
            mean += (1 - alpha) * (g - mean)
            np.sqrt(v - mean * mean, out=a)
        else:
            np.sqrt(v, out=a)
        a += group["eps"]
        np.divide(g, a, out=a)
        if group["momentum"] > 0:
            buf = state["momentum_buffer"]
            buf *= group["momentum"]
            buf += a
            np.multiply(buf, group["lr"], out=a)
        else:
            a *= group["lr"]
        p -= a

    def _hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        return {k: group[k] for k in ("lr", "alpha", "eps", "weight_decay", "momentum")}

    def _defines(self, group: Mapping[str, Any]) -> dict[str, int]:
        return {"MOMENTUM": int(group["momentum"] > 0), "CENTERED": int(group["centered"]), "MAXIMIZE": int(group["maximize"])}
