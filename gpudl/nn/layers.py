"""Layers with parameters or shapes: linear, convolution, pooling, normalisation, dropout. Starting values are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import _creation
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor, as_shape
from gpudl.nn import functional as F
from gpudl.nn import init
from gpudl.nn.module import Module
from gpudl.nn.parameter import Parameter


def _empty(*shape: int, device: Any, dtype: Any) -> Parameter:
    return Parameter(_creation.empty(shape, device=device, dtype=dtype))


def _ones_and_zeros(module: Any) -> None:
    """The start of a normalisation: weight 1, bias 0."""
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)


class Identity(Module):
    """Gives back its input; takes any arguments."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


def _uniform_by_fan_in(weight: Tensor, bias: Tensor | None) -> None:
    """PyTorch's start of linear and convolution layers: both from U(-b, b), b = 1/sqrt(fan_in).

    It is kaiming_uniform_ with a = sqrt(5): gain * sqrt(3 / fan_in) = sqrt(2 / 6) * sqrt(3 / fan_in) = 1/sqrt(fan_in).
    """
    bound = 1 / math.sqrt(max(math.prod(weight.shape[1:]), 1))
    init.uniform_(weight, -bound, bound)
    if bias is not None:
        init.uniform_(bias, -bound, bound)


class Linear(Module):
    """y = x @ weight.T + bias for x (..., in_features); weight (out_features, in_features).

    Start: both from U(-1/sqrt(in_features), 1/sqrt(in_features)).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = _empty(out_features, in_features, device=device, dtype=dtype)
        self.register_parameter("bias", _empty(out_features, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _uniform_by_fan_in(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def _check_groups(layer: str, in_channels: int, out_channels: int, groups: int) -> None:
    if groups <= 0:
        raise ValueError(f"{layer}: groups must be a positive integer, not {groups}")
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise ValueError(f"{layer}: {name} = {channels} must be divisible by groups = {groups}")


def several(value: Any, n: int) -> tuple[Any, ...]:
    """(2, 2) from 2 for n = 2; a tuple stays as it is."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


