"""The functions behind the layers, under PyTorch's names and signatures. Formulas, shapes and errors stand with each op in gpudl.ops."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from gpudl import ops
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import no_grad
from gpudl.ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_piecewise_linear,
    affine_grid,
    avg_pool1d,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    celu,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    cross_entropy,
    dropout,
    dropout1d,
    dropout2d,
    elu,
    gelu,
    grid_sample,
    group_norm,
    hardsigmoid,
    hardswish,
    hardtanh,
    huber_loss,
    interpolate,
    kl_div,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    logsigmoid,
    max_pool1d,
    max_pool2d,
    maxout,
    mish,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
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
from gpudl.ops.copy import fresh
from gpudl.ops.dropout import _channels
from gpudl.ops.index import rows

__all__ = [
    "alpha_dropout",
    "channel_shuffle",
    "cosine_similarity",
    "dropout3d",
    "feature_alpha_dropout",
    "pairwise_distance",
    "affine_grid",
    "grid_sample",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_piecewise_linear",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
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
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "max_pool1d",
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


def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
    bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Mean 0 and variance 1 over the positions of each channel of each sample (N, C, ...), then weight and bias (C,): groups of one channel.

    With running statistics these move by momentum towards the mean over samples of mean and unbiased variance; use_input_stats=False
    normalises with them. ValueError for one position a channel. Source: Ulyanov et al. 2016, arXiv:1607.08022.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if (running_mean is None) != (running_var is None):
        raise RuntimeError("instance_norm: running_mean and running_var must be given together or not at all")
    if input.ndim > 2 and math.prod(input.shape[2:]) == 1 or input.ndim == 2:
        raise ValueError(f"instance_norm: expected more than 1 position a channel, got input size {tuple(input.shape)}")
    out = group_norm(input, input.shape[1], weight, bias, eps)
    if running_mean is not None and running_var is not None and input.numel():
        with no_grad():
            var, mean = ops.var_mean(input.detach(), tuple(range(2, input.ndim)))
            for running, batch in ((running_mean, mean.mean(0)), (running_var, var.mean(0))):
                running.mul_(1 - momentum).add_((batch * momentum).to(running.dtype))
    return out


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * m) ** beta for (N, C, L) or (N, C, H, W), ...; m is the mean of x^2 over `size` channels around each, zeros outside.

    ShapeError for fewer than 3 dimensions, ValueError for a size below 1. Source: Krizhevsky, Sutskever & Hinton 2012 (AlexNet), section 3.3.
    """
    if input.ndim < 3:
        raise ShapeError(f"local_response_norm: input is {tuple(input.shape)}; at least 3 dimensions, (N, C, ...), are needed")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"local_response_norm: size must be an integer of at least 1, not {size!r}")
    if not input.numel():
        return input
    squares = (input * input).reshape(input.shape[0], 1, input.shape[1], -1)
    around = avg_pool2d(pad(squares, (0, 0, size // 2, (size - 1) // 2)), (size, 1), 1)
    return input / (around.reshape(input.shape) * alpha + k) ** beta


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As `dropout`, for whole channels of (N, C, D, H, W) or (C, D, H, W). Source: Tompson et al. 2015, arXiv:1411.4280."""
    return _channels("dropout3d", input, p, training, inplace, (4, 5), 5)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for networks of SELU: dropped values become SELU's least, -1.7581, then all are scaled.

        y = a * (m * x + (1 - m) * low) + b,    m = 0 with probability p, else 1;    a, b restore mean and variance

    ValueError for p outside [0, 1]; p = 1 gives zeros. Source: Klambauer et al. 2017, arXiv:1706.02515, section 4.
    """
    return _alpha_dropout("alpha_dropout", input, p, training, inplace, tuple(input.shape))


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """As `alpha_dropout`, for whole channels of (N, C, ...)."""
    if input.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: input is {tuple(input.shape)}; (N, C, ...) is needed")
    return _alpha_dropout("feature_alpha_dropout", input, p, training, inplace, (*input.shape[:2], *[1] * (input.ndim - 2)))


def _alpha_dropout(op: str, input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: the dropout probability must be between 0 and 1, not {p}")
    if not training or p == 0:
        return input
    low = -1.7580993408473766  # -lambda * alpha of SELU
    if p == 1:
        out = input * 0
    else:
        kept = (dropout(input.new_ones(shape), p) != 0).to(input.dtype)
        a = ((1 - p) * (1 + p * low * low)) ** -0.5
        out = input * (kept * a) + ((1 - kept) * (a * low) - a * p * low)
    return input._become(out, op + "_") if inplace else out


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, ...) dealt out again: the first of each group, then the second of each, ... ShapeError unless groups divides C."""
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise ShapeError(f"channel_shuffle: input is {tuple(input.shape)} and groups {groups}; (N, C, ...) with C divisible by groups is needed")
    return fresh(input.unflatten(1, (groups, input.shape[1] // groups)).transpose(1, 2).flatten(1, 2), input)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(||x1||, eps) * max(||x2||, eps)) along dim, broadcast; the gradients are those without eps, as in PyTorch.

    IndexError for a dim out of range.
    """
    if x1.ndim != x2.ndim:
        x1, x2 = (x.expand(np.broadcast_shapes(x1.shape, x2.shape)) for x in (x1, x2))
    norms = [ops.norm(x, 2, dim, True) for x in (x1, x2)]
    over = [n + (ops.clamp(n, min=eps) - n).detach() for n in norms]
    return (x1 / over[0] * (x2 / over[1])).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """||x1 - x2 + eps||_p along the last axis, broadcast."""
    return ops.norm(x1 - x2 + eps, p, -1, keepdim)


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
