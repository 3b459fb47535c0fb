"""The functions behind the layers, under PyTorch's names and signatures. Formulas, shapes and errors stand with each op in gpudl.ops."""

from __future__ import annotations

import math
import warnings
from typing import Any

from gpudl import ops
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.ops import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    adaptive_piecewise_linear,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    celu,
    conv2d,
    conv_transpose2d,
    cross_entropy,
    dropout,
    dropout1d,
    dropout2d,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    hardtanh,
    huber_loss,
    kl_div,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    logsigmoid,
    max_pool2d,
    maxout,
    mish,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    pad,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    smooth_l1_loss,
    softplus,
    softsign,
    tanh,
)
from gpudl.ops.index import rows

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "adaptive_piecewise_linear",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "elu",
    "embedding",
    "gelu",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "max_pool2d",
    "maxout",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softsign",
    "tanh",
]


def _implicit_dim(name: str, ndim: int) -> int:
    """PyTorch's choice where softmax is given no dim."""
    warnings.warn(f"{name}: the dimension is not given; pass dim=, PyTorch's old choice for {ndim} dimensions is used", stacklevel=4)
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along dim; see gpudl.softmax. Without dim: 0 for 0, 1 or 3 dimensions, else 1, with a warning, as PyTorch."""
    return ops.softmax(input, _implicit_dim("softmax", input.ndim) if dim is None else dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along dim, exact where the softmax is 0; dim as in softmax."""
    return ops.log_softmax(input, _implicit_dim("log_softmax", input.ndim) if dim is None else dim, dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-x) along dim; dim as in softmax."""
    return ops.softmax(-input, _implicit_dim("softmin", input.ndim) if dim is None else dim, dtype=dtype)


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 over each of num_groups groups of channels of each sample (N, C, ...), then weight and bias of shape (C,).

    Halves are computed in float32. Source: Wu & He 2018, arXiv:1803.08494.
    """
    if input.ndim < 2:
        raise ShapeError(f"group_norm: input is {tuple(input.shape)}; (N, C, ...) is needed")
    N, C = input.shape[:2]
    if num_groups < 1 or C % num_groups:
        raise ShapeError(f"group_norm: input is {tuple(input.shape)}; its {C} channels must be divisible by num_groups = {num_groups}")
    each = (C,) + (1,) * (input.ndim - 2)
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t.shape != (C,):
            raise ShapeError(f"group_norm: {name} is {tuple(t.shape)}; it must be ({C},), one value a channel")
    size = C // num_groups * math.prod(input.shape[2:])
    wide = input.float() if input.itemsize == 2 else input
    y = layer_norm(wide.reshape(N, num_groups, size), size, eps=eps).reshape(input.shape)
    y = y if weight is None else y * weight.reshape(each)
    return (y if bias is None else y + bias.reshape(each)).to(input.dtype)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """weight[input]: a row of weight (V, D) for each index; the row padding_idx gets no gradient. IndexError for an index outside [0, V)."""
    for name, given in (("max_norm", max_norm), ("scale_grad_by_freq", scale_grad_by_freq), ("sparse", sparse)):
        if given:
            raise NotImplementedError(f"embedding: {name} is not supported")
    out = rows("embedding", weight, input)
    if padding_idx is None:
        return out
    return ops.where((input == padding_idx % weight.shape[0]).unsqueeze(-1), out.detach(), out)
