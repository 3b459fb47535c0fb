"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpudl.kernels import Kernel, ladder
from gpudl.optim._optimizer import CHUNK, Optimizer, Params, traffic

BLOCK = 256
chunks: dict[str, Any] = dict(grid=lambda chunks: chunks, block=BLOCK, BLOCK=BLOCK, CHUNK=CHUNK, traffic=traffic)
ladder("sgd.step", Kernel("01_multi_tensor.cu", **chunks), Kernel("02_vector.cu", **chunks))


class SGD(Optimizer):
    """Gradient descent with momentum.

        g   = grad + weight_decay * p                      (-grad with maximize)
        buf = momentum * buf + (1 - dampening) * g         (buf = g at the first update)
        p  -= lr * (g + momentum * buf with nesterov, else buf; g without momentum)

    params: see `Optimizer`. float32, float64 and the halves (computed in float32; state in the parameter's dtype).
    ValueError for a negative lr, momentum or weight_decay, and for nesterov without momentum or with dampening.
    foreach and fused are accepted and change nothing: on a GPU the update always is one launch.
    Source: Sutskever, Martens, Dahl, Hinton 2013, "On the importance of initialization and momentum in deep learning".
    """

    ladder = "sgd.step"

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0, nesterov: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ):  # fmt: skip
        super().__init__(params, dict(
            lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov, maximize=maximize,
            foreach=foreach, differentiable=differentiable, fused=fused,
        ))  # fmt: skip

    def _check_options(self, group: Mapping[str, Any]) -> None:
        super()._check_options(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: Nesterov momentum requires a momentum and zero dampening; got momentum {group['momentum']}, dampening {group['dampening']}"
            )

    def _slots(self, group: Mapping[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def _update(
        self, group: Mapping[str, Any], p: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], step: float, first: bool
    ) -> None:
        momentum, work = group["momentum"], self._scratch(p)
        if group["maximize"]:
            g = np.negative(g, out=work)
        if group["weight_decay"]:
            decay = np.multiply(p, group["weight_decay"], out=self._scratch(p, 1))
            g = np.add(g, decay, out=work)
        if momentum:
            buf = state["momentum_buffer"]
            if first:
                buf[...] = g
            else:
                buf *= momentum
                buf += g if group["dampening"] == 0 else g * (1 - group["dampening"])
            g = g + momentum * buf if group["nesterov"] else buf
        p -= np.multiply(g, group["lr"], out=work)

    def _hyper(self, group: Mapping[str, Any]) -> dict[str, float]:
        return {k: group[k] for k in ("lr", "momentum", "dampening", "weight_decay")}

    def _defines(self, group: Mapping[str, Any]) -> dict[str, int]:
        return {"MOMENTUM": int(group["momentum"] != 0), "NESTEROV": int(group["nesterov"]), "MAXIMIZE": int(group["maximize"])}
