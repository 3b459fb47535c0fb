"""Activation functions. Those of one operand share the ladders `unary.forward` and `unary.backward` (kernels/unary/functions.cuh)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl._creation import arange
from gpudl._dtypes import bool_
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import axis, check_float, check_tensor, rectify, select
from gpudl.ops.elementwise import Smooth, Smooth2, expm1, numpy_erf, where

BLOCK = 256
outputs: dict[str, Any] = dict(block=BLOCK, BLOCK=BLOCK, traffic=lambda M, K, I, itemsize: M * I * ((K + 1) * itemsize + 4))
inputs: dict[str, Any] = outputs | dict(traffic=lambda M, K, I, itemsize: M * I * ((K + 1) * itemsize + 4 * K))  # `which` for every piece
ladder(
    "maxout.forward",
    Kernel("01_naive.cu", grid=lambda M, I: ceil_div(M * I, BLOCK), **outputs),
    Kernel(
        "02_tile.cu",
        grid=lambda M: ceil_div(M, BLOCK),
        smem=lambda K, itemsize: BLOCK * K * itemsize,
        when=lambda K, I, itemsize: I == 1 and BLOCK * K * itemsize <= 48 * 1024,
        **outputs,
    ),
)
ladder(
    "maxout.backward",
    Kernel("01_naive.cu", grid=lambda M, I: ceil_div(M * I, BLOCK), **inputs),
    Kernel("02_inputs.cu", grid=lambda M, K, I: ceil_div(M * K * I, BLOCK), **inputs),
)
ladder(
    "adaptive_piecewise_linear.forward",
    Kernel(
        "01_naive.cu",
        grid=lambda O, U, I: ceil_div(O * U * I, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda O, U, I, S, itemsize: itemsize * O * U * I * (2 + 1.5 * S),  # the slopes of the hinges above x: half of them, say
    ),
    Kernel(
        "02_vector.cu",
        grid=lambda O, U, I, itemsize: ceil_div(O * U * I * itemsize, 16 * BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        align=16,
        when=lambda I, itemsize: I * itemsize % 16 == 0,
        traffic=lambda O, U, I, S, itemsize: itemsize * O * U * I * (2 + 2 * S * itemsize / 16),
    ),
)
_dx = Step("apl_bwd_dx", grid=lambda O, U, I: ceil_div(O * U * I, BLOCK), block=BLOCK)
# for dx: x, dy, dx, every hinge, and the slopes of those above x (half of them, say); for da and db: x and dy once for each of the S
sums: dict[str, Any] = dict(BLOCK=BLOCK, traffic=lambda O, U, I, S, itemsize: itemsize * (O * U * I * (3 + 3.5 * S) + 4 * S * U))
ladder(
    "adaptive_piecewise_linear.backward",
    Kernel("01_naive.cu", _dx, Step("apl_bwd_ab", grid=lambda S, U: ceil_div(S * U, BLOCK), block=BLOCK), **sums),
    Kernel(
        "02_block.cu",
        _dx,
        Step("apl_bwd_ab", grid=lambda S, U: (U, S), block=BLOCK),
        when=lambda S: S < 65536,
        **sums | {"traffic": lambda O, U, I, S, itemsize: itemsize * (O * U * I * (3 + 3.5 * S) + (3 + BLOCK) * S * U)},
    ),
)


# ----------------------------------------------------------------------------------------------------------------------- of one operand
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
        return dy / (d * d) + 0 * x  # NaN at infinity, as the quotient itself


class Hardtanh(Smooth, name="hardtanh", keeps="x"):
    def value(self, x: Any) -> Any:
        return np.clip(x, self.params["p"], self.params["q"])

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
    def forward_cpu(self, x: Any, dtype: Any, compute: Any) -> Any:
        if x.dtype == np.float32:
            from gpudl._cpu import pointwise

            flat = np.ascontiguousarray(x).reshape(-1)
            y, cdf = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
            pointwise.gelu(flat, y.reshape(-1), cdf.reshape(-1))
            self.save(x=x, cdf=cdf)
            return y
        cdf = np.asarray(numpy_erf()(x * x.dtype.type(math.sqrt(0.5))))
        cdf += 1
        cdf *= 0.5
        self.save(x=x, cdf=cdf)  # erf is the slow part
        return np.asarray(x * cdf)

    def backward_cpu(self, dy: Any, x: Any, cdf: Any) -> Any:
        if x.dtype == dy.dtype == np.float32:
            from gpudl._cpu import pointwise

            dx = np.empty(x.shape, x.dtype)
            pointwise.gelu_backward(*[np.ascontiguousarray(v).reshape(-1) for v in (dy, x, cdf)], dx.reshape(-1))
            return dx
        return dy * (cdf + x * (math.sqrt(0.5 / math.pi) * np.exp(-0.5 * x * x)))

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


def maxout(input: Tensor, pieces: int, dim: int = -1) -> Tensor:
    """The largest of each `pieces` neighbours along dim: (..., units * pieces, ...) to (..., units, ...).

    After a linear layer with units * pieces outputs: the maximum of that many affine functions. Floating dtypes; the gradient goes to the first
    largest. ValueError for pieces < 1, ShapeError where the size is not a multiple of pieces, IndexError for a dim out of range.
    Source: Goodfellow, Warde-Farley, Mirza, Courville & Bengio 2013, arXiv:1302.4389.
    """
    check_tensor("maxout", input=input)
    check_float("maxout", input=input)
    dim = axis("maxout", dim, input.ndim)
    if isinstance(pieces, bool) or not isinstance(pieces, int) or pieces < 1:
        raise ValueError(f"maxout: pieces must be a positive integer, not {pieces!r}")
    if input.ndim == 0 or input.shape[dim] % pieces:
        raise ShapeError(f"maxout: input is {tuple(input.shape)}; its dimension {dim} must be a multiple of pieces = {pieces}")
    return Maxout.apply(input, pieces=pieces, dim=dim)


class Maxout(Op, name="maxout"):
    def sizes(self, shape: tuple[int, ...], pieces: int, dim: int) -> tuple[tuple[int, ...], int, int]:
        """(shape of the result, M, I) for an input of this shape, seen as (M, pieces, I)."""
        out = (*shape[:dim], shape[dim] // pieces, *shape[dim + 1 :])
        return out, math.prod(out[: dim + 1]), math.prod(out[dim + 1 :])

    def forward_cpu(self, x: Any, pieces: int, dim: int) -> Any:
        out, M, I = self.sizes(x.shape, pieces, dim)
        rows = x.reshape(M, pieces, I)
        which = rows.argmax(1) if rows.size else np.zeros((M, I), np.int64)
        self.save(which=which)
        return np.take_along_axis(rows, which[:, None], 1).reshape(out)

    def backward_cpu(self, dy: Any, which: Any, pieces: int, dim: int) -> Any:
        dx = np.zeros((which.shape[0], pieces, which.shape[1]), dy.dtype)
        np.put_along_axis(dx, which[:, None], dy.reshape(which.shape)[:, None], 1)
        return dx.reshape(*dy.shape[:dim], -1, *dy.shape[dim + 1 :]) if dy.size else np.zeros(self.meta[0][0], dy.dtype)  # type: ignore[attr-defined]

    def forward_kernel(self, x: Any, pieces: int, dim: int) -> Any:
        out, M, I = self.sizes(x.shape, pieces, dim)
        y, which = self.device.empty(out, x.dtype), self.device.empty((M, I), np.int32)
        self.launch("maxout.forward", x=x, y=y, which=which, M=M, K=pieces, I=I)
        self.save(which=which)
        return y

    def backward_kernel(self, dy: Any, which: Any, pieces: int, dim: int) -> Any:
        dx = self.device.empty(self.meta[0][0], dy.dtype)  # type: ignore[attr-defined]
        self.launch("maxout.backward", dy=dy, which=which, dx=dx, M=which.shape[0], K=pieces, I=which.shape[1])
        return dx

    def backward_graph(self, dy: Tensor, which: Tensor, pieces: int, dim: int) -> Tensor:
        M, I = which.shape
        piece = arange(pieces, device=dy.device, dtype=which.dtype).reshape(1, pieces, 1)
        return where(which.reshape(M, 1, I) == piece, dy.reshape(M, 1, I), 0.0).reshape(self.meta[0][0])  # type: ignore[attr-defined]

    def literals() -> Any:
        yield [np.array([[1.0, 2.0, -1.0, -3.0]]), 2], [[2.0, -1.0]]
        yield [np.array([[1.0, 2.0], [np.nan, -3.0]]), 2, 0], [[np.nan, 2.0]]

    def samples(rng: Any) -> Any:
        def apart(*shape: int) -> Any:
            return rng.permutation(math.prod(shape)).reshape(shape) * 0.1 - 2

        yield Sample(apart(3, 10), 2)
        yield Sample(apart(2, 6, 3, 5), 3, 1)
        yield Sample(apart(300, 4), 4)
        yield Sample(apart(4, 3), 1, dim=0)
        yield Sample(np.zeros((0, 4)), 2)
        yield Sample(apart(6, 5).T, 3)

    def errors() -> Any:
        yield Sample(np.zeros((2, 5)), 2), ShapeError, r"maxout: input is \(2, 5\); its dimension 1 must be a multiple of pieces = 2"
        yield Sample(np.zeros((2, 5)), 0), ValueError, r"maxout: pieces must be a positive integer, not 0"

    def cost(x: Any, pieces: int, dim: int = -1) -> Cost:
        return Cost(bytes=x.nbytes + x.nbytes // pieces, flops=x.size)


def adaptive_piecewise_linear(input: Tensor, a: Tensor, b: Tensor, dim: int = 1) -> Tensor:
    """An activation whose shape is learned, for each unit along dim its own:

        y = max(0, x) + sum_s a[s, u] * max(0, b[s, u] - x)

    input: any shape with `units` along dim (for a 1-d input dim is 0); a, b: (S, units); equal floating dtypes. S = 0 is relu. At the hinges
    the gradient is the one of the flat side, as relu's. ShapeError where a and b do not fit.
    Source: Agostinelli, Hoffman, Sadowski & Baldi 2014, "Learning Activation Functions to Improve Deep Neural Networks", arXiv:1412.6830.
    """
    op = "adaptive_piecewise_linear"
    check_tensor(op, input=input, a=a, b=b)
    check_float(op, input=input, a=a, b=b)
    if not input.dtype == a.dtype == b.dtype:
        raise DtypeError(f"{op}: input is {input.dtype}, a is {a.dtype} and b is {b.dtype}; convert them to one dtype")
    dim = axis(op, 0 if input.ndim == 1 and dim == 1 else dim, input.ndim)
    units = input.shape[dim] if input.ndim else 1
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != units:
        raise ShapeError(f"{op}: a is {tuple(a.shape)} and b is {tuple(b.shape)}; both must be (S, {units}), the units of input {tuple(input.shape)}")
    return AdaptivePiecewiseLinear.apply(input, a, b, dim=dim)


class AdaptivePiecewiseLinear(Op, name="adaptive_piecewise_linear"):
    def sizes(self, x: Any, dim: int) -> tuple[int, int, int]:
        """x as (O, U, I)."""
        shape = tuple(x.shape) or (1,)
        return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])

    def forward_cpu(self, x: Any, a: Any, b: Any, dim: int) -> Any:
        self.save(x=x, a=a, b=b)
        each = x.reshape(self.sizes(x, dim))
        y = rectify(each)
        for slope, hinge in zip(a[:, :, None], b[:, :, None], strict=True):
            y += slope * np.maximum(hinge - each, 0)
        return y.reshape(x.shape)

    def backward_cpu(self, dy: Any, x: Any, a: Any, b: Any, dim: int) -> Any:
        each, g = x.reshape(self.sizes(x, dim)), dy.reshape(self.sizes(x, dim))
        factor = (each > 0).astype(x.dtype)
        da, db = np.empty_like(a), np.empty_like(b)
        for s, (slope, hinge) in enumerate(zip(a[:, :, None], b[:, :, None], strict=True)):
            below = hinge - each
            inside = below > 0
            factor -= slope * inside
            da[s] = (g * np.where(inside, below, 0)).sum((0, 2))
            db[s] = a[s] * (g * inside).sum((0, 2))
        return (g * factor).reshape(x.shape), da, db

    def forward_kernel(self, x: Any, a: Any, b: Any, dim: int) -> Any:
        self.save(x=x, a=a, b=b)
        y = self.device.empty(x.shape, x.dtype)
        O, U, I = self.sizes(x, dim)
        self.launch("adaptive_piecewise_linear.forward", x=x, a=a, b=b, y=y, O=O, U=U, I=I, S=a.shape[0])
        return y

    def backward_kernel(self, dy: Any, x: Any, a: Any, b: Any, dim: int) -> Any:
        dx, da, db = (self.device.empty(v.shape, v.dtype) for v in (x, a, b))
        O, U, I = self.sizes(x, dim)
        self.launch("adaptive_piecewise_linear.backward", dy=dy, x=x, a=a, b=b, dx=dx, da=da, db=db, O=O, U=U, I=I, S=a.shape[0])
        return dx, da, db

    def backward_graph(self, dy: Tensor, x: Tensor, a: Tensor, b: Tensor, dim: int) -> Any:
        each, g = x.reshape(1, *self.sizes(x, dim)), dy.reshape(1, *self.sizes(x, dim))
        S, U = a.shape
        slope, hinge = a.reshape(S, 1, U, 1), b.reshape(S, 1, U, 1)
        below = hinge - each
        inside = (below > 0).to(dy.dtype)
        dx = g * ((each > 0).to(dy.dtype) - (slope * inside).sum(0, keepdim=True))
        return dx.reshape(x.shape), (g * below * inside).sum((1, 3)), (g * slope * inside).sum((1, 3))

    def literals() -> Any:
        yield [np.array([[-2.0, 3.0], [0.5, -1.0]]), np.array([[0.5, -1.0]]), np.array([[0.0, 4.0]])], [[1.0, 2.0], [0.5, -5.0]]
        yield [np.array([-2.0, 3.0]), np.zeros((0, 2)), np.zeros((0, 2))], [0.0, 3.0]

    def samples(rng: Any) -> Any:
        for shape, units, S, dim in [((3, 5), 5, 2, 1), ((2, 3, 2, 4), 3, 1, 1), ((7,), 7, 3, 0), ((40, 3), 3, 2, 1), ((0, 3), 3, 1, 1)]:
            yield Sample(rng.normal(size=shape), rng.normal(size=(S, units)), rng.normal(size=(S, units)), dim)
        yield Sample(rng.normal(size=(4, 8, 16)), rng.normal(size=(2, 8)), rng.normal(size=(2, 8)))
        yield Sample(rng.normal(size=(5, 4)).T, rng.normal(size=(2, 5)), rng.normal(size=(2, 5)))

    def errors() -> Any:
        yield (
            Sample(np.zeros((2, 5)), np.zeros((1, 4)), np.zeros((1, 4))),
            ShapeError,
            r"adaptive_piecewise_linear: a is \(1, 4\) and b is \(1, 4\); both must be \(S, 5\)",
        )

    def cost(x: Any, a: Any, b: Any, dim: int = 1) -> Cost:
        return Cost(bytes=2 * x.nbytes + a.nbytes + b.nbytes, flops=x.size * (3 * a.shape[0] + 1))
