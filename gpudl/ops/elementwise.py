"""Elementwise operations of one, two and three operands, with PyTorch's broadcasting, result dtypes and gradients.

Each op is a small class: its NumPy function, its derivative as a formula that serves arrays and Tensors alike, hand-worked values, and a
name under which kernels/unary/functions.cuh and kernels/binary/functions.cuh hold the same two formulas as device functions. The base
classes do the rest. Every function here takes tensors of any shape and stride on any one device, and returns a new tensor on it; an empty
input gives an empty result. TypeError for what is not a Tensor (or a number, where an operand may be one), ShapeError (a ValueError and a
RuntimeError) for shapes that do not broadcast, DeviceError for tensors of two devices (a 0-d tensor of the CPU goes with any).
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._creation import zeros_like
from gpudl._dtypes import ALL, C_NAMES, bool_, float32, float64, int64
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor, wrap
from gpudl.autograd import Cost, Op, Sample, no_grad
from gpudl.kernels import Kernel, NumbaKernel, ceil_div, ladder
from gpudl.ops._common import check_tensor, constant, select, together
from gpudl.ops.copy import clone

BLOCK = 256


def is_flat(dims: Any, operands: int, scalars: bool) -> bool:
    """Whether each operand is one run of memory (or, with scalars, one number): what the merged dimensions show as a single step of 1 or 0."""
    if dims["ndim"][0] == 0:
        return True
    return dims["ndim"][0] == 1 and all(s == 1 or (scalars and s == 0) for s in dims["stride"][0, :operands, 0])


UNROLL = 4  # vectors that a thread of 04_several asks for before it needs the first: of one operand 4, of each of several 2


def pick(size: int, itemsize: int, sms: int) -> str:
    """The dispatch rule: several vectors a thread once vectors fill the GPU (2048 threads a multiprocessor) UNROLL times over."""
    return "04_several" if size * itemsize >= 2048 * sms * 16 * UNROLL else "03_vector"


def rungs(
    name: str, strided: tuple[str, ...], traffic: Callable[..., float], several: int = UNROLL, scalars: bool = False, vectors: Any = None, numba: str = ""
) -> None:  # fmt: skip
    """The ladder of an elementwise family over operands of these names: the same ideas in every family. vectors: 03's own traffic."""
    settings: dict[str, Any] = dict(block=BLOCK, BLOCK=BLOCK, dtypes=ALL, strided=strided, traffic=traffic)
    settings_flat = settings | {"when": lambda dims: is_flat(dims, len(strided), scalars)}
    found = [
        Kernel("01_naive.cu", grid=lambda size: ceil_div(size, BLOCK), **settings),
        Kernel("02_flat.cu", grid=lambda size, sms: min(ceil_div(size, BLOCK), 16 * sms), **settings_flat),
        Kernel(
            "03_vector.cu",
            grid=lambda size, sms, itemsize: min(ceil_div(size * itemsize, 16 * BLOCK), 16 * sms),
            **settings_flat | {"traffic": vectors or traffic},
        ),
    ]
    if several:
        grid = lambda size, sms, itemsize: min(max(size * itemsize // (16 * BLOCK * several), 1), 16 * sms)  # as many as have whole rounds
        found.append(Kernel("04_several.cu", grid=grid, UNROLL=several, **settings_flat))
    if numba:
        found.insert(0, NumbaKernel(numba, grid=lambda size: ceil_div(size, 64), **settings_flat | {"block": 64, "dtypes": (float32, float64)}))
    ladder(name, *found, choose=pick if several else None)


# Traffic is that of dense operands of one dtype; a cast, a bool result or an operand that is broadcast asks for less.
rungs("unary.forward", ("x",), lambda size, itemsize: 2 * size * itemsize, numba="forward_flat")
rungs("unary.backward", ("dy", "v"), lambda size, itemsize: 3 * size * itemsize, several=2, numba="backward_flat")
rungs("binary.forward", ("a", "b"), lambda size, itemsize: 3 * size * itemsize, several=2, scalars=True)
rungs("binary.backward", ("dy", "a", "b"), lambda size, itemsize, need: (3 + (need + 1) // 2) * size * itemsize, several=2, scalars=True)
rungs(
    "where.forward", ("condition", "a", "b"), lambda size, itemsize: (1 + 2 * itemsize) * size, several=0, scalars=True,
    vectors=lambda size, itemsize: (1 + 3 * itemsize) * size,
)  # fmt: skip
rungs("where.backward", ("condition", "dy"), lambda size, itemsize, need: (1 + (1 + (need + 1) // 2) * itemsize) * size, several=0, scalars=True)


# ------------------------------------------------------------------------------------------------------------------------ what ops share
NUMBERS = (bool, int, float, np.generic)


def operands(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor, np.dtype]:
    """Two operands, one of which may be a Python number, as Tensors, and the dtype they meet in; ShapeError where they do not broadcast."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        dtype = a._array.dtype if a._array.dtype == b._array.dtype else _dtypes.result_type(a, b)
        if a.device is not b.device:
            a, b = together(a, b)
        if a._array.shape != b._array.shape:
            broadcast(op, a, b)
        return a, b, dtype
    given, number = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(given, Tensor) or not isinstance(number, NUMBERS):
        wrong = number if isinstance(given, Tensor) else given
        hint = "; gpudl.tensor(...) makes a Tensor of it" if isinstance(wrong, (np.ndarray, list, tuple)) else ""
        raise TypeError(f"{op}: operands are {type(a).__name__} and {type(b).__name__}; Tensors and Python numbers are needed{hint}")
    value = number.item() if isinstance(number, np.generic) else number
    dtype = _dtypes.result_type(given, value)
    scalar = constant(value, computing(dtype), given.device)  # a half meets the number as it is, not rounded to a half first
    return (given, scalar, dtype) if given is a else (scalar, given, dtype)


def broadcast(op: str, *tensors: Tensor) -> tuple[int, ...]:
    """The common shape of the operands; ShapeError naming them where there is none."""
    try:
        return np.broadcast_shapes(*[t._array.shape for t in tensors])
    except ValueError:
        shapes = " and ".join(str(tuple(t.shape)) for t in tensors)
        raise ShapeError(
            f"{op}: shapes {shapes} do not broadcast; from the last axis on, sizes must be equal or 1. A reshape or unsqueeze may be missing"
        ) from None


def computing(dtype: np.dtype) -> np.dtype:
    """What values of this dtype are computed in: halves in float32, all others as they are."""
    return float32 if dtype in _dtypes.HALVES else dtype


def c_type(dtype: np.dtype) -> str:
    """The same for a kernel, where all integers are computed in 64 bits."""
    return C_NAMES[computing(dtype)] if _dtypes.is_float(dtype) else "int64_t"


def floating(dtype: np.dtype) -> np.dtype:
    """The dtype of a function whose values are no integers: that of its operands, or the default where those are integers."""
    return dtype if _dtypes.is_float(dtype) else _dtypes.get_default_dtype()


def numpy_erf() -> Callable[[Any], Any]:
    """The error function over arrays, which NumPy lacks: float32 to 8 units in the last place, float64 by C's own."""
    from gpudl._cpu import pointwise

    return pointwise.erf


# The names that derivatives use besides operators, for arrays; for Tensors it is gpudl.ops, which has the same.
arrays = SimpleNamespace(
    where=select, exp=np.exp, cos=np.cos, sin=np.sin, log=np.log, sign=lambda x: np.sign(select(np.isnan(x), 0.0, x)), abs=np.abs,
    trunc=np.trunc, floor_divide=np.floor_divide, pow=np.power, erf=lambda x: numpy_erf()(x), sigmoid=lambda x: 1 / (1 + np.exp(-x)), tanh=np.tanh,
)  # fmt: skip


def graph() -> Any:
    return sys.modules["gpudl.ops"]


class Pointwise(Op):
    """What one and two operands share: params `dtype`, the result's, and `compute`, the one that the operands meet in."""

    def _round(self, out: Any, arrays: Any) -> Any:
        dtype = self.params["dtype"]
        return out if out.dtype == dtype else out.astype(dtype)


def _wide(x: Any, dtype: np.dtype) -> Any:
    dtype = computing(dtype)
    return x if x.dtype == dtype else x.astype(dtype)


# ---------------------------------------------------------------------------------------------------------------------------- two operands
class Binary(Pointwise):
    """y = f(a, b) over the broadcast shape. A subclass says `numpy` (its ufunc) and, with worked = [(a, b, y), ...], values worked by hand."""

    numpy: ClassVar[Any]
    worked: ClassVar[Any] = ()
    draw: ClassVar[Any] = None
    ladders: ClassVar[tuple[str, ...]] = ()
    differentiable: ClassVar[bool] = True
    device_name: ClassVar[str]  # of the device functions

    def __init_subclass__(cls, name: str = "", worked: Any = (), draw: Any = None, **kwargs: Any):
        """draw(rng, shape): two operands to test with."""
        super().__init_subclass__(name=name, **kwargs)
        if name and "device_name" not in vars(cls):
            cls.device_name = name
        if worked:
            cls.worked, cls.draw = worked, draw
            cls.literals = lambda: _literals(worked)  # type: ignore[attr-defined]
            cls.samples = functools.partial(_binary_samples, cls)  # type: ignore[attr-defined]

    def forward_cpu(self, a: Any, b: Any, dtype: np.dtype, compute: np.dtype) -> Any:
        self.keep(a, b)
        return np.asarray(self.numpy(_wide(a, compute), _wide(b, compute)))

    def keep(self, a: Any, b: Any) -> None:
        """Save what backward needs."""

    def forward_kernel(self, a: Any, b: Any, dtype: np.dtype, compute: np.dtype) -> Any:
        self.keep(a, b)
        shape = a.shape if a.shape == b.shape else np.broadcast_shapes(a.shape, b.shape)
        a, b = self.spread(a, shape), self.spread(b, shape)
        y = self.device.empty(shape, dtype)
        self.launch(
            "binary.forward", {"F": f"{self.device_name}_fwd", "C": c_type(compute)},
            a=a, b=b, y=y, dims=kernels.dims(shape, a, b), size=y.size,
        )  # fmt: skip
        return y

    def spread(self, x: Any, shape: tuple[int, ...]) -> Any:
        return x if x.shape == shape else self.device.xp.broadcast_to(x, shape)

    # of ops that differ in their derivative alone: formula gives one or both
    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def errors() -> Any:  # type: ignore[misc]
        return ()

    def cost(a: Any, b: Any) -> Cost:  # type: ignore[misc]
        size = math.prod(np.broadcast_shapes(np.shape(a), np.shape(b)))
        itemsize = getattr(a, "itemsize", getattr(b, "itemsize", 4))
        return Cost(bytes=getattr(a, "nbytes", 0) + getattr(b, "nbytes", 0) + size * itemsize, flops=size)


class Smooth2(Binary):
    """A Binary whose gradients need its operands: `derivatives` gives both; `uses` says which operands each of them reads."""

    uses: ClassVar[tuple[str, str]] = ("ab", "ab")

    def keep(self, a: Any, b: Any) -> None:
        wanted = "".join(u for u, need in zip(self.uses, self.needs, strict=True) if need)
        self.save(a=a if "a" in wanted else None, b=b if "b" in wanted else None)

    def backward_cpu(self, dy: Any, a: Any, b: Any) -> Any:
        return self.derivatives(arrays, dy, a, b)

    def backward_graph(self, dy: Tensor, a: Any, b: Any) -> Any:
        return self.derivatives(graph(), dy, a, b)

    def backward_kernel(self, dy: Any, a: Any, b: Any) -> Any:
        da, db = (self.device.empty(dy.shape if need else (0,), dy.dtype) for need in self.needs)
        a = dy if a is None else self.spread(a, dy.shape)  # what is not read may be anything
        b = dy if b is None else self.spread(b, dy.shape)
        need = self.needs[0] + 2 * self.needs[1]
        self.launch(
            "binary.backward", {"DA": f"{self.device_name}_da", "DB": f"{self.device_name}_db", "NEED": need, "C": c_type(dy.dtype)},
            dy=dy, a=a, b=b, da=da, db=db, dims=kernels.dims(dy.shape, dy, a, b), size=dy.size, need=need,
        )  # fmt: skip
        return da if self.needs[0] else None, db if self.needs[1] else None


class Flat2(Binary):
    """A Binary without gradient: comparisons, integer results."""

    differentiable = False


def _literals(worked: Any) -> Any:
    *inputs, y = zip(*worked, strict=True)
    yield [np.array(x) for x in inputs], list(y)


def _binary_samples(cls: type[Binary], rng: Any) -> Any:
    draw = cls.draw or (lambda rng, shape: (rng.normal(size=shape), rng.normal(size=shape)))
    more = [((8300,), (8300,)), ((3, 1, 4), (5, 1)), ((), (2, 3)), ((9, 64), (64,))] if cls.ladders else []
    for left, right in [((), ()), ((3, 5), (3, 5)), ((4, 3), (3,)), ((0, 3), (1, 3)), ((5,), ()), *more]:
        a, b = draw(rng, np.broadcast_shapes(left, right))
        a, b = (np.array(x[tuple(slice(None, None if n > 1 else 1) for n in x.shape)]) for x in (a, b))
        a, b = _shrink(a, left), _shrink(b, right)
        yield Sample(a, b, _grad=cls.differentiable)
    a, b = draw(rng, (4, 3))
    yield Sample(a.T, b.T, _grad=cls.differentiable)


def _shrink(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The part of x that has this shape, which broadcasts to x's."""
    lead = x.ndim - len(shape)
    if 0 in x.shape:
        return np.zeros(shape, x.dtype)
    return np.ascontiguousarray(x[(0,) * lead + tuple(slice(0, n) for n in shape)]).reshape(shape)


def _apart(rng: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Operands at least 0.1 apart: no ties within a finite difference."""
    a = rng.normal(size=shape)
    return a, a + rng.choice([-1, 1], size=shape) * rng.uniform(0.1, 1, size=shape)


def _nonzero(rng: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    return rng.normal(size=shape), rng.choice([-1, 1], size=shape) * rng.uniform(0.5, 2, size=shape)


def _quotient(rng: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """a / b at least 0.2 from every integer, where remainders jump."""
    b = rng.choice([-1, 1], size=shape) * rng.uniform(0.5, 2, size=shape)
    return b * (rng.integers(-3, 3, size=shape) + rng.uniform(0.2, 0.8, size=shape)), b


def _ties(rng: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    return rng.integers(-2, 3, size=shape).astype(float), rng.integers(-2, 3, size=shape).astype(float)


class Add(Binary, name="add", worked=[(1.5, 2.0, 3.5), (-1.0, 1.0, 0.0)]):
    numpy = np.add
    ladders = ("binary.forward",)

    def backward_cpu(self, dy: Any) -> Any:
        return dy, dy

    backward_kernel = backward_cpu
    backward_graph = backward_cpu

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), np.zeros(2)), ShapeError, r"add: shapes \(2, 3\) and \(2,\) do not broadcast"
        yield Sample(np.zeros(2), [1.0]), TypeError, r"add: operands are Tensor and list; Tensors and Python numbers are needed; gpudl.tensor"
        yield Sample(np.zeros(2), "1"), TypeError, r"add: operands are Tensor and str"


class Sub(Binary, name="sub", worked=[(1.5, 2.0, -0.5), (-1.0, 1.0, -2.0)]):
    numpy = np.subtract

    def backward_cpu(self, dy: Any) -> Any:
        return dy, -dy if self.needs[1] else None

    backward_graph = backward_cpu

    def backward_kernel(self, dy: Any) -> Any:
        return dy, unary_launch(self, "neg_fwd", dy) if self.needs[1] else None

    def errors() -> Any:
        yield Sample(np.zeros(2, bool), np.zeros(2, bool)), DtypeError, r"sub: bools have no difference; use logical_xor"


class Mul(Smooth2, name="mul", worked=[(1.5, 2.0, 3.0), (-1.0, 0.5, -0.5)]):
    numpy = np.multiply
    uses = ("b", "a")
    ladders = ("binary.forward", "binary.backward")

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        return dy * b if self.needs[0] else None, dy * a if self.needs[1] else None


class Div(Smooth2, name="div", worked=[(1.5, 2.0, 0.75), (-1.0, 0.5, -2.0)], draw=_nonzero):
    numpy = np.true_divide
    uses = ("b", "ab")

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        da = dy / b
        return da, -da * (a / b) if self.needs[1] else None

    def errors() -> Any:
        yield Sample(np.ones(2), 2.0, rounding_mode="up"), ValueError, r"div: rounding_mode 'up'; it is None, 'trunc' or 'floor'"


class Maximum(Smooth2, name="maximum", worked=[(1.5, 2.0, 2.0), (3.0, 3.0, 3.0), (np.nan, 1.0, np.nan)], draw=_apart):
    numpy = np.maximum
    ladders = ("binary.backward",)

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        shared = m.where(a == b, dy * 0.5, dy)  # a tie is shared
        return m.where(a < b, 0.0, shared) if self.needs[0] else None, m.where(a > b, 0.0, shared) if self.needs[1] else None


class Minimum(Smooth2, name="minimum", worked=[(1.5, 2.0, 1.5), (3.0, 3.0, 3.0), (np.nan, 1.0, np.nan)], draw=_apart):
    numpy = np.minimum

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        shared = m.where(a == b, dy * 0.5, dy)
        return m.where(a > b, 0.0, shared) if self.needs[0] else None, m.where(a < b, 0.0, shared) if self.needs[1] else None


class Atan2(Smooth2, name="atan2", worked=[(1.0, 1.0, math.pi / 4), (0.0, -1.0, math.pi)], draw=_nonzero):
    numpy = np.arctan2

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        square = a * a + b * b
        g = m.where(square == 0, 0.0, dy / square)  # the angle of (0, 0) is 0 by convention, and flat
        return g * b, -g * a


def _nonzero_divisor(op: str, a: Any, b: Any) -> None:
    if not _dtypes.is_float(a.dtype) and (b == 0).any():
        raise ZeroDivision(f"{op}: an integer is divided by zero; floats give inf or nan instead")


class ZeroDivision(ZeroDivisionError, RuntimeError):
    """An integer division by zero: Python's exception and, as in PyTorch, a RuntimeError."""


def _checked(op: str, function: Any) -> Any:
    """The same, but an integer division by zero raises. A name is that of NumPy's function, which the CPU path computes faster."""

    def divide(a: Any, b: Any) -> Any:
        _nonzero_divisor(op, a, b)
        if not isinstance(function, str):
            return function(a, b)
        from gpudl._cpu import pointwise

        return pointwise.divide(function, a, b)

    return staticmethod(divide)


class Fmod(Smooth2, name="fmod", worked=[(5.5, 2.0, 1.5), (-5.5, 2.0, -1.5)], draw=_quotient):
    numpy = _checked("fmod", "fmod")
    uses = ("", "ab")

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        return dy, -dy * m.trunc(a / b) if self.needs[1] else None


class Remainder(Smooth2, name="remainder", worked=[(5.5, 2.0, 1.5), (-5.5, 2.0, 0.5)], draw=_quotient):
    numpy = _checked("remainder", "remainder")
    uses = ("", "ab")

    def errors() -> Any:
        yield Sample(np.array([1]), 0), RuntimeError, r"remainder: an integer is divided by zero; floats give inf or nan instead"
        yield Sample(np.ones(1, bool), np.ones(1, bool)), DtypeError, r"remainder: bool tensors cannot be divided; convert them with .int\(\)"

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        return dy, -dy * m.floor_divide(a, b) if self.needs[1] else None


class FloorDivide(Flat2, name="floor_divide", worked=[(5.5, 2.0, 2.0), (-5.5, 2.0, -3.0)], draw=_quotient):
    numpy = _checked("floor_divide", "floor_divide")

    def backward_graph(self, dy: Tensor) -> Any:
        return zeros_like(dy), zeros_like(dy)


def _trunc_divide(a: Any, b: Any) -> Any:
    return np.trunc(a / b) if _dtypes.is_float(a.dtype) else (a - np.fmod(a, b)) // b


class TruncDivide(Flat2, name="trunc_divide", worked=[(5.5, 2.0, 2.0), (-5.5, 2.0, -2.0)], draw=_quotient):
    numpy = _checked("div", _trunc_divide)

    def backward_graph(self, dy: Tensor) -> Any:
        return zeros_like(dy), zeros_like(dy)


def _power(a: Any, b: Any) -> Any:
    if _dtypes.is_float(a.dtype) or not (b < 0).any():
        return np.power(a, b)
    whole = np.power(a, np.maximum(b, 0))  # a negative power of an integer is 0 but for 1 and -1
    return np.where(b >= 0, whole, np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))).astype(a.dtype)


def _positive_base(rng: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    return rng.uniform(0.5, 2, size=shape), rng.normal(size=shape)


class Pow(Smooth2, name="pow", worked=[(2.0, 3.0, 8.0), (4.0, -0.5, 0.5), (0.0, 0.0, 1.0)], draw=_positive_base):
    numpy = staticmethod(_power)

    def derivatives(self, m: Any, dy: Any, a: Any, b: Any) -> Any:
        da = m.where(b == 0, 0.0, dy * (b * m.pow(a, b - 1))) if self.needs[0] else None
        if not self.needs[1]:
            return da, None
        flat = (a == 0) & (b >= 0)
        return da, m.where(flat, 0.0, dy * (m.pow(a, b) * m.log(a)))

    def errors() -> Any:
        yield Sample(np.array([2]), -1), RuntimeError, r"pow: integers to a negative integer power are not integers; convert the base with .float\(\)"


class Verdict2(Flat2):
    """A bool of two operands."""

    def cost(a: Any, b: Any) -> Cost:
        size = math.prod(np.broadcast_shapes(np.shape(a), np.shape(b)))
        return Cost(bytes=getattr(a, "nbytes", 0) + getattr(b, "nbytes", 0) + size, flops=size)


class Eq(Verdict2, name="eq", worked=[(1.0, 1.0, True), (1.0, 2.0, False), (np.nan, np.nan, False)], draw=_ties):
    numpy = np.equal


class Ne(Verdict2, name="ne", worked=[(1.0, 1.0, False), (1.0, 2.0, True), (np.nan, np.nan, True)], draw=_ties):
    numpy = np.not_equal


class Lt(Verdict2, name="lt", worked=[(1.0, 1.0, False), (1.0, 2.0, True), (2.0, 1.0, False)], draw=_ties):
    numpy = np.less
    ladders = ("binary.forward",)


class Le(Verdict2, name="le", worked=[(1.0, 1.0, True), (1.0, 2.0, True), (2.0, 1.0, False)], draw=_ties):
    numpy = np.less_equal


class Gt(Verdict2, name="gt", worked=[(1.0, 1.0, False), (1.0, 2.0, False), (2.0, 1.0, True)], draw=_ties):
    numpy = np.greater


class Ge(Verdict2, name="ge", worked=[(1.0, 1.0, True), (1.0, 2.0, False), (2.0, 1.0, True)], draw=_ties):
    numpy = np.greater_equal


class LogicalAnd(Verdict2, name="logical_and", worked=[(True, True, True), (True, False, False), (False, False, False)], draw=_ties):
    numpy = np.logical_and


class LogicalOr(Verdict2, name="logical_or", worked=[(True, True, True), (True, False, True), (False, False, False)], draw=_ties):
    numpy = np.logical_or


class LogicalXor(Verdict2, name="logical_xor", worked=[(True, True, False), (True, False, True), (False, False, False)], draw=_ties):
    numpy = np.logical_xor


def _whole(rng: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    return rng.integers(-9, 9, size=shape), rng.integers(-9, 9, size=shape)


class BitwiseAnd(Flat2, name="bitwise_and", worked=[(6, 3, 2), (-1, 5, 5)], draw=_whole):
    numpy = np.bitwise_and

    def errors() -> Any:
        yield Sample(np.ones(2), np.ones(2)), TypeError, r"bitwise_and: operands are float64 and float64; integers or bools are needed"


class BitwiseOr(Flat2, name="bitwise_or", worked=[(6, 3, 7), (0, 5, 5)], draw=_whole):
    numpy = np.bitwise_or


class BitwiseXor(Flat2, name="bitwise_xor", worked=[(6, 3, 5), (5, 5, 0)], draw=_whole):
    numpy = np.bitwise_xor


def check_alpha(op: str, alpha: Any, dtype: np.dtype) -> None:
    """DtypeError for a fraction that the result's dtype would lose without a word."""
    if isinstance(alpha, (float, np.floating)) and not _dtypes.is_float(dtype):
        raise DtypeError(f"{op}: alpha is {alpha!r} and the result {dtype}; an integer is needed, or convert the operands with .float()")


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other, broadcast. Either may be a number."""
    a, b, dtype = operands("add", input, other)
    check_alpha("add", alpha, dtype)
    return Add.apply(a, b if alpha == 1 else mul(b, alpha), dtype=dtype, compute=dtype)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other, broadcast. Either may be a number; DtypeError where either is bool."""
    a, b, dtype = operands("sub", input, other)
    if bool_ in (a.dtype, b.dtype) or isinstance(input, (bool, np.bool_)) or isinstance(other, (bool, np.bool_)):
        raise DtypeError("sub: bools have no difference; use logical_xor (^) or logical_not (~), or convert with .int() or .float()")
    check_alpha("sub", alpha, dtype)
    return Sub.apply(a, b if alpha == 1 else mul(b, alpha), dtype=dtype, compute=dtype)


def mul(input: Any, other: Any) -> Tensor:
    """input * other, broadcast. Either may be a number."""
    a, b, dtype = operands("mul", input, other)
    return Mul.apply(a, b, dtype=dtype, compute=dtype)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, broadcast. Either may be a number; integers give the default floating dtype.

    rounding_mode "trunc" rounds the quotient towards zero, "floor" down; both keep integers integers and have gradient 0.
    ValueError for another mode, RuntimeError for an integer division by zero on the CPU (elsewhere its value is 0).
    """
    if rounding_mode is not None:
        if rounding_mode not in ("trunc", "floor"):
            raise ValueError(f"div: rounding_mode {rounding_mode!r}; it is None, 'trunc' or 'floor'")
        return (trunc_divide if rounding_mode == "trunc" else floor_divide)(input, other)
    a, b, dtype = operands("div", input, other)
    dtype = floating(dtype)
    return Div.apply(a, b, dtype=dtype, compute=dtype)


def _remainder(op: type[Binary], a: Any, b: Any) -> Tensor:
    a, b, dtype = operands(op.name, a, b)
    if dtype == bool_:
        raise DtypeError(f"{op.name}: bool tensors cannot be divided; convert them with .int()")
    return op.apply(a, b, dtype=dtype, compute=dtype)


def _binary(op: type[Binary], a: Any, b: Any) -> Tensor:
    """Apply op, whose result has the dtype that the operands meet in."""
    a, b, dtype = operands(op.name, a, b)
    return op.apply(a, b, dtype=dtype, compute=dtype)


def trunc_divide(input: Any, other: Any) -> Tensor:
    """The quotient rounded towards zero: div(rounding_mode="trunc")."""
    return _remainder(TruncDivide, input, other)


def floor_divide(input: Any, other: Any) -> Tensor:
    """The quotient rounded down, as Python's //. Integers stay integers; RuntimeError for an integer division by zero on the CPU."""
    return _remainder(FloorDivide, input, other)


def remainder(input: Any, other: Any) -> Tensor:
    """input - floor(input / other) * other, as Python's %: the sign is the divisor's. Gradients 1 and -floor(input / other)."""
    return _remainder(Remainder, input, other)


def fmod(input: Any, other: Any) -> Tensor:
    """input - trunc(input / other) * other, as C's fmod: the sign is the dividend's. Gradients 1 and -trunc(input / other)."""
    return _remainder(Fmod, input, other)


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of the two, NaN where either is; the gradient goes to it, half to each in a tie."""
    return _binary(Maximum, input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of the two, NaN where either is; the gradient goes to it, half to each in a tie."""
    return _binary(Minimum, input, other)


def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the point (other, input), in (-pi, pi]; integers give floats."""
    a, b, dtype = operands("atan2", input, other)
    return Atan2.apply(a, b, dtype=floating(dtype), compute=floating(dtype))


def pow(input: Any, exponent: Any) -> Tensor:
    """input ** exponent, broadcast. Either may be a number.

        d input = exponent * input ** (exponent - 1), 0 where exponent is 0
        d exponent = input ** exponent * log(input), 0 where input is 0 and exponent >= 0

    Integers stay integers: RuntimeError for a negative integer number as exponent; in a tensor it gives 0 (or 1 and -1 for those bases).
    """
    if isinstance(exponent, (int, float)) and isinstance(input, Tensor):
        if exponent == 2 and input.dtype != bool_ and (isinstance(exponent, int) or _dtypes.is_float(input.dtype)):
            return square(input)
        if exponent == 0.5:  # PyTorch's choice, which shows at -0 and -inf
            return sqrt(input)
        if isinstance(exponent, int) and exponent < 0 and not _dtypes.is_float(input.dtype):
            raise RuntimeError("pow: integers to a negative integer power are not integers; convert the base with .float()")
    a, b, dtype = operands("pow", input, exponent)
    dtype = int64 if dtype == bool_ else dtype
    return Pow.apply(a, b, dtype=dtype, compute=dtype)


def _compare(op: type[Binary], a: Any, b: Any) -> Tensor:
    a, b, dtype = operands(op.name, a, b)
    return op.apply(a, b, dtype=bool_, compute=dtype)


def eq(input: Any, other: Any) -> Tensor:
    """input == other, element by element, broadcast; bool."""
    return _compare(Eq, input, other)


def ne(input: Any, other: Any) -> Tensor:
    """input != other, element by element, broadcast; bool."""
    return _compare(Ne, input, other)


def lt(input: Any, other: Any) -> Tensor:
    """input < other, element by element, broadcast; bool."""
    return _compare(Lt, input, other)


def le(input: Any, other: Any) -> Tensor:
    """input <= other, element by element, broadcast; bool."""
    return _compare(Le, input, other)


def gt(input: Any, other: Any) -> Tensor:
    """input > other, element by element, broadcast; bool."""
    return _compare(Gt, input, other)


def ge(input: Any, other: Any) -> Tensor:
    """input >= other, element by element, broadcast; bool."""
    return _compare(Ge, input, other)


def logical_and(input: Any, other: Any) -> Tensor:
    """Whether both are nonzero; bool."""
    return _compare(LogicalAnd, input, other)


def logical_or(input: Any, other: Any) -> Tensor:
    """Whether either is nonzero; bool."""
    return _compare(LogicalOr, input, other)


def logical_xor(input: Any, other: Any) -> Tensor:
    """Whether exactly one is nonzero; bool."""
    return _compare(LogicalXor, input, other)


def _bits(op: type[Binary], a: Any, b: Any) -> Tensor:
    x, y, dtype = operands(op.name, a, b)
    if _dtypes.is_float(dtype):
        raise DtypeError(f"{op.name}: operands are {x.dtype} and {y.dtype}; integers or bools are needed")
    return op.apply(x, y, dtype=dtype, compute=dtype)


def bitwise_and(input: Any, other: Any) -> Tensor:
    """input & other for integers and bools; DtypeError for floats."""
    return _bits(BitwiseAnd, input, other)


def bitwise_or(input: Any, other: Any) -> Tensor:
    """input | other for integers and bools; DtypeError for floats."""
    return _bits(BitwiseOr, input, other)


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """input ^ other for integers and bools; DtypeError for floats."""
    return _bits(BitwiseXor, input, other)


# ----------------------------------------------------------------------------------------------------------------------------- one operand
def unary_launch(op: Op, function: str, x: Any, dtype: Any = None, compute: Any = None, p: float = 0.0, q: float = 0.0) -> Any:
    """y = function(x) by the ladder `unary.forward`."""
    y = op.device.empty(x.shape, x.dtype if dtype is None else dtype)
    op.launch(
        "unary.forward", {"F": function, "C": c_type(x.dtype if compute is None else compute)},
        x=x, y=y, dims=kernels.dims(x.shape, x), size=y.size, p=p, q=q,
    )  # fmt: skip
    return y


class Unary(Pointwise):
    """y = f(x), with up to two numbers p and q.

    A subclass says `numpy` (or overrides `value`), keeps = "x" or "y" (what `derivative` is written in), and for the tests worked = [(x, y), ...]
    and the domain to draw from. Without `derivative` the gradient is 0, as that of floor and sign.
    """

    numpy: ClassVar[Any]
    keeps: ClassVar[str] = ""
    ladders: ClassVar[tuple[str, ...]] = ()
    differentiable: ClassVar[bool] = True
    device_name: ClassVar[str]

    def __init_subclass__(cls, name: str = "", keeps: str = "", domain: tuple[float, float] = (-2.0, 2.0), worked: Any = (), **kwargs: Any):
        super().__init_subclass__(name=name, **kwargs)
        if keeps:
            cls.keeps = keeps
        if name and "device_name" not in vars(cls):
            cls.device_name = name
        if worked:
            cls.literals = lambda: _literals(worked)  # type: ignore[attr-defined]
            cls.samples = functools.partial(_unary_samples, cls, domain)  # type: ignore[attr-defined]

    def value(self, x: Any) -> Any:
        return self.numpy(x)

    def forward_cpu(self, x: Any, dtype: np.dtype, compute: np.dtype, p: float = 0.0, q: float = 0.0) -> Any:
        y = np.asarray(self.value(_wide(x, compute)))
        if self.keeps:
            self.save(**{self.keeps: x if self.keeps == "x" else y})
        return y

    def forward_kernel(self, x: Any, dtype: np.dtype, compute: np.dtype, p: float = 0.0, q: float = 0.0) -> Any:
        y = unary_launch(self, f"{self.device_name}_fwd", x, dtype, compute, p, q)
        if self.keeps:
            self.save(**{self.keeps: x if self.keeps == "x" else y})
        return y

    def backward_graph(self, dy: Tensor) -> Tensor:
        return zeros_like(dy)

    def errors() -> Any:  # type: ignore[misc]
        return ()

    def cost(x: Any) -> Cost:  # type: ignore[misc]
        return Cost(bytes=2 * x.nbytes, flops=x.size)


class Smooth(Unary):
    """A Unary with a derivative: dx = derivative(dy, v), v the input or the output as `keeps` says; m has where, exp, ... for v's kind."""

    def derivative(self, m: Any, dy: Any, v: Any) -> Any:
        raise NotImplementedError

    def backward_cpu(self, dy: Any, x: Any, y: Any) -> Any:
        return self.derivative(arrays, dy, x if y is None else y)

    def backward_graph(self, dy: Tensor, x: Any, y: Any) -> Any:
        return self.derivative(graph(), dy, x if y is None else y)

    def backward_kernel(self, dy: Any, x: Any, y: Any) -> Any:
        v = x if y is None else y
        dx = self.device.empty(dy.shape, dy.dtype)
        self.launch(
            "unary.backward", {"F": f"{self.device_name}_bwd", "C": c_type(dy.dtype)},
            dy=dy, v=v, dx=dx, dims=kernels.dims(dy.shape, dy, v), size=dy.size, p=self.params.get("p", 0.0), q=self.params.get("q", 0.0),
        )  # fmt: skip
        return dx


def _unary_samples(cls: type[Unary], domain: tuple[float, float], rng: Any) -> Any:
    more = [(8300,), (3, 5, 2), (1,)] if cls.ladders else []
    for shape in [(), (0, 3), (7,), (4, 5), *more]:
        yield Sample(rng.uniform(*domain, size=shape), _grad=cls.differentiable)
    yield Sample(rng.uniform(*domain, size=(5, 6)).T, _grad=cls.differentiable)


class Neg(Unary, name="neg", worked=[(1.5, -1.5), (-2.0, 2.0)]):
    numpy = np.negative

    def backward_cpu(self, dy: Any) -> Any:
        return -dy

    backward_graph = backward_cpu

    def backward_kernel(self, dy: Any) -> Any:
        return unary_launch(self, "neg_fwd", dy)

    def errors() -> Any:
        yield Sample(np.zeros(2, bool)), DtypeError, r"neg: bool tensors have no negative; use logical_not"


class Abs(Smooth, name="abs", keeps="x", worked=[(-1.5, 1.5), (2.0, 2.0)]):
    numpy = np.abs
    ladders = ("unary.forward", "unary.backward")

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy * m.sign(x)

    def errors() -> Any:
        yield Sample(1.5), TypeError, r"abs: input must be a Tensor, not float; gpudl.tensor"


class Sign(Unary, name="sign", worked=[(-1.5, -1.0), (2.0, 1.0), (0.0, 0.0), (np.nan, 0.0)]):
    def value(self, x: Any) -> Any:
        return arrays.sign(x) if _dtypes.is_float(x.dtype) else x.copy() if x.dtype == bool_ else np.sign(x)


class Square(Smooth, name="square", keeps="x", worked=[(-1.5, 2.25), (3.0, 9.0)]):
    numpy = np.square

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy * (x + x)


class Reciprocal(Smooth, name="reciprocal", keeps="y", domain=(0.5, 2), worked=[(-4.0, -0.25), (0.0, np.inf)]):
    numpy = np.reciprocal

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return -dy * y * y


class Exp(Smooth, name="exp", keeps="y", worked=[(0.0, 1.0), (math.log(3.0), 3.0), (-np.inf, 0.0)]):
    numpy = np.exp
    ladders = ("unary.forward", "unary.backward")

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return dy * y


class Expm1(Smooth, name="expm1", keeps="y", worked=[(math.log(3.0), 2.0), (1e-12, 1.0000000000005e-12)]):
    numpy = np.expm1

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return dy * (y + 1)


class Log(Smooth, name="log", keeps="x", domain=(0.2, 4), worked=[(1.0, 0.0), (math.e, 1.0), (0.0, -np.inf), (-1.0, np.nan)]):
    numpy = np.log

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy / x


class Log1p(Smooth, name="log1p", keeps="x", domain=(-0.5, 3), worked=[(math.e - 1, 1.0), (1e-12, 9.999999999995e-13)]):
    numpy = np.log1p

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy / (x + 1)


class Log2(Smooth, name="log2", keeps="x", domain=(0.2, 4), worked=[(8.0, 3.0), (0.5, -1.0)]):
    numpy = np.log2

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy / (x * math.log(2))


class Log10(Smooth, name="log10", keeps="x", domain=(0.2, 4), worked=[(1000.0, 3.0), (0.1, -1.0)]):
    numpy = np.log10

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy / (x * math.log(10))


class Sqrt(Smooth, name="sqrt", keeps="y", domain=(0.2, 4), worked=[(9.0, 3.0), (0.25, 0.5), (-1.0, np.nan)]):
    numpy = np.sqrt

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return dy / (y + y)


class Rsqrt(Smooth, name="rsqrt", keeps="y", domain=(0.2, 4), worked=[(4.0, 0.5), (0.25, 2.0), (0.0, np.inf)]):
    def value(self, x: Any) -> Any:
        return 1 / np.sqrt(x)

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return -0.5 * dy * y * y * y


class Sin(Smooth, name="sin", keeps="x", worked=[(0.0, 0.0), (math.pi / 6, 0.5)]):
    numpy = np.sin

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy * m.cos(x)


class Cos(Smooth, name="cos", keeps="x", worked=[(0.0, 1.0), (math.pi / 3, 0.5)]):
    numpy = np.cos

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return -dy * m.sin(x)


class Tanh(Smooth, name="tanh", keeps="y", worked=[(math.log(2.0), 0.6), (0.0, 0.0), (np.inf, 1.0)]):
    numpy = np.tanh

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return dy * (1 - y * y)


class Sigmoid(Smooth, name="sigmoid", keeps="y", worked=[(0.0, 0.5), (math.log(3.0), 0.75), (-np.inf, 0.0), (-1e4, 0.0)]):
    def value(self, x: Any) -> Any:
        y = np.exp(-x)
        y += 1
        return np.reciprocal(y)

    def derivative(self, m: Any, dy: Any, y: Any) -> Any:
        return dy * (y * (1 - y))


class Erf(Smooth, name="erf", keeps="x", worked=[(0.0, 0.0), (0.5, 0.5204998778130465), (np.inf, 1.0)]):
    def value(self, x: Any) -> Any:
        return numpy_erf()(x)

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return dy * (2 / math.sqrt(math.pi) * m.exp(-x * x))


class Floor(Unary, name="floor", worked=[(1.5, 1.0), (-1.5, -2.0)]):
    numpy = np.floor


class Ceil(Unary, name="ceil", worked=[(1.5, 2.0), (-1.5, -1.0)]):
    numpy = np.ceil


class Round(Unary, name="round", worked=[(1.5, 2.0), (0.5, 0.0), (-2.5, -2.0), (1.2, 1.0)]):
    numpy = np.rint

    def errors() -> Any:
        yield Sample(np.ones(2), decimals=1), NotImplementedError, r"round: decimals=1 is not supported"


class Trunc(Unary, name="trunc", worked=[(1.5, 1.0), (-1.5, -1.0)]):
    numpy = np.trunc


class Clamp(Smooth, name="clamp", keeps="x"):
    def value(self, x: Any) -> Any:
        return np.clip(x, self.params["p"], self.params["q"])  # max where min is larger; NaN stays

    def derivative(self, m: Any, dy: Any, x: Any) -> Any:
        return m.where((x >= self.params["p"]) & (x <= self.params["q"]), dy, 0.0)  # 1 at the bounds

    def literals() -> Any:
        yield [np.array([-2.0, 0.5, 3.0, np.nan]), -1.0, 1.0], [-1.0, 0.5, 1.0, np.nan]
        yield [np.array([0.0, 2.0, 9.0]), 3.0, 1.0], [1.0, 1.0, 1.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(4, 5)), -0.5, 0.5)
        yield Sample(rng.normal(size=()), max=0.5)
        yield Sample(rng.normal(size=(3, 0)), min=0.5)
        yield Sample(rng.normal(size=(4, 5)), min=np.full(5, -0.5), max=np.full((4, 1), 0.5))

    def errors() -> Any:
        yield Sample(np.zeros(2)), RuntimeError, r"clamp: min or max must be given"

    def cost(x: Any, min: Any = None, max: Any = None) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=2 * x.size)


class ClampBetween(Op):
    """clamp with Tensors as bounds, either of which may be None. At NaN and where low >= high the gradients are PyTorch's."""

    name = "clamp"

    def forward_cpu(self, x: Any, low: Any, high: Any) -> Any:
        self.save(x=x, low=low, high=high)
        y = x if low is None else np.maximum(x, low)
        return np.asarray(y if high is None else np.minimum(y, high))

    def forward_kernel(self, x: Any, low: Any, high: Any) -> Any:
        self.save(x=x, low=low, high=high)
        with no_grad():
            y = wrap(x, self.device)
            for bound, op in ((low, maximum), (high, minimum)):
                y = y if bound is None else op(y, wrap(bound, self.device))
        return y._array

    def backward_graph(self, dy: Tensor, x: Tensor, low: Any, high: Any) -> Any:
        if high is None:
            return where(x >= low, dy, 0.0), where(x < low, dy, 0.0), None
        if low is None:
            return where(x <= high, dy, 0.0), None, where(x > high, dy, 0.0)
        inside, below, above = (x >= low) & (x <= high), (x < low) & (low < high), (x > high) | (high < low)
        return where(inside, dy, 0.0), where(below, dy, 0.0), where(above, dy, 0.0)


class Verdict(Unary):
    """A bool of one operand."""

    differentiable = False

    def cost(x: Any) -> Cost:
        return Cost(bytes=x.nbytes + x.size, flops=x.size)


class IsNan(Verdict, name="isnan", worked=[(np.nan, True), (np.inf, False), (1.0, False)]):
    numpy = np.isnan
    ladders = ("unary.forward",)


class IsInf(Verdict, name="isinf", worked=[(np.nan, False), (-np.inf, True), (1.0, False)]):
    numpy = np.isinf


class IsFinite(Verdict, name="isfinite", worked=[(np.nan, False), (np.inf, False), (1.0, True)]):
    numpy = np.isfinite


class LogicalNot(Verdict, name="logical_not", worked=[(0.0, True), (2.0, False)]):
    numpy = np.logical_not


class BitwiseNot(Unary, name="bitwise_not"):
    numpy = np.bitwise_not
    differentiable = False

    def literals() -> Any:
        yield [np.array([5, -1])], [-6, 0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.integers(-9, 9, size=(3, 4)))

    def errors() -> Any:
        yield Sample(np.ones(2)), TypeError, r"bitwise_not: input is float64; integers or bools are needed"


def _float(op: type[Unary], input: Tensor, **params: Any) -> Tensor:
    """Apply op, whose values are no integers."""
    check_tensor(op.name, input=input)
    dtype = floating(input._array.dtype)
    return op.apply(input, dtype=dtype, compute=dtype, **params)


def _same(op: type[Unary], input: Tensor, **params: Any) -> Tensor:
    """Apply op, which keeps the dtype."""
    check_tensor(op.name, input=input)
    dtype = input._array.dtype
    return op.apply(input, dtype=dtype, compute=dtype, **params)


def _test(op: type[Unary], input: Tensor) -> Tensor:
    check_tensor(op.name, input=input)
    return op.apply(input, dtype=bool_, compute=input._array.dtype)


def _rounded(op: type[Unary], input: Tensor) -> Tensor:
    check_tensor(op.name, input=input)
    return _same(op, input) if _dtypes.is_float(input.dtype) else clone(input)


def neg(input: Tensor) -> Tensor:
    """-input; DtypeError for bools."""
    if isinstance(input, Tensor) and input.dtype == bool_:
        raise DtypeError("neg: bool tensors have no negative; use logical_not (~)")
    return _same(Neg, input)


def positive(input: Tensor) -> Tensor:
    """The input itself."""
    check_tensor("positive", input=input)
    return input


def abs(input: Tensor) -> Tensor:
    """The absolute value; its gradient at 0 is 0."""
    return _same(Abs, input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN; gradient 0."""
    return _same(Sign, input)


def square(input: Tensor) -> Tensor:
    """input * input; bools give int64."""
    check_tensor("square", input=input)
    return _same(Square, input.long() if input.dtype == bool_ else input)


def reciprocal(input: Tensor) -> Tensor:
    """1 / input; integers give floats."""
    return _float(Reciprocal, input)


def exp(input: Tensor) -> Tensor:
    """e to the power of the input; integers give floats."""
    return _float(Exp, input)


def expm1(input: Tensor) -> Tensor:
    """exp(input) - 1, exact near 0; integers give floats."""
    return _float(Expm1, input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below; integers give floats."""
    return _float(Log, input)


def log1p(input: Tensor) -> Tensor:
    """log(1 + input), exact near 0; integers give floats."""
    return _float(Log1p, input)


def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2; integers give floats."""
    return _float(Log2, input)


def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10; integers give floats."""
    return _float(Log10, input)


def sqrt(input: Tensor) -> Tensor:
    """The square root; NaN below 0; integers give floats."""
    return _float(Sqrt, input)


def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(input); integers give floats."""
    return _float(Rsqrt, input)


def sin(input: Tensor) -> Tensor:
    """The sine of an angle in radians; integers give floats."""
    return _float(Sin, input)


def cos(input: Tensor) -> Tensor:
    """The cosine of an angle in radians; integers give floats."""
    return _float(Cos, input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent; integers give floats."""
    return _float(Tanh, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)); integers give floats."""
    return _float(Sigmoid, input)


def erf(input: Tensor) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to input; integers give floats."""
    return _float(Erf, input)


def floor(input: Tensor) -> Tensor:
    """The largest integer not above; gradient 0; integers stay as they are."""
    return _rounded(Floor, input)


def ceil(input: Tensor) -> Tensor:
    """The smallest integer not below; gradient 0; integers stay as they are."""
    return _rounded(Ceil, input)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to even; gradient 0; integers stay as they are. NotImplementedError for decimals other than 0."""
    if decimals != 0:
        raise NotImplementedError(f"round: decimals={decimals} is not supported; scale the input by a power of ten around round()")
    return _rounded(Round, input)


def trunc(input: Tensor) -> Tensor:
    """The integer part; gradient 0; integers stay as they are."""
    return _rounded(Trunc, input)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """min(max(input, min), max) with numbers or Tensors as bounds, either of which may be None; max where min > max; NaN stays.

    The gradient is 1 from min to max, both included; elsewhere it goes to the bound that is the result, where that is a Tensor.
    RuntimeError where neither bound is given.
    """
    check_tensor("clamp", input=input)
    if min is None and max is None:
        raise RuntimeError("clamp: min or max must be given")
    bounds = [b for b in (min, max) if b is not None]
    dtype = _dtypes.result_type(input, *bounds)
    if not _dtypes.is_float(dtype):  # in integers throughout: a double does not hold every int64
        for bound, op in ((min, maximum), (max, minimum)):
            input = input if bound is None else op(input, bound)
        return input
    if any(isinstance(b, Tensor) for b in bounds):
        given = together(input, *[b if isinstance(b, Tensor) else constant(b, dtype, input.device) for b in bounds])
        broadcast("clamp", *given)
        x, *rest = [t.to(dtype) for t in given]
        return ClampBetween.apply(x, None if min is None else rest[0], None if max is None else rest[-1])
    return Clamp.apply(
        input, dtype=dtype, compute=dtype, p=-math.inf if min is None else float(min), q=math.inf if max is None else float(max)
    )


def clip(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """As `clamp`."""
    return clamp(input, min, max)


def isnan(input: Tensor) -> Tensor:
    """Where the input is NaN; bool."""
    return _test(IsNan, input)


def isinf(input: Tensor) -> Tensor:
    """Where the input is infinite; bool."""
    return _test(IsInf, input)


def isfinite(input: Tensor) -> Tensor:
    """Where the input is neither infinite nor NaN; bool."""
    return _test(IsFinite, input)


def logical_not(input: Tensor) -> Tensor:
    """Where the input is zero; bool."""
    return _test(LogicalNot, input)


def bitwise_not(input: Tensor) -> Tensor:
    """~input for integers; logical_not for bools; DtypeError for floats."""
    check_tensor("bitwise_not", input=input)
    if _dtypes.is_float(input.dtype):
        raise DtypeError(f"bitwise_not: input is {input.dtype}; integers or bools are needed")
    return logical_not(input) if input.dtype == bool_ else _same(BitwiseNot, input)


# -------------------------------------------------------------------------------------------------------------------------- three operands
class Where(Pointwise, name="where"):
    ladders = ("where.forward", "where.backward")

    def forward_cpu(self, condition: Any, a: Any, b: Any, dtype: np.dtype) -> Any:
        self.save(condition=condition)
        return np.asarray(select(condition, _wide(a, dtype), _wide(b, dtype)))

    def backward_cpu(self, dy: Any, condition: Any) -> Any:
        return None, select(condition, dy, 0.0) if self.needs[1] else None, select(~condition, dy, 0.0) if self.needs[2] else None

    def forward_kernel(self, condition: Any, a: Any, b: Any, dtype: np.dtype) -> Any:
        self.save(condition=condition)
        shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
        condition, a, b = (self.device.xp.broadcast_to(x, shape) for x in (condition, a, b))
        y = self.device.empty(shape, dtype)
        self.launch("where.forward", y=y, condition=condition, a=a, b=b, dims=kernels.dims(shape, condition, a, b), size=y.size)
        return y

    def backward_kernel(self, dy: Any, condition: Any) -> Any:
        _, *needs = self.needs
        condition = self.device.xp.broadcast_to(condition, dy.shape)
        da, db = (self.device.empty(dy.shape if need else (0,), dy.dtype) for need in needs)
        self.launch(
            "where.backward", {"NEED": needs[0] + 2 * needs[1]},
            dy=dy, condition=condition, da=da, db=db, dims=kernels.dims(dy.shape, condition, dy), size=dy.size, need=needs[0] + 2 * needs[1],
        )  # fmt: skip
        return None, da if needs[0] else None, db if needs[1] else None

    def backward_graph(self, dy: Tensor, condition: Tensor) -> Any:
        return None, where(condition, dy, 0.0) if self.needs[1] else None, where(condition, 0.0, dy) if self.needs[2] else None

    def literals() -> Any:
        yield [np.array([True, False, True]), np.array([1.0, 2.0, np.inf]), np.array([-1.0, np.nan, -3.0])], [1.0, np.nan, np.inf]

    def samples(rng: Any) -> Any:
        def flip(*shape: int) -> Any:
            return np.asarray(rng.random(shape) < 0.5)

        yield Sample(flip(3, 5), rng.normal(size=(3, 5)), rng.normal(size=(3, 5)))
        yield Sample(flip(3, 1), rng.normal(size=(5,)), rng.normal(size=(2, 1, 1)))
        yield Sample(flip(), rng.normal(size=()), rng.normal(size=(4,)))
        yield Sample(flip(600), rng.normal(size=(600,)), 0.0)
        yield Sample(flip(1100), rng.normal(size=(1100,)), rng.normal(size=(1100,)))
        yield Sample(flip(4, 3).T, 2.0, rng.normal(size=(4, 3)).T)
        yield Sample(flip(0, 3), rng.normal(size=(0, 3)), rng.normal(size=(3,)))

    def errors() -> Any:
        yield Sample(np.ones(3), np.ones(3), np.ones(3)), TypeError, r"where: condition is float64; a bool tensor is needed. Compare: where\(x > 0, ...\)"
        yield Sample(np.ones(3, bool), np.ones(3), np.ones(2)), ShapeError, r"where: shapes \(3,\) and \(3,\) and \(2,\) do not broadcast"
        yield Sample(np.ones(3, bool), np.ones(3)), TypeError, r"where: give input and other, or neither"

    def cost(condition: Any, a: Any, b: Any) -> Cost:
        size = math.prod(np.broadcast_shapes(np.shape(condition), np.shape(a), np.shape(b)))
        itemsize = getattr(a, "itemsize", getattr(b, "itemsize", 4))
        return Cost(bytes=sum(getattr(v, "nbytes", 0) for v in (condition, a, b)) + size * itemsize, flops=0)


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where condition (bool), else other; broadcast. Either of the two may be a number.

    With condition alone: nonzero(condition, as_tuple=True). DtypeError for a condition that is not bool (uint8 is taken as well).
    """
    check_tensor("where", condition=condition)
    if input is None and other is None:
        return graph().nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise TypeError("where: give input and other, or neither")
    if condition.dtype == _dtypes.uint8:
        condition = condition.bool()
    if condition.dtype != bool_:
        raise DtypeError(f"where: condition is {condition.dtype}; a bool tensor is needed. Compare: where(x > 0, ...)")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        for number in (input, other):
            if not isinstance(number, NUMBERS):
                raise TypeError(
                    f"where: input and other are {type(input).__name__} and {type(other).__name__}; Tensors or numbers are needed"
                )
        dtype = _dtypes.result_type(input, other)
        a, b = constant(input, dtype, condition.device), constant(other, dtype, condition.device)
    else:
        a, b, dtype = operands("where", input, other) if _broadcasts(input, other) else (input, other, bool_)
    if not (condition.device is a.device is b.device):
        condition, a, b = together(condition, a, b)
    if condition.shape != a.shape or condition.shape != b.shape:
        broadcast("where", condition, a, b)
    return Where.apply(condition, a, b, dtype=dtype)


def _broadcasts(a: Any, b: Any) -> bool:
    """Left to the check of all three shapes where false, which names them all."""
    try:
        np.broadcast_shapes(*[t.shape for t in (a, b) if isinstance(t, Tensor)])
    except ValueError:
        return False
    return True


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """value (a number or a 0-d Tensor) where mask (bool), else input; broadcast; in input's dtype."""
    check_tensor("masked_fill", input=input, mask=mask)
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"masked_fill: value is a tensor of shape {tuple(value.shape)}; a number or a 0-d tensor is needed. See where()")
    broadcast("masked_fill", input, mask)
    out = where(mask, value, input)
    if out.dtype != input.dtype:
        if not _dtypes.can_cast(out.dtype, input.dtype):
            raise RuntimeError(f"masked_fill: value {value!r} does not fit into {input.dtype}; convert the input first")
        out = out.to(input.dtype)
    return out
