"""Activation functions. Those of one operand share the ladders `unary.forward` and `unary.backward` (kernels/unary/functions.cuh)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import _creation, kernels
from gpudl._dtypes import bool_
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import axis, check_float, check_tensor
from gpudl.ops.elementwise import Smooth, Smooth2, numpy_erf, select

BLOCK = 256


# ----------------------------------------------------------------------------------------------------------------------- of one operand
_ROW = 16384
_zeros: dict[np.dtype, np.ndarray] = {}


def rectify(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """max(x, 0) in NumPy, NaN kept; out may be x. Against a row of zeros, because NumPy's maximum with a scalar is three times slower."""
    out = np.empty_like(x) if out is None else out
    row = _zeros.get(x.dtype)
    if row is None:
        row = _zeros[x.dtype] = np.zeros(_ROW, x.dtype)
    dense = x.flags.c_contiguous and out.flags.c_contiguous
    if not dense:  # such as channels-last: the axes in the order of memory
        order = np.argsort([-s for s in x.strides], kind="stable")
        left, right = x.transpose(order), out.transpose(order)
        dense = left.flags.c_contiguous and right.flags.c_contiguous
        if not dense:
            return np.maximum(x, x.dtype.type(0), out=out)
        flat, into = left.reshape(-1), right.reshape(-1)
    else:
        flat, into = x.reshape(-1), out.reshape(-1)
    whole = flat.size // _ROW * _ROW
    if whole:
        np.maximum(flat[:whole].reshape(-1, _ROW), row, out=into[:whole].reshape(-1, _ROW))
    np.maximum(flat[whole:], row[: flat.size - whole], out=into[whole:])
    return out


class Relu(Smooth, name="relu", keeps="y", worked=[(-1.5, 0.0), (2.0, 2.0), (0.0, 0.0), (np.nan, np.nan)]):
    ladders = ("unary.forward", "unary.backward")

    def value(self, x: Any) -> Any:
        return rectify(x)

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return m.where(y <= 0, 0.0, dy)  # 0 at 0; a NaN lets dy pass

    def errors() -> Any:
        yield Sample(np.zeros(2, bool)), DtypeError, r"relu: input is bool; numbers are needed"


class LeakyRelu(Smooth, name="leaky_relu", keeps="x"):
    def value(self, x: Any) -> Any:
        slope = self.params["p"]
        return np.maximum(x, x * slope) if 0 <= slope <= 1 else select(x > 0, x, x * slope)

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return m.where(x > 0, dy, dy * self.params["p"])

    def literals() -> Any:
        yield [np.array([-2.0, 0.0, 3.0]), 0.5], [-1.0, 0.0, 3.0]
        yield [np.array([-2.0, 3.0]), -0.5], [1.0, 3.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 5)))
        yield Sample(rng.normal(size=()), 0.3)
        yield Sample(rng.normal(size=(3, 4)), -0.3)
        yield Sample(rng.normal(size=(0, 4)))
        yield Sample(rng.normal(size=(4, 5)), 1.5)

    def cost(x: Any, negative_slope: float = 0.01, inplace: bool = False) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=2 * x.size)


class Elu(Smooth, name="elu", keeps="y"):
    def value(self, x: Any) -> Any:
        y = np.expm1(np.minimum(x, 0))
        y *= self.params["p"]
        return select(x > 0, x, y)

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return m.where(y > 0, dy, dy * (y + self.params["p"]))

    def literals() -> Any:
        yield [np.array([-math.log(2.0), 0.0, 3.0]), 2.0], [-1.0, 0.0, 3.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 5)))
        yield Sample(rng.normal(size=()), 0.3)
        yield Sample(rng.normal(size=(4, 5)), -0.3, _halves=False)  # of several ops, each rounds

    def errors() -> Any:
        yield Sample(np.zeros(2, np.int64)), TypeError, r"elu: input is int64; a floating dtype is needed"

    def cost(x: Any, alpha: float = 1.0, inplace: bool = False) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=3 * x.size)


class Silu(Smooth, name="silu", keeps="x", worked=[(0.0, 0.0), (math.log(3.0), 0.75 * math.log(3.0))]):
    def value(self, x: Any) -> Any:
        y = np.exp(-x)
        y += 1
        return x / y

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        s = m.sigmoid(x)
        return dy * (s * (1 + x * (1 - s)))


