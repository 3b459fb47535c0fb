"""Convolution and pooling along one axis: the operations on images, for images of height 1. Kernels, gradients and messages are theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.ops._common import check_tensor
from gpudl.ops.conv2d import conv2d, conv_transpose2d
from gpudl.ops.pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from gpudl.ops.view import squeeze, unsqueeze


def _flat(op: str, name: str, value: Any, height: int) -> Any:
    """(height, value) from a number or a tuple of one; ValueError for more."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError(f"{op}: {name} must be an integer or a tuple of one, not {value!r}")
        value = value[0]
    return height, value


def _check(op: str, **tensors: Tensor) -> None:
    check_tensor(op, **tensors)
    for name, t in tensors.items():
        least = 3 if name == "weight" else 2
        if not least <= t.ndim <= 3:
            needed = "(K, C / groups, S)" if name == "weight" else "(N, C, L) or (C, L)"
            raise ShapeError(f"{op}: {name} is {tuple(t.shape)}; {needed} is needed")


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """Cross-correlation of signals (N, C, L) or (C, L) with K filters: `conv2d` of images of height 1.

    weight (K, C / groups, S), bias (K) or None; stride, dilation: a number or a tuple of one; padding too, or "valid" or "same". Returns
    (N, K, Q), Q = floor((L + 2 * padding - dilation * (S - 1) - 1) / stride) + 1. Errors as conv2d.
    """
    op = "conv1d"
    _check(op, input=input, weight=weight)
    steps = _flat(op, "stride", stride, 1), _flat(op, "padding", padding, 0), _flat(op, "dilation", dilation, 1)
    return squeeze(conv2d(unsqueeze(input, -2), unsqueeze(weight, -2), bias, *steps, groups), -2)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of conv1d's map: `conv_transpose2d` of images of height 1. input (N, C, L) or (C, L), weight (C, K / groups, S), bias (K)."""
    op = "conv_transpose1d"
    _check(op, input=input, weight=weight)
    steps = _flat(op, "stride", stride, 1), _flat(op, "padding", padding, 0), _flat(op, "output_padding", output_padding, 0)
    return squeeze(
        conv_transpose2d(unsqueeze(input, -2), unsqueeze(weight, -2), bias, *steps, groups, _flat(op, "dilation", dilation, 1)), -2
    )


def _pooled(pool: Callable[..., Any], input: Tensor, *args: Any, **options: Any) -> Any:
    out = pool(unsqueeze(input, -2), *args, **options)
    return tuple([squeeze(t, -2) for t in out]) if isinstance(out, tuple) else squeeze(out, -2)


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, L) or (C, L), with return_indices where it was; see `max_pool2d`."""
    op = "max_pool1d"
    _check(op, input=input)
    window = _flat(op, "kernel_size", kernel_size, 1)
    steps = (
        window if stride is None else _flat(op, "stride", stride, 1),
        _flat(op, "padding", padding, 0),
        _flat(op, "dilation", dilation, 1),
    )
    return _pooled(max_pool2d, input, window, *steps, ceil_mode=ceil_mode, return_indices=return_indices)


def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L); see `avg_pool2d`."""
    op = "avg_pool1d"
    _check(op, input=input)
    window = _flat(op, "kernel_size", kernel_size, 1)
    steps = window if stride is None else _flat(op, "stride", stride, 1), _flat(op, "padding", padding, 0)
    return _pooled(avg_pool2d, input, window, *steps, ceil_mode, count_include_pad)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means of output_size windows of (N, C, L) or (C, L); see `adaptive_avg_pool2d`."""
    _check("adaptive_avg_pool1d", input=input)
    return _pooled(adaptive_avg_pool2d, input, _flat("adaptive_avg_pool1d", "output_size", output_size, 1))


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of output_size windows of (N, C, L) or (C, L); see `adaptive_max_pool2d`."""
    _check("adaptive_max_pool1d", input=input)
    return _pooled(adaptive_max_pool2d, input, _flat("adaptive_max_pool1d", "output_size", output_size, 1), return_indices)
