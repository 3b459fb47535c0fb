"""Losses of one value an element: squares, absolute values, Huber's, binary cross-entropy, Kullback-Leibler."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from gpudl import _dtypes, kernels, ops
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import check_float, check_tensor
from gpudl.ops.cross_entropy import REDUCTIONS, check_reduction
from gpudl.ops.elementwise import is_flat

BLOCK = 256
EACH = 8  # elements a thread
KINDS = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "kl_div",
    "kl_div_log",
)
_finish = Step("pointwise_loss_finish", grid=lambda reduction: int(reduction > 0), block=BLOCK)
operands = ("x", "t", "w")


def _flat(dims: Any) -> bool:
    return is_flat(dims, 3, scalars=False)


ladder(
    "pointwise_loss.forward",
    Kernel(
        "01_naive.cu", Step("pointwise_loss_fwd", grid=lambda size: ceil_div(size, BLOCK), block=BLOCK), _finish, BLOCK=BLOCK,
        strided=operands, workspace={"values": lambda size, reduction: ((size if reduction else 1,), "acc")},
        traffic=lambda size, third, reduction, itemsize: size * ((2 + third) * itemsize + (2 * max(itemsize, 4) if reduction else itemsize)),
    ),
    *[
        Kernel(
            name, Step("pointwise_loss_fwd", grid=lambda size: ceil_div(size, BLOCK * EACH), block=BLOCK), _finish, BLOCK=BLOCK, EACH=EACH,
            strided=strided, when=when, workspace={"values": lambda size: ((ceil_div(size, BLOCK * EACH),), "acc")},
            traffic=lambda size, third, reduction, itemsize: size * (2 + third + (reduction == 0)) * itemsize,
        )
        for name, strided, when in (("02_block_sum.cu", operands, None), ("03_vector.cu", (), _flat))
    ],
)  # fmt: skip
ladder(
    "pointwise_loss.backward",
    Kernel(
        "01_naive.cu", grid=lambda size: ceil_div(size, BLOCK), block=BLOCK, BLOCK=BLOCK, strided=operands,
        traffic=lambda size, third, need_x, need_t, itemsize: size * (3 + third + need_x + need_t) * itemsize,
    ),
    Kernel(
        "02_vector.cu", grid=lambda size, itemsize: ceil_div(size * itemsize, 16 * BLOCK), block=BLOCK, BLOCK=BLOCK, when=_flat,
        traffic=lambda size, third, reduction, need_x, need_t, itemsize: (
            size * (2 + third + need_x + need_t + (itemsize / 16 if reduction else 1)) * itemsize
        ),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------ public functions
def mse_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """Squared differences (x - t)^2; dx = 2 (x - t) dy.

    input: floating, any shape; target broadcasts with it (a warning where the shapes differ, as in PyTorch). reduction: "none", "mean"
    (NaN for empty inputs, as in PyTorch) or "sum"; weight multiplies the losses before, and the mean then divides by its sum.
    Differentiable in both. ShapeError for shapes that do not broadcast, TypeError for integer inputs, ValueError for an unknown reduction.
    """
    return _compared("mse_loss", MSELoss, input, target, size_average, reduce, reduction, weight)


def l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """Absolute differences |x - t|; dx = sign(x - t) dy, 0 where they are equal. Arguments as `mse_loss`."""
    return _compared("l1_loss", L1Loss, input, target, size_average, reduce, reduction, weight)


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """(x - t)^2 / (2 beta) where |x - t| < beta, else |x - t| - beta / 2. Arguments as `mse_loss`; RuntimeError for a negative beta.

    Source: Girshick 2015, "Fast R-CNN", arXiv:1504.08083.
    """
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss: beta {beta!r} must not be negative")
    return _compared("smooth_l1_loss", SmoothL1Loss, input, target, size_average, reduce, reduction, None, beta)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None) -> Tensor:
    """(x - t)^2 / 2 where |x - t| <= delta, else delta (|x - t| - delta / 2). Arguments as `mse_loss`, but a weighted mean
    divides by the number of losses, as in PyTorch; RuntimeError unless delta > 0.

    Source: Huber 1964, doi:10.1214/aoms/1177703732.
    """
    if not delta > 0:
        raise RuntimeError(f"huber_loss: delta {delta!r} must be greater than 0")
    return _compared("huber_loss", HuberLoss, input, target, None, None, reduction, weight, delta)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Binary cross-entropy of logits, stable for any logit.

        loss = (1 - t) x + (1 + (pos_weight - 1) t) log(1 + exp(-x))
        dx   = ((1 - t) sigmoid(x) - pos_weight t sigmoid(-x)) dy

    input: floating logits; target: the same shape, floating, usually in [0, 1] (a NaN gives NaN). weight: broadcasts to the losses and
    multiplies them; pos_weight: broadcasts to input, multiplies the loss of positive targets (no gradient of it is known:
    NotImplementedError). reduction: "none", "mean" or "sum". Differentiable in input, target and weight. ShapeError for other shapes.
    """
    name = "binary_cross_entropy_with_logits"
    reduction = check_reduction(name, reduction, size_average, reduce)
    input, target = _same_shape(name, input, target)
    if pos_weight is not None:
        check_tensor(name, pos_weight=pos_weight)
        _broadcasts(name, "pos_weight", pos_weight, input)
        if pos_weight.requires_grad:
            raise NotImplementedError(f"{name}: no gradient of pos_weight is known; use pos_weight.detach()")
        if pos_weight.dtype != input.dtype:
            raise TypeError(f"{name}: pos_weight is {pos_weight.dtype} and input is {input.dtype}; they must be equal")
    return _weighted(name, lambda r: BCEWithLogits.apply(input, target, pos_weight, reduction=r, p=0.0), input, weight, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross-entropy of probabilities: -(t log x + (1 - t) log(1 - x)), each logarithm at least -100, as in PyTorch.

    input: probabilities; other arguments as `binary_cross_entropy_with_logits`, which is more exact. RuntimeError for an input outside
    [0, 1]: at once on the CPU and in the emulator, at the next synchronisation on a GPU; a NaN gives NaN.
    """
    name = "binary_cross_entropy"
    reduction = check_reduction(name, reduction, size_average, reduce)
    input, target = _same_shape(name, input, target)
    return _weighted(name, lambda r: BCELoss.apply(input, target, None, reduction=r, p=0.0), input, weight, reduction)


def kl_div(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Kullback-Leibler divergence of log-probabilities `input` from `target`: t (log t - x), 0 where t = 0; exp(t) (t - x) with log_target.

    reduction: also "batchmean", the sum over input.shape[0], which is the mathematical definition. Other arguments as `mse_loss`.
    """
    batchmean = reduction == "batchmean"
    reduction = "sum" if batchmean else check_reduction("kl_div", reduction, size_average, reduce)
    out = _compared("kl_div", KLDivLog if log_target else KLDiv, input, target, None, None, reduction, None, warn=False)
    return out / max(input.shape[0], 1) if batchmean and input.ndim else out


# -------------------------------------------------------------------------------------------------------------------------- helpers
def _compared(
    name: str, op: Any, x: Any, t: Any, size_average: Any, reduce: Any, reduction: str, weight: Any, p: float = 0.0, warn: bool = True
) -> Tensor:
    reduction = check_reduction(name, reduction, size_average, reduce)
    check_tensor(name, input=x, target=t)
    check_float(name, input=x)
    try:
        np.broadcast_shapes(x.shape, t.shape)
    except ValueError:
        raise ShapeError(f"{name}: input is {tuple(x.shape)} and target is {tuple(t.shape)}, which do not broadcast") from None
    if x.shape != t.shape and warn:
        warnings.warn(
            f"{name}: target is {tuple(t.shape)} and input is {tuple(x.shape)}; broadcasting them is rarely meant. "
            "Did you mean target.reshape(input.shape)?", stacklevel=3,
        )  # fmt: skip
    x, t = _promoted(x, t)
    if weight is None:
        return op.apply(x, t, None, reduction=reduction, p=float(p))
    check_tensor(name, weight=weight)
    losses = op.apply(x, t, None, reduction="none", p=float(p)) * weight
    if reduction != "mean":
        return losses if reduction == "none" else losses.sum()
    return losses.sum() / (losses.numel() if name == "huber_loss" else weight.expand(losses.shape).sum())  # PyTorch's choice


def _promoted(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    dtype = _dtypes.promote_types(x.dtype, t.dtype)
    return (x if x.dtype == dtype else x.to(dtype)), (t if t.dtype == dtype else t.to(dtype))


def _same_shape(name: str, x: Any, t: Any) -> tuple[Tensor, Tensor]:
    check_tensor(name, input=x, target=t)
    check_float(name, input=x, target=t)
    if x.shape != t.shape:
        raise ShapeError(
            f"{name}: target is {tuple(t.shape)} and input is {tuple(x.shape)}; they must be equal. Did you mean target.reshape(input.shape)?"
        )
    return _promoted(x, t)


def _broadcasts(name: str, what: str, w: Tensor, x: Tensor) -> None:
    try:
        fits = np.broadcast_shapes(w.shape, x.shape) == tuple(x.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{name}: {what} is {tuple(w.shape)} and does not broadcast to input's {tuple(x.shape)}")


def _weighted(name: str, loss: Any, x: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return loss(reduction)
    check_tensor(name, weight=weight)
    _broadcasts(name, "weight", weight, x)
    losses = loss("none") * weight
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.sum() / losses.numel()


def _softplus(x: Any) -> Any:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


# ------------------------------------------------------------------------------------------------------------------------------ ops
class _PointwiseLoss(Op):
    """A loss of one value an element. A subclass gives, for NumPy arrays, value, dx and dt of (x, t, p, w), and dx and dt for Tensors."""

    ladders = ("pointwise_loss.forward", "pointwise_loss.backward")
    checked = False
    value: ClassVar[Callable[..., Any]]
    dx: ClassVar[Callable[..., Any]]
    dt: ClassVar[Callable[..., Any]]
    graph: ClassVar[Callable[..., Any]]

    def forward_cpu(self, x: Any, t: Any, w: Any, reduction: str, p: float) -> Any:
        if self.checked and ((x < 0) | (x > 1)).any():
            raise RuntimeError(
                f"{self.name}: all elements of input should be between 0 and 1, one is {x[(x < 0) | (x > 1)].flat[0]}; see sigmoid"
            )
        self.save(x=x, t=t, w=w)
        value = self.value(x, t, p, w)
        if reduction == "none":
            return np.asarray(value)
        return np.asarray(value.sum() if reduction == "sum" else value.sum() / value.dtype.type(value.size), value.dtype)

    def backward_cpu(self, dy: Any, x: Any, t: Any, w: Any, reduction: str, p: float) -> Any:
        g = self._scaled(dy, x, t, reduction)
        return self.dx(x, t, p, w) * g if self.needs[0] else None, self.dt(x, t, p, w) * g if self.needs[1] else None, None

    @staticmethod
    def _scaled(dy: Any, x: Any, t: Any, reduction: str) -> Any:
        if reduction != "mean":
            return dy
        size = np.broadcast(np.empty(x.shape, bool), np.empty(t.shape, bool)).size if x.shape != t.shape else int(np.prod(x.shape))
        return dy / max(size, 1)

    def _operands(self, x: Any, t: Any, w: Any, reduction: str, p: float) -> tuple[dict[str, Any], tuple[int, ...]]:
        """What both passes take, and the shape that x, t and w broadcast to."""
        shape = np.broadcast_shapes(x.shape, t.shape)
        wide = self.device.xp.broadcast_to
        third = int(w is not None)
        w = x if w is None else w  # stands for an array that the kernel does not read
        x, t, w = (a if a.shape == shape else wide(a, shape) for a in (x, t, w))
        dims, size = kernels.dims(shape, x, t, w), int(np.prod(shape))
        kind = KINDS.index(self.name)
        return dict(x=x, t=t, w=w, dims=dims, size=size, kind=kind, p=p, third=third, reduction=REDUCTIONS[reduction]), shape

    def forward_kernel(self, x: Any, t: Any, w: Any, reduction: str, p: float) -> Any:
        operands, shape = self._operands(x, t, w, reduction, p)
        loss = self.device.empty(shape if reduction == "none" else (), x.dtype)
        self.launch("pointwise_loss.forward", **operands, loss=loss, flag=self.device.flag(), checked=int(self.checked))
        self.save(x=x, t=t, w=w)
        return loss

    def backward_kernel(self, dy: Any, x: Any, t: Any, w: Any, reduction: str, p: float) -> Any:
        operands, shape = self._operands(x, t, w, reduction, p)
        dx, dt = (self.device.empty(shape, x.dtype) if need else None for need in self.needs[:2])
        self.launch(
            "pointwise_loss.backward", dy=dy, **operands, dx=dt if dx is None else dx, dt=dx if dt is None else dt, need_x=int(self.needs[0]),
            need_t=int(self.needs[1]),
        )  # fmt: skip
        return dx, dt, None

    def backward_graph(self, dy: Tensor, x: Tensor, t: Tensor, w: Any, reduction: str, p: float) -> Any:
        g = self._scaled(dy, x, t, reduction)
        dx, dt = self.graph(x, t, p, w)
        return dx * g if self.needs[0] else None, dt * g if self.needs[1] else None, None

    def cost(x: Any, t: Any, *_: Any, **options: Any) -> Cost:
        written = x.nbytes if options.get("reduction") == "none" else x.itemsize
        return Cost(bytes=x.nbytes + t.nbytes + written, flops=4 * x.size)


def _pairs(rng: Any, draw: Any = None, large: bool = False) -> Any:
    draw = draw or (lambda shape: rng.normal(0, 2, size=shape))
    yield Sample(draw((3, 7)), draw((3, 7)))
    yield Sample(draw(()), draw(()), reduction="sum")
    yield Sample(draw((2, 3, 5)), draw((2, 3, 5)), reduction="none")
    if large:  # two blocks of rung 02, which all formulas share
        yield Sample(draw((33, 65)), draw((33, 65)), reduction="sum", _gradgrad=False)
    yield Sample(draw((4, 5)).T, draw((5, 4)), reduction="mean")
    yield Sample(np.zeros((0, 3)), np.zeros((0, 3)), reduction="sum")


class MSELoss(_PointwiseLoss, name="mse_loss"):
    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        d = x - t
        return d * d

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return 2 * (x - t)

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return 2 * (t - x)

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        d = (x - t) * 2
        return d, -d

    def literals() -> Any:
        yield [np.array([1.0, 2.0]), np.array([3.0, 1.0])], 2.5
        yield [np.array([1.0, 2.0]), np.array([3.0, 1.0])], 5.0, dict(reduction="sum")

    def samples(rng: Any) -> Any:
        yield from _pairs(rng, large=True)
        yield Sample(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), weight=rng.uniform(0.5, 1, size=(4, 3)))

    def errors() -> Any:
        yield (
            Sample(np.zeros((2, 3)), np.zeros(2)),
            RuntimeError,
            r"mse_loss: input is \(2, 3\) and target is \(2,\), which do not broadcast",
        )
        yield Sample(np.zeros(3, np.int64), np.zeros(3)), TypeError, r"mse_loss: input is int64; a floating dtype is needed"
        yield Sample(np.zeros(3), np.zeros(3), reduction="avg"), ValueError, r"mse_loss: reduction 'avg' is not a valid value"


class L1Loss(_PointwiseLoss, name="l1_loss"):
    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.abs(x - t)

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.sign(x - t)

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.sign(t - x)

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        return (x - t).sign(), (t - x).sign()

    def literals() -> Any:
        yield [np.array([1.0, 2.0]), np.array([3.0, 1.0])], 1.5

    def samples(rng: Any) -> Any:
        yield from _pairs(rng)


class SmoothL1Loss(_PointwiseLoss, name="smooth_l1_loss"):
    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        d = np.abs(x - t)
        return np.where(d < p, 0.5 * d * d / (p or 1), d - 0.5 * p)

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        d = x - t
        return np.where(np.abs(d) < p, d / (p or 1), np.sign(d))

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return self.dx(t, x, p, w)

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        d = x - t
        slope = (d / p).clamp(-1, 1) if p else d.sign()
        return slope, -slope

    def literals() -> Any:
        yield [np.array([1.0, 2.0]), np.array([4.0, 1.0]), None, None, "none"], [2.0, 0.25], dict(beta=2.0)

    def samples(rng: Any) -> Any:
        yield from _pairs(rng)
        yield Sample(rng.normal(size=7), rng.normal(size=7), beta=0.3)
        yield Sample(rng.normal(size=7), rng.normal(size=7), beta=0.0)

    def errors() -> Any:
        yield Sample(np.zeros(3), np.zeros(3), beta=-1.0), RuntimeError, r"smooth_l1_loss: beta -1.0 must not be negative"


class HuberLoss(_PointwiseLoss, name="huber_loss"):
    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        d = np.abs(x - t)
        return np.where(d <= p, 0.5 * d * d, p * (d - 0.5 * p))

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.clip(x - t, -p, p)

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.clip(t - x, -p, p)

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        d = (x - t).clamp(-p, p)
        return d, -d

    def literals() -> Any:
        yield [np.array([1.0, 2.0]), np.array([4.0, 1.0]), "none"], [4.0, 0.5], dict(delta=2.0)

    def samples(rng: Any) -> Any:
        yield from _pairs(rng)
        yield Sample(rng.normal(size=7), rng.normal(size=7), delta=0.3)

    def errors() -> Any:
        yield Sample(np.zeros(3), np.zeros(3), delta=0.0), RuntimeError, r"huber_loss: delta 0.0 must be greater than 0"


class BCEWithLogits(_PointwiseLoss, name="binary_cross_entropy_with_logits"):
    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        positive = 1 if w is None else 1 + (w - 1) * t  # 0 * t would make an infinite target NaN
        return (1 - t) * x + positive * _softplus(-x)

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return (1 - t) * _sigmoid(x) - (1 if w is None else w) * t * _sigmoid(-x)

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return -x if w is None else (w - 1) * _softplus(-x) - x

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        positive, extra = (t, -x) if w is None else (t * w, (w - 1.0) * ops.softplus(-x) - x)
        return (1 - t) * x.sigmoid() - positive * (-x).sigmoid(), extra

    def literals() -> Any:
        x, t = np.array([0.0, np.log(3.0), -1000.0, 1000.0]), np.array([1.0, 0.0, 1.0, 1.0])
        yield [x, t, None, None, None, "none"], [np.log(2), np.log(4), 1000.0, 0.0]
        yield [x, t], (np.log(8) + 1000) / 4
        yield [x, t, np.array([1.0, 2.0, 0.0, 1.0])], (np.log(2) + 2 * np.log(4)) / 4
        yield [x[:2], t[:2], None, None, None, "none", np.array([3.0, 3.0])], [3 * np.log(2), np.log(4)]

    def samples(rng: Any) -> Any:
        yield from _pairs(rng)
        x, t = rng.normal(size=(4, 5)), rng.uniform(size=(4, 5))
        yield Sample(x, t, pos_weight=rng.uniform(0.5, 3, size=5), _constant=("pos_weight",))
        yield Sample(
            x,
            t,
            weight=rng.uniform(0.5, 3, size=(4, 1)),
            reduction="none",
            pos_weight=rng.uniform(0.5, 3, size=()),
            _constant=("pos_weight",),
        )

    def errors() -> Any:
        yield Sample(np.zeros((4, 1)), np.zeros(4)), ValueError, r"binary_cross_entropy_with_logits: target is \(4,\) and input is \(4, 1\)"
        yield Sample(np.zeros(4), np.zeros(4, np.int64)), TypeError, r"target is int64; a floating dtype is needed"
        yield Sample(np.zeros(4), np.zeros(4), np.zeros(3)), ValueError, r"weight is \(3,\) and does not broadcast to input's \(4,\)"
        yield Sample(np.zeros(4), np.zeros(4), pos_weight=np.zeros(3)), ValueError, r"pos_weight is \(3,\) and does not broadcast"
        yield Sample(np.zeros(4), np.zeros(4), pos_weight=np.zeros(4)), NotImplementedError, r"no gradient of pos_weight"


class BCELoss(_PointwiseLoss, name="binary_cross_entropy"):
    checked = True

    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return (t - 1) * np.maximum(np.log1p(-x), -100) - t * np.maximum(np.log(x), -100)

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return (x - t) / np.maximum((1 - x) * x, 1e-12)

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.maximum(np.log1p(-x), -100) - np.maximum(np.log(x), -100)

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        return (x - t) / ((1 - x) * x).clamp(1e-12), (-x).log1p().clamp(-100) - x.log().clamp(-100)

    def literals() -> Any:
        yield [np.array([0.5, 0.25, 0.0]), np.array([1.0, 0.0, 1.0]), None, None, None, "none"], [np.log(2), np.log(4 / 3), 100.0]

    def samples(rng: Any) -> Any:
        yield from _pairs(rng, lambda shape: rng.uniform(0.1, 0.9, size=shape))
        x, t = rng.uniform(0.1, 0.9, size=(2, 4, 5))
        yield Sample(x, t, weight=rng.uniform(0.5, 3, size=5))

    def errors() -> Any:
        x = np.array([0.5, 1.5])
        yield Sample(x, np.zeros(2)), RuntimeError, r"binary_cross_entropy: all elements of input should be between 0 and 1, one is 1.5"
        yield Sample(x, np.zeros((2, 1))), ValueError, r"target is \(2, 1\) and input is \(2,\)"


class KLDiv(_PointwiseLoss, name="kl_div"):
    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.where(t == 0, 0, t * np.log(t)) - t * x

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.broadcast_to(-t, np.broadcast_shapes(x.shape, t.shape))

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.log(t) + 1 - x

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        return -t + x * 0, t.log() + 1 - x

    def literals() -> Any:
        yield [np.log([[0.5, 0.5]]), np.array([[1.0, 0.0]]), None, None, "batchmean"], np.log(2)

    def samples(rng: Any) -> Any:
        yield from _pairs(rng, lambda shape: rng.uniform(0.1, 0.9, size=shape))
        yield Sample(-rng.uniform(0.1, 2, size=(4, 5)), rng.uniform(0.1, 0.9, size=(4, 5)), reduction="batchmean")


class KLDivLog(_PointwiseLoss, name="kl_div_log", function="_kl_div_log"):
    def value(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.exp(t) * (t - x)

    def dx(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.broadcast_to(-np.exp(t), np.broadcast_shapes(x.shape, t.shape))

    def dt(self, x: Any, t: Any, p: float, w: Any) -> Any:
        return np.exp(t) * (t - x + 1)

    def graph(self, x: Tensor, t: Tensor, p: float, w: Any) -> Any:
        e = t.exp()
        return x * 0 - e, e * (t - x + 1)

    def literals() -> Any:
        yield [np.log([[0.5, 0.5]]), np.log([[0.75, 0.25]]), None, None, "sum"], 0.75 * np.log(1.5) + 0.25 * np.log(0.5)

    def samples(rng: Any) -> Any:
        yield from _pairs(rng, lambda shape: rng.uniform(-2, 0, size=shape))


def _kl_div_log(*args: Any, **kwargs: Any) -> Tensor:
    return kl_div(*args, log_target=True, **kwargs)