class Softplus(Smooth, name="softplus", keeps="x"):
    def value(self, x: Any) -> Any:
        beta, threshold = self.params["p"], self.params["q"]
        z = x * beta
        return select(z > threshold, x, np.log1p(np.exp(np.minimum(z, threshold))) / beta)

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        z = x * self.params["p"]
        return m.where(z > self.params["q"], dy, dy * m.sigmoid(z))

    def literals() -> Any:
        yield [np.array([0.0, math.log(3.0), 30.0])], [math.log(2.0), math.log(4.0), 30.0]
        yield [np.array([0.0, 3.0]), 2.0, 1.0], [math.log(2.0) / 2, 3.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 5)))
        yield Sample(rng.normal(size=()), 2.0)
        yield Sample(rng.normal(size=(4, 5)), beta=3.0, threshold=1.0)

    def cost(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=4 * x.size)


class LogSigmoid(Smooth, name="logsigmoid", keeps="x", worked=[(0.0, -math.log(2.0)), (math.log(3.0), math.log(0.75)), (-1000.0, -1000.0)]):
    def value(self, x: Any) -> Any:
        return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy * m.sigmoid(-x)


class Softsign(Smooth, name="softsign", keeps="x", worked=[(-1.0, -0.5), (3.0, 0.75)]):
    def value(self, x: Any) -> Any:
        return x / (1 + np.abs(x))

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        d = 1 + m.abs(x)
        return dy / (d * d)


class Hardtanh(Smooth, name="hardtanh", keeps="x"):
    def value(self, x: Any) -> Any:
        return np.minimum(np.maximum(x, self.params["p"]), self.params["q"])

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return m.where((x > self.params["p"]) & (x < self.params["q"]), dy, 0.0)  # 0 at the bounds, unlike clamp

    def literals() -> Any:
        yield [np.array([-2.0, 0.5, 3.0])], [-1.0, 0.5, 1.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 5)))
        yield Sample(rng.normal(size=()), -0.3, 2.0)

    def errors() -> Any:
        yield Sample(np.zeros(2), 1.0, -1.0), ValueError, r"hardtanh: min_val 1.0 must not be above max_val -1.0"

    def cost(x: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=2 * x.size)


class Gelu(Smooth, name="gelu", keeps="x", worked=[(0.0, 0.0), (1.0, 0.8413447460685429), (-10.0, 0.0)]):
    def value(self, x: Any) -> Any:
        y = numpy_erf()(x * x.dtype.type(math.sqrt(0.5)))
        return 0.5 * x * (1 + y)

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        cdf = 0.5 * (1 + m.erf(x * math.sqrt(0.5)))
        return dy * (cdf + x * (math.sqrt(0.5 / math.pi) * m.exp(-0.5 * x * x)))

    def errors() -> Any:
        yield Sample(np.zeros(2), approximate="erf"), RuntimeError, r"gelu: approximate 'erf'; it is 'none' or 'tanh'"


_SLOPE = math.sqrt(2 / math.pi)


class GeluTanh(Smooth, name="gelu_tanh", keeps="x", worked=[(0.0, 0.0), (1.0, 0.8411919906082768)]):
    def value(self, x: Any) -> Any:
        return 0.5 * x * (1 + np.tanh(_SLOPE * (x + 0.044715 * x * x * x)))

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        t = m.tanh(_SLOPE * (x + 0.044715 * x * x * x))
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (_SLOPE * (1 + 0.134145 * x * x)))