class _Convolution(Module):
    """What Conv1d and Conv2d and their transposes share."""

    dims: int  # 1 or 2

    def _set_up(
        self, weight: tuple[int, int], channels: tuple[int, int], kernel_size: Any, stride: Any, dilation: Any, groups: int, bias: bool,
        padding_mode: str, **where: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        _check_groups(type(self).__name__, *channels, groups)
        self.in_channels, self.out_channels, self.groups, self.padding_mode = *channels, groups, padding_mode
        self.kernel_size, self.stride, self.dilation = (several(v, self.dims) for v in (kernel_size, stride, dilation))
        self.weight = _empty(*weight, *self.kernel_size, **where)
        self.register_parameter("bias", _empty(self.out_channels, **where) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _uniform_by_fan_in(self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        zeros, ones = (0,) * self.dims, (1,) * self.dims
        for name, usual in (("padding", zeros), ("dilation", ones), ("output_padding", zeros), ("groups", 1)):
            if getattr(self, name, usual) != usual:
                text += f", {name}={getattr(self, name)}"
        return (
            text
            + (", bias=False" if self.bias is None else "")
            + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")
        )


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        name = type(self).__name__
        _check_groups(name, in_channels, out_channels, groups)
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f"{name}: padding_mode {padding_mode!r} is not known; there are 'zeros', 'reflect', 'replicate' and 'circular'"
            )
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"{name}: padding {padding!r} is not known; use 'same', 'valid' or numbers")
            if padding == "same" and any(s != 1 for s in several(stride, self.dims)):
                raise ValueError(f"{name}: padding='same' needs stride 1, not {several(stride, self.dims)}")
        self._set_up(
            (out_channels, in_channels // groups), (in_channels, out_channels), kernel_size, stride, dilation, groups, bias, padding_mode,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.padding = padding if isinstance(padding, str) else several(padding, self.dims)

    def _borders(self) -> list[int]:
        """What functional.pad takes, for a padding mode other than zeros."""
        sides = []
        for i in reversed(range(self.dims)):
            whole = self.dilation[i] * (self.kernel_size[i] - 1) if self.padding == "same" else 0
            sides += [whole // 2, whole - whole // 2] if isinstance(self.padding, str) else [self.padding[i]] * 2
        return sides

    def forward(self, input: Tensor) -> Tensor:
        convolve = F.conv1d if self.dims == 1 else F.conv2d
        if self.padding_mode == "zeros":
            return convolve(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if input.ndim not in (self.dims + 1, self.dims + 2):
            raise ShapeError(
                f"{type(self).__name__}: input is {tuple(input.shape)}; {self.dims + 2} dimensions are needed, or one less without a batch"
            )
        padded = F.pad(input, self._borders(), self.padding_mode)
        return convolve(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Conv1d(_Conv):
    """1-D convolution (correlation) of x (N, in_channels, L) with weight (out_channels, in_channels/groups, *kernel_size); see Conv2d."""

    dims = 1


class Conv2d(_Conv):
    """2-D convolution (correlation) of x (N, in_channels, H, W) with weight (out_channels, in_channels/groups, *kernel_size).

    padding: a number, a pair, 'valid' or 'same' (stride 1 only); padding_mode 'zeros', 'reflect', 'replicate' or 'circular'. ValueError for
    others and where groups does not divide the channels. Start: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
    """

    dims = 2


class _ConvTranspose(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f"{type(self).__name__}: only padding_mode 'zeros' is supported, not {padding_mode!r}")
        _check_groups(type(self).__name__, in_channels, out_channels, groups)
        self._set_up(
            (in_channels, out_channels // groups), (in_channels, out_channels), kernel_size, stride, dilation, groups, bias, padding_mode,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.padding, self.output_padding = several(padding, self.dims), several(output_padding, self.dims)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        if output_size is not None:
            raise NotImplementedError(f"{type(self).__name__}: output_size is not supported; give output_padding to the constructor")
        convolve = F.conv_transpose1d if self.dims == 1 else F.conv_transpose2d
        return convolve(input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    """The transpose of Conv1d's map: x (N, in_channels, L), weight (in_channels, out_channels/groups, *kernel_size)."""

    dims = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of Conv2d's map: x (N, in_channels, H, W), weight (in_channels, out_channels/groups, *kernel_size).

    padding_mode other than 'zeros' raises an error, as in PyTorch. Start: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in from weight.shape[1:].
    """

    dims = 2


class _MaxPool(Module):
    pool: Any

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return self.pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode, return_indices=self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest value of each window of (N, C, L); see `functional.max_pool1d`."""

    pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest value of each window of (N, C, H, W); see `functional.max_pool2d`."""

    pool = staticmethod(F.max_pool2d)


class AvgPool1d(Module):
    """The mean of each window of (N, C, L); see `functional.avg_pool1d`."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True):
        super().__init__()
        self.kernel_size, self.stride, self.padding = (
            several(kernel_size, 1),
            several(kernel_size if stride is None else stride, 1),
            several(padding, 1),
        )
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window; see `functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AdaptiveAvgPool(Module):
    pool: Any

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return self.pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of output_size windows of (N, C, L)."""

    pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of as many windows of (N, C, H, W) as output_size says; None keeps that extent."""

    pool = staticmethod(F.adaptive_avg_pool2d)


class _AdaptiveMaxPool(Module):
    pool: Any

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        return self.pool(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest values of output_size windows of (N, C, L)."""

    pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest values of as many windows of (N, C, H, W) as output_size says; None keeps that extent."""

    pool = staticmethod(F.adaptive_max_pool2d)


class LocalResponseNorm(Module):
    """Each value divided by a power of the mean square over `size` neighbouring channels; see `functional.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class _BatchNorm(Module):
    _counted: tuple[int, Any, int] = (0, None, -1)  # num_batches_tracked on the host, and the memory and version that it was read at
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    ndims: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        where: dict[str, Any] = dict(device=device, dtype=dtype)
        self.register_parameter("weight", _empty(num_features, **where) if affine else None)
        self.register_parameter("bias", _empty(num_features, **where) if affine and bias else None)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, _creation.empty(num_features, **where) if track_running_stats else None)
        count = _creation.zeros((), dtype=np.int64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            self.running_mean.zero_()  # type: ignore[union-attr]
            self.running_var.fill_(1)  # type: ignore[union-attr]
            self.num_batches_tracked.zero_()  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        _ones_and_zeros(self)

    def arguments(self, input: Tensor) -> tuple[Any, ...]:
        """What functional.batch_norm takes after the input."""
        if input.ndim not in self.ndims:
            wanted = " or ".join(f"{n}D" for n in self.ndims)
            raise ShapeError(f"{type(self).__name__}: expected {wanted} input (got {input.ndim}D input of shape {tuple(input.shape)})")
        momentum = self.momentum
        if momentum is None:  # the plain average of all batches, this one included
            momentum = 1 / (self._batches() + 1) if self.training and self.num_batches_tracked is not None else 0.0
        keep = not self.training or self.track_running_stats
        use_batch = self.training or (self.running_mean is None and self.running_var is None)
        mean, var = (self.running_mean, self.running_var) if keep else (None, None)
        return mean, var, self.weight, self.bias, use_batch, momentum, self.eps

    def count(self) -> None:
        """A batch was normalised; after it, so that bad input changes nothing."""
        tracked = self.num_batches_tracked
        if self.training and self.track_running_stats and tracked is not None:
            batches = self._batches() + 1 if self.momentum is None else None
            tracked.add_(1)
            if batches is not None:
                self._counted = (batches, tracked._storage, tracked._version)

    def _batches(self) -> int:
        """num_batches_tracked as a number, read from the device only after someone else wrote it."""
        tracked: Any = self.num_batches_tracked
        number, storage, version = self._counted
        return number if storage is tracked._storage and version == tracked._version else int(tracked.item())

    def forward(self, input: Tensor) -> Tensor:
        out = F.batch_norm(input, *self.arguments(input))
        self.count()
        return out

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L): each channel to mean 0 and variance 1 over the batch, then weight and bias.

    In training the batch's own statistics are used and the running ones move by `momentum` (None: the average over all batches); in eval
    mode the running ones are used. Source: Ioffe & Szegedy 2015, arXiv:1502.03167.
    """

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W); see BatchNorm1d."""

    ndims = (4,)


class Dropout(Module):
    """In training each element is 0 with probability p and the rest are scaled by 1/(1-p); in eval mode nothing happens.

    ValueError for a p outside [0, 1]. Source: Srivastava et al. 2014, JMLR 15.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: the dropout probability must be between 0 and 1, not {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """As Dropout, but whole channels of (N, C, L) or (C, L) are 0. Source: Tompson et al. 2015, arXiv:1411.4280."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(Dropout):
    """As Dropout, but whole channels of (N, C, H, W) are 0. Source: Tompson et al. 2015, arXiv:1411.4280."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(Dropout):
    """As Dropout, but whole channels of (N, C, D, H, W) are 0. Source: Tompson et al. 2015, arXiv:1411.4280."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(Dropout):
    """Dropout for networks of SELU; see `functional.alpha_dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(Dropout):
    """As AlphaDropout, for whole channels of (N, C, ...)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)


class Flatten(Module):
    """Dimensions start_dim to end_dim become one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Dimension dim becomes several, of sizes unflattened_size."""

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise NotImplementedError(f"Unflatten: dim must be an integer, not {dim!r}; named dimensions are not supported")
        self.dim, self.unflattened_size = dim, as_shape((unflattened_size,))

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class LayerNorm(Module):
    """Each sample's last dimensions (of normalized_shape) to mean 0 and variance 1, then weight and bias.

    Source: Ba et al. 2016, arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = as_shape((normalized_shape,))
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shape = self.normalized_shape
        self.register_parameter("weight", _empty(*shape, device=device, dtype=dtype) if elementwise_affine else None)
        self.register_parameter("bias", _empty(*shape, device=device, dtype=dtype) if elementwise_affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _ones_and_zeros(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"


class GroupNorm(Module):
    """Groups of channels of each sample (N, C, ...) to mean 0 and variance 1, then weight and bias. Source: Wu & He 2018, arXiv:1803.08494."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels = {num_channels} must be divisible by num_groups = {num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.register_parameter("weight", _empty(num_channels, device=device, dtype=dtype) if affine else None)
        self.register_parameter("bias", _empty(num_channels, device=device, dtype=dtype) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _ones_and_zeros(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class _InstanceNorm(Module):
    """Each channel of each sample to mean 0 and variance 1, then weight and bias. Source: Ulyanov et al. 2016, arXiv:1607.08022."""

    dims: tuple[int, int]  # with a batch, without one

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False, track_running_stats: bool = False,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name in ("weight", "bias"):
            wanted = affine and (bias or name == "weight")
            self.register_parameter(name, _empty(num_features, device=device, dtype=dtype) if wanted else None)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, _creation.empty(num_features, device=device, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", _creation.zeros((), dtype=np.int64, device=device) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            self.running_mean.zero_()  # type: ignore[union-attr]
            self.running_var.fill_(1)  # type: ignore[union-attr]
            self.num_batches_tracked.zero_()  # type: ignore[union-attr]

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        _ones_and_zeros(self)

    def forward(self, input: Tensor) -> Tensor:
        kind = type(self).__name__
        if input.ndim not in self.dims:
            raise ShapeError(
                f"{kind}: input is {tuple(input.shape)}; {self.dims[0]} dimensions are needed, or {self.dims[1]} without a batch"
            )
        alone = input.ndim == self.dims[1]
        x = input.unsqueeze(0) if alone else input
        if x.shape[1] != self.num_features:
            raise ShapeError(f"{kind}: input is {tuple(input.shape)}; its {x.shape[1]} channels must be num_features = {self.num_features}")
        use = self.training or not self.track_running_stats
        out = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, use, self.momentum, self.eps)
        return out.squeeze(0) if alone else out

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    """Of (N, C, L) or (C, L). See `functional.instance_norm`."""

    dims = (3, 2)


class InstanceNorm2d(_InstanceNorm):
    """Of (N, C, H, W) or (C, H, W). See `functional.instance_norm`."""

    dims = (4, 3)


class InstanceNorm3d(_InstanceNorm):
    """Of (N, C, D, H, W) or (C, D, H, W). See `functional.instance_norm`."""

    dims = (5, 4)


class Embedding(Module):
    """Row i of weight (num_embeddings, embedding_dim) for each index i; row padding_idx starts at 0 and gets no gradient. Start: N(0, 1)."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ):
        super().__init__()
        for name, value in options.items():  # max_norm, norm_type, scale_grad_by_freq, sparse
            raise NotImplementedError(f"Embedding: {name}={value!r} is not supported")
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding: padding_idx {padding_idx} must be within num_embeddings = {num_embeddings}")
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = _empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}" + ("" if self.padding_idx is None else f", padding_idx={self.padding_idx}")
