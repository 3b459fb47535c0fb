"""Activation functions as modules; the formulas are in `gpudl.nn.functional`."""

from __future__ import annotations

from typing import Any

from gpudl import _creation
from gpudl._tensor import Tensor
from gpudl.nn import functional as F
from gpudl.nn import init as _init
from gpudl.nn.layers import Linear
from gpudl.nn.module import Module
from gpudl.nn.parameter import Parameter


class Sigmoid(Module):
    """1 / (1 + exp(-x))"""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """tanh(x)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class LogSigmoid(Module):
    """log(sigmoid(x)), stable for large |x|"""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class _InPlace(Module):
    """With inplace=True the result overwrites the input; RuntimeError where a graph still needs it."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """max(0, x)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class ReLU6(_InPlace):
    """min(max(0, x), 6)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, self.inplace)


class SELU(_InPlace):
    """Scaled ELU that keeps mean 0 and variance 1. Source: Klambauer et al. 2017, arXiv:1706.02515."""

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class SiLU(_InPlace):
    """x * sigmoid(x)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(_InPlace):
    """x * tanh(softplus(x))"""

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class Hardsigmoid(_InPlace):
    """min(max(0, x + 3), 6) / 6"""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardswish(Hardsigmoid):
    """x * hardsigmoid(x). Source: Howard et al. 2019, arXiv:1905.02244."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class LeakyReLU(Module):
    """x for x > 0, negative_slope * x below"""

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False):
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x for x > 0, alpha * (exp(x) - 1) below. Source: Clevert et al. 2015, arXiv:1511.07289."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class CELU(ELU):
    """x for x > 0, alpha * (exp(x / alpha) - 1) below. Source: Barron 2017, arXiv:1704.07483."""

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class GELU(Module):
    """x * Phi(x); approximate="tanh" for the tanh formula. Source: Hendrycks & Gimpel 2016, arXiv:1606.08415."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold"""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """x cut off at min_val and max_val"""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__()
        if not max_val > min_val:
            raise ValueError(f"Hardtanh: max_val {max_val} must be larger than min_val {min_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x for x > 0, a * x below, with a learned a: one, or one per channel (dimension 1). Source: He et al. 2015, arXiv:1502.01852."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init  # the argument's name is PyTorch's
        self.weight = Parameter(_creation.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softmax(Module):
    """exp(x) / sum(exp(x)) along dim"""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """log(softmax(x)) along dim"""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmin(Softmax):
    """softmax(-x) along dim"""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class Maxout(Module):
    """The largest of several linear functions of x: max_k(x @ w_k.T + b_k).

    x (..., in_features) to (..., out_features); weight (out_features * pieces, in_features), the pieces of one output in neighbouring rows,
    starting as a Linear's. Source: Goodfellow et al. 2013, arXiv:1302.4389.
    """

    def __init__(self, in_features: int, out_features: int, pieces: int = 2, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        if pieces < 1:
            raise ValueError(f"Maxout: pieces must be at least 1, not {pieces}")
        self.in_features, self.out_features, self.pieces = in_features, out_features, pieces
        made = Linear(in_features, out_features * pieces, bias, device, dtype)
        self.weight = made.weight
        self.register_parameter("bias", made.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.maxout(F.linear(input, self.weight, self.bias), self.pieces, dim=-1)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, pieces={self.pieces}, bias={self.bias is not None}"


class AdaptivePiecewiseLinear(Module):
    """An activation whose shape is learned, for each unit its own: y = max(0, x) + sum_s a[s] * max(0, b[s] - x).

    num_parameters: how many units x has along dim (channels of an image, features of a Linear); segments: how many hinges S each has.
    a and b are (segments, num_parameters) and start from U(-0.5, 0.5) and N(0, 0.5^2). ValueError for a count below 1 (segments: 0).
    Source: Agostinelli, Hoffman, Sadowski & Baldi 2014, arXiv:1412.6830.
    """

    def __init__(self, num_parameters: int, segments: int = 2, dim: int = 1, device: Any = None, dtype: Any = None):
        super().__init__()
        if num_parameters < 1 or segments < 0:
            raise ValueError(f"AdaptivePiecewiseLinear: num_parameters = {num_parameters} must be at least 1, segments = {segments} at least 0")
        self.num_parameters, self.segments, self.dim = num_parameters, segments, dim
        self.a = Parameter(_creation.empty(segments, num_parameters, device=device, dtype=dtype))
        self.b = Parameter(_creation.empty(segments, num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        _init.uniform_(self.a, -0.5, 0.5)
        _init.normal_(self.b, 0.0, 0.5)

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_piecewise_linear(input, self.a, self.b, self.dim)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}, segments={self.segments}, dim={self.dim}"