def _apply(op: type[Smooth], input: Tensor, inplace: bool = False, **numbers: float) -> Tensor:
    check_tensor(op.name, input=input)
    check_float(op.name, input=input)
    out = op.apply(input, dtype=input._array.dtype, compute=input._array.dtype, **numbers)
    return input._become(out, op.name + "_") if inplace else out


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(0, input), also for integers; gradient 0 at 0; a NaN stays. DtypeError for bools.

    inplace: write over the input; RuntimeError in backward where a graph needs its old value.
    """
    check_tensor("relu", input=input)
    dtype = input._array.dtype
    if dtype == bool_:
        raise DtypeError("relu: input is bool; numbers are needed")
    out = Relu.apply(input, dtype=dtype, compute=dtype)
    return input._become(out, "relu_") if inplace else out


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(0, input), 6); gradient 0 at both bounds. Floating dtypes."""
    return _apply(Hardtanh, input, inplace, p=0.0, q=6.0)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """input cut off at min_val and max_val; gradient 0 at both bounds. Floating dtypes; ValueError for min_val > max_val."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} must not be above max_val {max_val}")
    return _apply(Hardtanh, input, inplace, p=float(min_val), q=float(max_val))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(input + 3) / 6. Floating dtypes."""
    out = relu6(input + 3) / 6
    return input._become(out, "hardsigmoid_") if inplace else out


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * relu6(input + 3) / 6. Floating dtypes."""
    out = input * hardsigmoid(input)
    return input._become(out, "hardswish_") if inplace else out


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, negative_slope * input elsewhere; the gradient at 0 is negative_slope. Floating dtypes."""
    return _apply(LeakyRelu, input, inplace, p=float(negative_slope))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input) - 1) elsewhere. Floating dtypes. Source: Clevert et al. 2015, arXiv:1511.07289."""
    if alpha < 0:  # the sign of the output no longer tells which side it came from
        check_tensor("elu", input=input)
        from gpudl.ops.elementwise import expm1, where

        out = where(input > 0, input, alpha * expm1(input))
        return input._become(out, "elu_") if inplace else out
    return _apply(Elu, input, inplace, p=float(alpha))


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled ELU, which keeps mean 0 and variance 1. Floating dtypes. Source: Klambauer et al. 2017, arXiv:1706.02515."""
    out = elu(input, 1.6732632423543772) * 1.0507009873554805
    return input._become(out, "selu_") if inplace else out


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, alpha * (exp(input / alpha) - 1) elsewhere. Floating dtypes. Source: Barron 2017, arXiv:1704.07483."""
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    out = elu(input / alpha) * alpha if alpha > 0 else -celu(-input, -alpha)
    return input._become(out, "celu_") if inplace else out


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input). Floating dtypes. Source: Hendrycks & Gimpel 2016, arXiv:1606.08415; Ramachandran et al. 2017, arXiv:1710.05941."""
    return _apply(Silu, input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input)). Floating dtypes. Source: Misra 2019, arXiv:1908.08681."""
    out = input * softplus(input).tanh()
    return input._become(out, "mish_") if inplace else out


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), Phi the normal distribution function; approximate="tanh": 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Floating dtypes; RuntimeError for another `approximate`. Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: approximate {approximate!r}; it is 'none' or 'tanh'")
    return _apply(Gelu if approximate == "none" else GeluTanh, input)


def gelu_tanh(input: Tensor) -> Tensor:
    """gelu(input, approximate="tanh")."""
    return _apply(GeluTanh, input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta, and input itself where beta * input > threshold. Floating dtypes."""
    return _apply(Softplus, input, p=float(beta), q=float(threshold))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input)), without overflow. Floating dtypes."""
    return _apply(LogSigmoid, input)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|). Floating dtypes."""
    return _apply(Softsign, input)


# ------------------------------------------------------------------------------------------------------------------ with parameters learned
def _signs(rng: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    return rng.choice([-1, 1], size=shape) * rng.uniform(0.1, 2, size=shape), rng.normal(size=shape)


class PRelu(Smooth2, name="prelu", function="_prelu", worked=[(-2.0, 0.5, -1.0), (3.0, 0.5, 3.0), (-2.0, -1.0, 2.0)], draw=_signs):
    @staticmethod
    def numpy(x: Any, w: Any) -> Any:
        return np.asarray(select(x > 0, x, w * x))

    def derivatives(self, m: Any, dy: Any, x: Any, w: Any) -> Any:
        positive = x > 0
        dx = m.where(positive, dy, w * dy) if self.needs[0] else None
        return dx, m.where(positive, 0.0, x * dy) if self.needs[1] else None


def _prelu(x: Tensor, w: Tensor) -> Tensor:
    return PRelu.apply(x, w, dtype=x.dtype, compute=x.dtype)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, weight * input elsewhere; weight has one element, or one per channel (dimension 1).

    Equal floating dtypes. ShapeError for a weight that is not (1,) or (channels,). Source: He et al. 2015, arXiv:1502.01852.
    """
    check_tensor("prelu", input=input, weight=weight)
    check_float("prelu", input=input, weight=weight)
    if weight.dtype != input.dtype:
        raise DtypeError(f"prelu: input is {input.dtype} and weight is {weight.dtype}; convert one with .to(...)")
    if weight.ndim > 1:
        raise ShapeError(f"prelu: weight is {tuple(weight.shape)}; it has one element, or one per channel")
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.numel() != channels:
            raise ShapeError(f"prelu: weight has {weight.numel()} elements and input {tuple(input.shape)} has {channels} channel(s) in dimension 1")
        weight = weight.reshape(weight.numel(), *[1] * (input.ndim - 2))
    elif input.ndim == 0:
        weight = weight.reshape(())
    return _prelu(input, weight)
