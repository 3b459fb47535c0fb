"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpudl._cpu import compiled
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
        lr, (b1, b2), decay, real = group["lr"], group["betas"], group["weight_decay"], p.dtype.type
        arrays = [p, g, *state.values()]
        flat = [np.ascontiguousarray(a).reshape(-1) for a in arrays]  # the arrays themselves, but for parameters of other strides
        if not group["amsgrad"]:
            flat.append(np.empty(0, p.dtype))
        through = bool(decay) and not group.get("decoupled_weight_decay")
        numbers = (
            -1 if group["maximize"] else 1, decay if through else 0, 1 if through else 1 - lr * decay, (real(b1), real(1 - b1)), (real(b2), real(1 - b2)),
            math.sqrt(1 - b2**step), group["eps"], lr / (1 - b1**step),
        )  # fmt: skip
        compiled().adam(*flat, *[x if isinstance(x, tuple) else real(x) for x in numbers])
        for a, f in zip(arrays, flat, strict=False):
            if a is not g and not np.may_share_memory(a, f):
                a[...] = f.reshape(a.shape)

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
