"""Fill tensors with starting values, under PyTorch's names. Each function writes into the tensor given and returns it.

The random numbers come from gpudl's counter-based generator on the tensor's device (`gpudl.manual_seed`), or from `generator=`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import autograd
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4} | {
    f"conv{transpose}{n}d": 1.0 for transpose in ("", "_transpose") for n in (1, 2, 3)
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks the standard deviation, inverted: 1 for linear and sigmoid, sqrt(2) for relu, ...

    param: the negative slope of leaky_relu (0.01). ValueError for a nonlinearity that is not known.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: the negative slope {slope!r} is not a valid number")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: unsupported nonlinearity {nonlinearity!r}; there are leaky_relu, {', '.join(_GAINS)}")
    return _GAINS[nonlinearity]


def _fans(what: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs a unit has, how many outputs an input feeds; w is (out, in, kernel...)."""
    if tensor.ndim < 2:
        raise ShapeError(f"{what}: fan in and fan out need a tensor of 2 or more dimensions, this one is {tuple(tensor.shape)}")
    area = math.prod(tensor.shape[2:])
    return tensor.shape[1] * area, tensor.shape[0] * area


@autograd.no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from U(a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@autograd.no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Draw from N(mean, std^2)."""
    return tensor.normal_(mean, std, generator=generator)


@autograd.no_grad()
def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None) -> Tensor:
    """Draw from N(mean, std^2) cut off at a and b (values, not multiples of std).

    The uniform numbers u between the normal cumulative values of a and b go through its inverse, mean + std * sqrt(2) * erfinv(2u - 1).
    ValueError unless a < b and std > 0.
    """
    if not a < b:
        raise ValueError(f"trunc_normal_: a = {a} must be smaller than b = {b}")
    if not std > 0:
        raise ValueError(f"trunc_normal_: std must be positive, not {std}")

    def cdf(x: float) -> float:
        return (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2

    low, high = 2 * cdf(a) - 1, 2 * cdf(b) - 1
    u = np.empty(tensor.shape)
    u[...] = _host_uniform(tensor, generator)
    values = mean + std * math.sqrt(2) * _erfinv(low + (high - low) * u)
    return tensor.copy_(np.clip(values, a, b))


def _host_uniform(tensor: Tensor, generator: Any) -> np.ndarray:
    """U(0, 1) numbers of the tensor's shape in host memory, from its own device's generator."""
    from gpudl import _creation

    drawn = _creation.empty(tensor.shape, device=tensor.device, dtype=np.float32)
    return drawn.uniform_(0.0, 1.0, generator=generator).cpu().numpy()


def _erfinv(y: np.ndarray) -> np.ndarray:
    """The inverse of erf: a closed approximation, then Newton steps in float64.

    Source of the start: S. Winitzki, "A handy approximation for the error function and its inverse", 2008.
    """
    y = np.clip(y, -1 + 2**-50, 1 - 2**-50)
    erf = np.vectorize(math.erf, otypes=[np.float64])
    a = 0.147
    log = np.log1p(-y * y)
    t = 2 / (math.pi * a) + log / 2
    x = np.copysign(np.sqrt(np.sqrt(t * t - log / a) - t), y)
    for _ in range(3):
        x = x - (erf(x) - y) * (math.sqrt(math.pi) / 2) * np.exp(x * x)
    return x


@autograd.no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    return tensor.fill_(val)


@autograd.no_grad()
def ones_(tensor: Tensor) -> Tensor:
    return tensor.fill_(1.0)


@autograd.no_grad()
def zeros_(tensor: Tensor) -> Tensor:
    return tensor.fill_(0.0)


@autograd.no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix. ShapeError for a tensor that is not 2-D."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: only tensors with 2 dimensions are supported, this one is {tuple(tensor.shape)}")
    return tensor.copy_(np.eye(*tensor.shape))


@autograd.no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (out, in, kernel...) that passes its input through: 1 at the kernel's middle from input i to output i."""
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_: only tensors with 3, 4, or 5 dimensions are supported, this one is {tuple(tensor.shape)}")
    if tensor.shape[0] % groups:
        raise ValueError(f"dirac_: {tensor.shape[0]} output channels cannot be divided by groups = {groups}")
    out = np.zeros(tensor.shape)
    per_group = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for g in range(groups):
        for i in range(min(per_group, tensor.shape[1])):
            out[(g * per_group + i, i, *middle)] = 1
    return tensor.copy_(out)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)). Source: Glorot & Bengio 2010."""
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    a = gain * math.sqrt(6 / max(fan_in + fan_out, 1))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """N(0, std^2) with std = gain * sqrt(2 / (fan_in + fan_out)). Source: Glorot & Bengio 2010."""
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(fan_in + fan_out, 1)), generator)


def _kaiming_std(what: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{what}: mode {mode!r} is not supported; use 'fan_in' or 'fan_out'")
    fan = _fans(what, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """U(-bound, bound) with bound = gain * sqrt(3 / fan); a is the slope of leaky_relu. Source: He et al. 2015, arXiv:1502.01852."""
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None) -> Tensor:
    """N(0, std^2) with std = gain / sqrt(fan); a is the slope of leaky_relu. Source: He et al. 2015, arXiv:1502.01852."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


@autograd.no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A random (semi-)orthogonal matrix of shape (rows, all the rest), times gain. Source: Saxe et al. 2013, arXiv:1312.6120."""
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: a tensor of 2 or more dimensions is needed, this one is {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        return tensor
    from gpudl import _creation

    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    drawn = _creation.empty(max(rows, columns), min(rows, columns), device=tensor.device, dtype=np.float32)
    q, r = np.linalg.qr(drawn.normal_(generator=generator).cpu().numpy().astype(np.float64))
    q = q * np.sign(np.diag(r))  # uniform over the orthogonal matrices
    return tensor.copy_((q if rows >= columns else q.T).reshape(tensor.shape) * gain)


@autograd.no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """N(0, std^2), with the fraction `sparsity` of each column set to zero. Source: Martens 2010."""
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: only tensors with 2 dimensions are supported, this one is {tuple(tensor.shape)}")
    normal_(tensor, 0.0, std, generator)
    order = _host_uniform(tensor, generator).argsort(axis=0)  # a random permutation of each column
    values = tensor.detach().cpu().numpy().copy()
    np.put_along_axis(values, order[: math.ceil(sparsity * tensor.shape[0])], 0, axis=0)
    return tensor.copy_(values)
