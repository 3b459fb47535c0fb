"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpudl.kernels import Kernel, ladder
from gpudl.optim._optimizer import CHUNK, Optimizer, Params, traffic

BLOCK = 256
chunks: dict[str, Any] = dict(grid=lambda chunks: chunks, block=BLOCK, BLOCK=BLOCK, CHUNK=CHUNK, traffic=traffic)
ladder("adam.step", Kernel("01_multi_tensor.cu", **chunks), Kernel("02_vector.cu", **chunks))


class Adam(Optimizer):
    """Steps scaled by running moments of the gradient.

        g  = grad + weight_decay * p                       (-grad with maximize; AdamW decays p itself: p *= 1 - lr * weight_decay)
        m += (1 - b1) * (g - m);   v = b2 * v + (1 - b2) * g^2;   t += 1
        p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)           (amsgrad: the largest v so far in place of v)

    params: see `Optimizer`. float32, float64 and the halves (computed in float32; state in the parameter's dtype).
    State: step (a float32 count), exp_avg (m), exp_avg_sq (v), max_exp_avg_sq. ValueError for a negative lr, eps or weight_decay and for
    betas outside [0, 1). foreach, capturable and fused are accepted and change nothing: on a GPU the update always is one launch.
    Source: Kingma & Ba 2014, arXiv:1412.6980; amsgrad: Reddi, Kale, Kumar 2018, arXiv:1904.09237.
    """

    ladder = "adam.step"
    counted = True

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
        fused: bool | None = None, decoupled_weight_decay: bool = False,
    ):  # fmt: skip
        super().__init__(params, dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize, foreach=foreach,
            capturable=capturable, differentiable=differentiable, fused=fused, decoupled_weight_decay=decoupled_weight_decay,
        ))  # fmt: skip

    def _check_options(self, group: Mapping[str, Any]) -> None:
        super()._check_options(group)
        for i, beta in enumerate(group["betas"]):
            if not 0 <= beta < 1:
                raise ValueError(f"{type(self).__name__}: invalid beta {beta!r} at index {i}; it must lie in [0, 1)")

    def _slots(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ()))

    def _update(
        self, group: Mapping[str, Any], p: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], step: float, first: bool
    ) -> None:
        m, v = state["exp_avg"], state["exp_avg_sq"]
        lr, (b1, b2), decay = group["lr"], group["betas"], group["weight_decay"]
        a, b = self._scratch(p), self._scratch(p, 1)
        if group["maximize"]:
            g = np.negative(g, out=b)
        if decay and group.get("decoupled_weight_decay"):
            p *= 1 - lr * decay
        elif decay:
            g = np.add(g, np.multiply(p, decay, out=a), out=b)
        np.subtract(g, m, out=a)
        a *= 1 - b1
        m += a
        v *= b2
        np.multiply(g, g, out=a)
        a *= 1 - b2
        v += a
        if group["amsgrad"]:
            v = np.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        np.sqrt(v, out=a)
        a /= math.sqrt(1 - b2**step)
        a += group["eps"]
        np.divide(m, a, out=a)
        a *= lr / (1 - b1**step)
        p -= a

    def _hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        return {
            "lr": group["lr"],
            "beta1": group["betas"][0],
            "beta2": group["betas"][1],
            "eps": group["eps"],
            "weight_decay": group["weight_decay"],
        }

    def _defines(self, group: Mapping[str, Any]) -> dict[str, int]:
        return {
            "AMSGRAD": int(group["amsgrad"]), "MAXIMIZE": int(group["maximize"]),
            "DECOUPLED": int(bool(group.get("decoupled_weight_decay"))),
        }  # fmt: skip


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter and not through the gradient; options and formula under `Adam`.

    Source: Loshchilov & Hutter 2017, arXiv:1711.05101.
    """

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2,
        amsgrad: bool = False, *, maximize: bool = False, foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
        fused: bool | None = None,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip
