"""Cross-entropy of logits, and the negative log-likelihood of log-probabilities."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from gpudl import _dtypes
from gpudl._creation import arange
from gpudl._dtypes import HALVES
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import check_float, check_tensor
from gpudl.ops.log_softmax import log_softmax

BLOCK = 256  # rows per block, one thread each; threads of a row that has a block; threads of the block that adds the partial sums
ROWS = 4  # rows per block, one warp each
EACH = 4  # rows of a thread whose loads are in flight together
LONG = 2 * BLOCK  # classes from which on a row is worth a block
REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}  # loss.cuh
thread_row = dict(BLOCK=BLOCK, workspace={"partial": lambda M: ((2, ceil_div(M, BLOCK)), "acc")})
warp_row = dict(ROWS=ROWS, workspace={"partial": lambda M: ((2, ceil_div(M, ROWS)), "acc")}, when=lambda D: D == 1)
block_row = dict(BLOCK=BLOCK, workspace={"partial": lambda M: ((2, M), "acc")}, when=lambda D: D == 1)
vector = dict(align=16, when=lambda D, C, itemsize: D == 1 and C * itemsize % 16 == 0)


def _finish(entry: str) -> Step:
    return Step(entry, grid=lambda reduction: int(reduction > 0), block=BLOCK)


def pick(C: int, D: int, itemsize: int, few: str, many: str, vector: str) -> str:
    """The dispatch rule: a thread a row where neighbours are neighbouring rows, else by the length of a row alone."""
    return "01_naive" if D > 1 else few if C < LONG else many if C * itemsize % 16 else vector


def _reads(times: int) -> Any:
    """Bytes requested by a forward that reads the logits so many times; smoothing reads them once more, probabilities are read beside them."""
    return lambda M, C, itemsize, smoothing, probs: M * C * itemsize * (times + (2 if probs else 1 if smoothing > 0 else 0))


def _touches(threads: int) -> Any:
    """Bytes requested by a backward with so many threads a row, each of which asks for the row's label, dy, maximum, sum and the total."""
    return lambda M, C, itemsize, probs, need_t: (
        M * C * itemsize * (2 + 2 * probs + need_t) + M * threads * (itemsize + 3 * max(itemsize, 4) + 8 * (not probs))
    )


ladder(
    "cross_entropy.forward",
    Kernel(
        "01_naive.cu", Step("cross_entropy_fwd", grid=lambda M: ceil_div(M, BLOCK), block=BLOCK), _finish("cross_entropy_finish"),
        traffic=_reads(2), **thread_row,
    ),
    *[
        Kernel(
            name, Step("cross_entropy_fwd", grid=lambda M: ceil_div(M, ROWS), block=(32, ROWS)), _finish("cross_entropy_finish"),
            traffic=_reads(times), **warp_row,
        )
        for name, times in (("02_warp_row.cu", 2), ("03_online.cu", 1))
    ],
    *[
        Kernel(
            name, Step("cross_entropy_fwd", grid=lambda M: M, block=BLOCK), _finish("cross_entropy_finish"), traffic=_reads(1),
            **block_row | more,
        )
        for name, more in (("04_block_row.cu", {}), ("05_vector.cu", vector))
    ],
    choose=lambda C, D, itemsize: pick(C, D, itemsize, "03_online", "04_block_row", "05_vector"),
)  # fmt: skip
row_block: dict[str, Any] = dict(grid=lambda M: M, block=BLOCK, BLOCK=BLOCK, when=lambda D: D == 1, traffic=_touches(BLOCK))
ladder(
    "cross_entropy.backward",
    Kernel("01_naive.cu", grid=lambda M: ceil_div(M, BLOCK), block=BLOCK, BLOCK=BLOCK, traffic=_touches(1)),
    Kernel("02_warp_row.cu", grid=lambda M: ceil_div(M, ROWS), block=(32, ROWS), ROWS=ROWS, when=lambda D: D == 1, traffic=_touches(32)),
    Kernel("03_block_row.cu", **row_block),
    Kernel("04_vector.cu", **row_block | vector),
    choose=lambda C, D, itemsize: pick(C, D, itemsize, "02_warp_row", "03_block_row", "04_vector"),
)


def _gathers(M: int, itemsize: int, weighted: int, reduction: int) -> int:
    return M * (8 + itemsize * (1 + weighted + (reduction == 0)))


ladder(
    "nll_loss.forward",
    Kernel(
        "01_naive.cu", Step("nll_loss_fwd", grid=lambda M: ceil_div(M, BLOCK), block=BLOCK), _finish("nll_loss_finish"), traffic=_gathers,
        **thread_row,
    ),
    Kernel(
        "02_several.cu", Step("nll_loss_fwd", grid=lambda M: ceil_div(M, BLOCK * EACH), block=BLOCK), _finish("nll_loss_finish"), EACH=EACH,
        traffic=_gathers, **thread_row | {"workspace": {"partial": lambda M: ((2, ceil_div(M, BLOCK * EACH)), "acc")}},
    ),
    choose=lambda M, sms: "02_several" if M >= 2 * sms * BLOCK * EACH else "01_naive",  # below, threads in place of loads hide the latency
)  # fmt: skip
ladder(
    "nll_loss.backward",
    Kernel(
        "01_naive.cu", grid=lambda M, C: ceil_div(M * C, BLOCK), block=BLOCK, BLOCK=BLOCK, traffic=lambda M, C, itemsize: M * C * (itemsize + 8)
    ),
    Kernel(
        "02_vector.cu", grid=lambda M, C, itemsize: ceil_div(M * C * itemsize, 16 * BLOCK), block=BLOCK, BLOCK=BLOCK,
        traffic=lambda M, C, itemsize: M * C * itemsize * 1.5, **vector,
    ),
)  # fmt: skip


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
    reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Cross-entropy between logits and classes, computed without leaving the logits.

        loss = -sum_c a[c] * log_softmax(x)[c],   a[c] = weight[c] * ((1 - label_smoothing) * [c == target] + label_smoothing / C)
        dx   = dy * (softmax(x) * sum_c a[c] - a)

    input: (N, C), (N, C, d1, ...) or (C,), floating. target: class numbers, any integer dtype, of input's shape without C; or
    probabilities, input's shape and dtype, in place of [c == target]. weight: (C,), of input's dtype, or float32 for a half input.
    reduction: "none" (target's shape without C), "sum", or "mean": over the sum of weight[target] (of all rows for probabilities); NaN
    where every target is ignored or there is none, as in PyTorch. Targets equal to ignore_index count nowhere.
    IndexError for a class number outside [0, C): at once on the CPU and in the emulator, at the next synchronisation on a GPU.
    ShapeError (a RuntimeError and ValueError) for shapes, TypeError for dtypes, NotImplementedError for a weight that needs a gradient
    beside class numbers. Differentiable in input, in probabilities and, with those, in weight.
    Source of label smoothing: Szegedy et al. 2016, arXiv:1512.00567.
    """
    reduction = check_reduction("cross_entropy", reduction, size_average, reduce)
    _check("cross_entropy", input, target, weight, probabilities=True)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"cross_entropy: label_smoothing {label_smoothing!r} must lie in [0, 1]")
    if _dtypes.is_float(target.dtype) and ignore_index >= 0:
        raise RuntimeError(f"cross_entropy: ignore_index={ignore_index} is not supported with probabilities as target; give them weight 0")
    if weight is not None and weight.requires_grad:  # of probabilities: the loss is linear in weight * probability
        C, others = weight.numel(), input.ndim - min(input.ndim - 1, 1) - 1
        shares = target if not label_smoothing else target * (1 - label_smoothing) + label_smoothing / C
        target, weight, label_smoothing = (shares * weight.reshape(C, *[1] * others)).to(input.dtype), None, 0.0
    return CrossEntropy.apply(input, target, weight, reduction=reduction, ignore_index=int(ignore_index), smoothing=float(label_smoothing))


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Negative log-likelihood: loss = -weight[target] * input[target] of log-probabilities (see log_softmax).

    Shapes, reductions and errors as `cross_entropy`; target holds class numbers. Differentiable in input.
    """
    reduction = check_reduction("nll_loss", reduction, size_average, reduce)
    _check("nll_loss", input, target, weight, probabilities=False)
    return NLLLoss.apply(input, target, weight, reduction=reduction, ignore_index=int(ignore_index))


def check_reduction(name: str, reduction: str, size_average: Any = None, reduce: Any = None) -> str:
    """The reduction's name; ValueError for an unknown one. PyTorch's old size_average and reduce are understood and warned of."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(f"{name}: size_average and reduce are deprecated; write reduction={reduction!r}", stacklevel=3)
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: reduction {reduction!r} is not a valid value; 'none', 'mean' or 'sum'")
    return reduction


def _check(name: str, x: Any, target: Any, weight: Any, probabilities: bool) -> None:
    check_tensor(name, input=x, target=target, **({} if weight is None else {"weight": weight}))
    check_float(name, input=x)
    if x.ndim == 0:
        raise ShapeError(f"{name}: input is 0-d; (C,), (N, C) or (N, C, d1, ...) is needed")
    k = min(x.ndim - 1, 1)
    C, rows = x.shape[k], tuple(x.shape[:k] + x.shape[k + 1 :])
    if C == 0:
        raise ShapeError(f"{name}: input is {tuple(x.shape)}, which has no classes")
    if _dtypes.is_float(target.dtype) and probabilities and target.shape == x.shape:
        if target.dtype != x.dtype:
            raise TypeError(
                f"{name}: input is {x.dtype} and target is {target.dtype}; probabilities need input's dtype, use target.to(input.dtype)"
            )
    elif not _dtypes.is_integer(target.dtype):
        also = f", or probabilities of shape {tuple(x.shape)}" if probabilities else ""
        kind = ShapeError if _dtypes.is_float(target.dtype) else TypeError
        raise kind(
            f"{name}: target is {target.dtype} {tuple(target.shape)}; class numbers of an integer dtype are needed, of shape {rows}{also}"
        )
    elif tuple(target.shape) != rows:
        hint = "; for probabilities use a floating dtype" if probabilities and target.shape == x.shape else ""
        raise ShapeError(
            f"{name}: target is {tuple(target.shape)} and input is {tuple(x.shape)}; class numbers must have the shape {rows}{hint}"
        )
    if weight is not None:
        if weight.shape != (C,):
            raise ShapeError(f"{name}: weight is {tuple(weight.shape)}; it must be ({C},), one value a class")
        if weight.dtype != x.dtype and not (x.dtype in HALVES and weight.dtype == _dtypes.float32):
            raise TypeError(f"{name}: weight is {weight.dtype} and input is {x.dtype}; they must be equal. Use weight.to(input.dtype)")
        if weight.requires_grad and not _dtypes.is_float(target.dtype):
            raise NotImplementedError(f"{name}: no gradient of the class weights is known for class numbers; use weight.detach()")


class _ClassLoss(Op):
    """What the two losses over class numbers share."""

    def _round(self, out: Any, arrays: Any) -> Any:
        return out if out.dtype == arrays[0].dtype else out.astype(arrays[0].dtype)  # input's dtype decides, not a float32 weight's

    def _labels(self, x: Any, target: Any, weight: Any, ignore_index: int) -> tuple[Any, Any, Any]:
        """(which rows count, their labels with 0 for the others, their weights) in NumPy; IndexError for labels out of range."""
        k = min(x.ndim - 1, 1)
        valid = target != ignore_index
        wrong = valid & ((target < 0) | (target >= x.shape[k]))
        if wrong.any():
            raise IndexError(
                f"{self.name}: target {target[wrong].flat[0]} is out of bounds, it is outside [0, {x.shape[k]}) and is not ignore_index "
                f"{ignore_index}; see the labels, or set ignore_index"
            )
        safe = np.where(valid, target, 0)
        shares = valid.astype(x.dtype) if weight is None else weight[safe] * valid
        return valid, safe, shares.astype(x.dtype, copy=False)

    @staticmethod
    def _at(safe: Any) -> tuple[Any, ...]:
        """The index that picks each row's own class from an array with the class axis."""
        if safe.ndim < 2:
            return (np.arange(safe.size), safe) if safe.ndim else (safe,)
        batch, *rest = np.ogrid[tuple(slice(n) for n in safe.shape)]
        return (batch, safe, *rest)

    @staticmethod
    def _reduced(loss: Any, total: Any, reduction: str) -> Any:
        if reduction == "none":
            return loss
        return np.asarray(loss.sum() if reduction == "sum" else loss.sum() / total, loss.dtype)

    @staticmethod
    def _row_gradient(dy: Any, total: Any, reduction: str) -> Any:
        return dy / total if reduction == "mean" else dy

    def _view(self, x: Any) -> dict[str, int]:
        N, C = (1, x.shape[0]) if x.ndim == 1 else x.shape[:2]
        D = math.prod(x.shape[2:])
        return {"M": N * D, "C": C, "D": D}

    def _result(self, x: Any, reduction: str) -> tuple[Any, Any]:
        """Memory of the loss and of the sum of the rows' weights."""
        k = min(x.ndim - 1, 1)
        acc = _dtypes.float64 if x.dtype == _dtypes.float64 else _dtypes.float32
        shape = x.shape[:k] + x.shape[k + 1 :] if reduction == "none" else ()
        return self.device.empty(shape, x.dtype), self.device.empty((), acc)

    @staticmethod
    def _one_hot(x: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, int]:
        k = min(x.ndim - 1, 1)
        classes = arange(x.shape[k], dtype=target.dtype, device=x.device).reshape((-1,) + (1,) * (x.ndim - 1 - k))
        t = target.unsqueeze(k)
        return ((t == classes) & (t != ignore_index)).to(x.dtype), k

    @staticmethod
    def _wide_weight(weight: Any, x: Any) -> Any:
        return 1.0 if weight is None else weight.reshape((-1,) + (1,) * max(x.ndim - 2, 0))


class CrossEntropy(_ClassLoss, name="cross_entropy"):
    def forward_cpu(self, x: Any, target: Any, weight: Any, reduction: str, ignore_index: int, smoothing: float) -> Any:
        k = min(x.ndim - 1, 1)
        w = self._wide_weight(weight, x)
        probabilities = _dtypes.is_float(target.dtype)
        if not probabilities:
            valid, safe, shares = self._labels(x, target, weight, ignore_index)
            self.save(valid=valid, safe=safe, shares=shares)
        logp = x - x.max(k, keepdims=True)
        logp -= np.log(np.exp(logp).sum(k, keepdims=True))
        if probabilities:
            loss = -((target * (1 - smoothing) + smoothing / x.shape[k]) * w * logp).sum(k)
            total = np.asarray(loss.size, x.dtype)
        else:
            loss = np.where(valid, -logp[self._at(safe)] * (shares * (1 - smoothing)), 0)
            if smoothing:
                loss += np.where(valid, (logp * w).sum(k) * (-smoothing / x.shape[k]), 0)
            total = np.asarray(shares.sum(), x.dtype)
        self.save(x=x, target=target, weight=weight, logp=logp, total=total)
        return self._reduced(np.asarray(loss, x.dtype), total, reduction)

    def backward_cpu(
        self, dy: Any, target: Any, weight: Any, logp: Any, total: Any, valid: Any, safe: Any, shares: Any, reduction: str, smoothing: float
    ) -> Any:
        g, w = self._row_gradient(dy, total, reduction), self._wide_weight(weight, logp)
        dx = np.exp(logp)
        k = min(dx.ndim - 1, 1)
        if safe is None:  # probabilities
            if reduction == "none":
                g = np.expand_dims(g, k)
            a = (target * (1 - smoothing) + smoothing / dx.shape[k]) * w
            dx *= a.sum(k, keepdims=True)
            dx -= a
            dx *= g
            return dx, (g * (smoothing - 1)) * w * logp if self.needs[1] else None
        own = np.where(valid, g * shares * (1 - smoothing), 0).astype(dx.dtype, copy=False)
        if smoothing:
            spread = np.expand_dims(np.where(valid, g * (smoothing / dx.shape[k]), 0).astype(dx.dtype, copy=False), k)
            dx *= np.expand_dims(own, k) + spread * (dx.shape[k] if weight is None else weight.sum())
            dx -= spread * w
        else:
            dx *= np.expand_dims(own, k)
        dx[self._at(safe)] -= own
        return dx

    def forward_kernel(self, x: Any, target: Any, weight: Any, reduction: str, ignore_index: int, smoothing: float) -> Any:
        view = self._view(x)
        loss, total = self._result(x, reduction)
        hi, sum = (self.device.empty((view["M"],), total.dtype) for _ in range(2))
        probs = int(_dtypes.is_float(target.dtype))
        self.launch(
            "cross_entropy.forward", {"PROBS": probs}, x=x, target=target, weight=hi if weight is None else weight, loss=loss, hi=hi, sum=sum,
            total=total, flag=self.device.flag(), **view, ignore=ignore_index, smoothing=smoothing, weighted=int(weight is not None),
            reduction=REDUCTIONS[reduction], probs=probs,
        )  # fmt: skip
        self.save(x=x, target=target, weight=weight, hi=hi, sum=sum, total=total)
        return loss

    def backward_kernel(
        self, dy: Any, x: Any, target: Any, weight: Any, hi: Any, sum: Any, total: Any, reduction: str, ignore_index: int, smoothing: float
    ) -> Any:
        dx = self.device.empty(x.shape, x.dtype)
        dtarget = self.device.empty(x.shape, x.dtype) if self.needs[1] else None
        probs = int(_dtypes.is_float(target.dtype))
        self.launch(
            "cross_entropy.backward", {"PROBS": probs}, dy=dy, x=x, target=target, weight=hi if weight is None else weight, hi=hi, sum=sum,
            total=total, dx=dx, dtarget=dx if dtarget is None else dtarget, **self._view(x), ignore=ignore_index, smoothing=smoothing,
            weighted=int(weight is not None), reduction=REDUCTIONS[reduction], need_t=int(self.needs[1]), probs=probs,
        )  # fmt: skip
        return dx, dtarget

    def backward_graph(
        self, dy: Tensor, x: Tensor, target: Tensor, weight: Any, reduction: str, ignore_index: int, smoothing: float
    ) -> Any:
        k = min(x.ndim - 1, 1)
        w = self._wide_weight(weight, x)
        logp = log_softmax(x, k)
        probabilities = _dtypes.is_float(target.dtype)
        if probabilities:
            a, total = (target * (1 - smoothing) + smoothing / x.shape[k]) * w, float(max(x.numel() // x.shape[k], 1))
        else:
            own, _ = self._one_hot(x, target, ignore_index)
            counts = own.sum(k, keepdim=True)  # 1 for a row that counts
            a, total = own * w * (1 - smoothing) + counts * w * (smoothing / x.shape[k]), (own * w).sum()
            total = total + (total == 0).to(x.dtype)  # nothing counts: zeros, not 0 / 0
        g = dy.unsqueeze(k) if reduction == "none" else dy / total if reduction == "mean" else dy
        dx = g * (logp.exp() * a.sum(k, keepdim=True) - a)
        return dx, logp * w * g * (smoothing - 1) if probabilities and self.needs[1] else None

    def literals() -> Any:
        x = np.array([[0.0, np.log(3.0)], [1e9, 1e9]])
        yield [x, np.array([1, 0])], (np.log(4 / 3) + np.log(2)) / 2
        yield [x, np.array([1, 0]), np.array([1.0, 3.0])], (3 * np.log(4 / 3) + np.log(2)) / 4
        yield [x, np.array([0, -100])], [np.log(4), 0.0], dict(reduction="none")
        yield (
            [x, np.array([1, 0])],
            0.8 * (np.log(4 / 3) + np.log(2)) + 0.1 * (np.log(4) + np.log(4 / 3) + 2 * np.log(2)),
            dict(reduction="sum", label_smoothing=0.2),
        )
        yield [x[0], np.array([0.5, 0.5])], (np.log(4) + np.log(4 / 3)) / 2

    def samples(rng: Any) -> Any:
        def w(C: int) -> dict[str, Any]:
            return dict(weight=rng.uniform(0.5, 2, size=C), _constant=("weight",))

        def t(shape: tuple[int, ...], C: int, ignored: float = 0.0) -> Any:
            return np.where(rng.uniform(size=shape) < ignored, -100, rng.integers(0, C, shape))

        def p(shape: tuple[int, ...]) -> Any:
            e = rng.uniform(0.1, 1, size=shape)
            return e / e.sum(min(len(shape) - 1, 1), keepdims=True)

        yield Sample(rng.normal(size=(1, 1)), t((1,), 1))
        yield Sample(rng.normal(size=(5, 33)), t((5,), 33, 0.3))
        yield Sample(rng.normal(size=(300, 3)), t((300,), 3, 0.3), reduction="sum", **w(3))
        yield Sample(rng.normal(size=(7, 10)), t((7,), 10, 0.3).astype(np.int32), label_smoothing=0.1, **w(10), _deal=True)
        yield Sample(
            rng.normal(size=(7, 10)), t((7,), 10, 0.3).astype(np.uint8), reduction="none", ignore_index=3, label_smoothing=0.3, _deal=True
        )
        yield Sample(rng.normal(size=(7, 16)), t((7,), 16, 0.3), label_smoothing=0.1, **w(16))
        yield Sample(rng.normal(size=(3, 2056)), t((3,), 2056), **w(2056))  # three runs of a block over a row, the last not full
        yield Sample(rng.normal(size=(2, 4, 3, 5)), t((2, 3, 5), 4, 0.2), **w(4))
        yield Sample(rng.normal(size=(2, 4, 3)), t((2, 3), 4, 0.2), reduction="none", label_smoothing=0.2)
        yield Sample(rng.normal(size=6), np.array(2))
        yield Sample(rng.normal(size=(6, 5)), p((6, 5)))
        yield Sample(rng.normal(size=(6, 40)), p((6, 40)), reduction="none", label_smoothing=0.1, **w(40))
        yield Sample(rng.normal(size=(2, 4, 3)), p((2, 4, 3)), reduction="sum", label_smoothing=0.1, **w(4))
        yield Sample(rng.normal(size=5), p((5,)))
        yield Sample(np.zeros((0, 3)), np.zeros(0, np.int64), reduction="sum")

    def errors() -> Any:
        x = np.zeros((4, 3))
        yield Sample(x, np.array([0, 1, 2, 3])), IndexError, r"cross_entropy: target 3 is out of bounds, it is outside \[0, 3\)"
        yield Sample(x, np.array([0, 1, 2, -1])), IndexError, r"target -1 is out of bounds"
        yield (
            Sample(x, np.zeros(3, np.int64)),
            ValueError,
            r"target is \(3,\) and input is \(4, 3\); class numbers must have the shape \(4,\)",
        )
        yield Sample(x, np.zeros((4, 3), np.int64)), RuntimeError, r"for probabilities use a floating dtype"
        yield Sample(x, np.zeros(4)), RuntimeError, r"class numbers of an integer dtype are needed, of shape \(4,\)"
        yield (
            Sample(x, np.zeros(4, np.int64), weight=np.ones(2), _constant=("weight",)),
            RuntimeError,
            r"weight is \(2,\); it must be \(3,\)",
        )
        yield Sample(x, np.zeros(4, np.int64), np.ones(3)), NotImplementedError, r"no gradient of the class weights"
        yield Sample(x, np.zeros(4, np.int64), reduction="max"), ValueError, r"reduction 'max' is not a valid value"
        yield Sample(x, np.zeros(4, np.int64), label_smoothing=1.5), RuntimeError, r"label_smoothing 1.5 must lie in \[0, 1\]"
        yield Sample(np.zeros((4, 3), np.int64), np.zeros(4, np.int64)), TypeError, r"input is int64; a floating dtype is needed"

    def cost(x: Any, target: Any, *_: Any, **__: Any) -> Cost:
        return Cost(bytes=x.nbytes + target.nbytes, flops=4 * x.size)


class NLLLoss(_ClassLoss, name="nll_loss"):
    def forward_cpu(self, x: Any, target: Any, weight: Any, reduction: str, ignore_index: int) -> Any:
        valid, safe, shares = self._labels(x, target, weight, ignore_index)
        loss = np.where(valid, -x[self._at(safe)] * shares, 0)
        total = np.asarray(shares.sum(), x.dtype)
        self.save(x=x, target=target, weight=weight, total=total, valid=valid, safe=safe, shares=shares)
        return self._reduced(np.asarray(loss, x.dtype), total, reduction)

    def backward_cpu(self, dy: Any, x: Any, total: Any, valid: Any, safe: Any, shares: Any, reduction: str) -> Any:
        dx = np.zeros(x.shape, x.dtype)
        dx[self._at(safe)] = np.where(valid, -self._row_gradient(dy, total, reduction) * shares, 0)
        return dx

    def forward_kernel(self, x: Any, target: Any, weight: Any, reduction: str, ignore_index: int) -> Any:
        loss, total = self._result(x, reduction)
        self.launch(
            "nll_loss.forward", x=x, target=target, weight=total if weight is None else weight, loss=loss, total=total,
            flag=self.device.flag(), **self._view(x), ignore=ignore_index, weighted=int(weight is not None), reduction=REDUCTIONS[reduction],
        )  # fmt: skip
        self.save(x=x, target=target, weight=weight, total=total)
        return loss

    def backward_kernel(self, dy: Any, x: Any, target: Any, weight: Any, total: Any, reduction: str, ignore_index: int) -> Any:
        dx = self.device.empty(x.shape, x.dtype)
        self.launch(
            "nll_loss.backward", dy=dy, target=target, weight=total if weight is None else weight, total=total, dx=dx, **self._view(x),
            ignore=ignore_index, weighted=int(weight is not None), reduction=REDUCTIONS[reduction],
        )  # fmt: skip
        return dx

    def backward_graph(self, dy: Tensor, x: Tensor, target: Tensor, weight: Any, reduction: str, ignore_index: int) -> Tensor:
        own, k = self._one_hot(x, target, ignore_index)
        own = own * self._wide_weight(weight, x)
        total = own.sum()
        g = dy.unsqueeze(k) if reduction == "none" else dy / (total + (total == 0).to(x.dtype)) if reduction == "mean" else dy
        return -own * g

    def literals() -> Any:
        x = np.array([[-1.0, -2.0], [-3.0, -4.0]])
        yield [x, np.array([1, 0]), np.array([1.0, 3.0])], (3 * 2 + 3) / 4
        yield [x, np.array([1, -100])], [2.0, 0.0], dict(reduction="none")

    def samples(rng: Any) -> Any:
        w = dict(weight=rng.uniform(0.5, 2, size=4), _constant=("weight",))
        yield Sample(rng.normal(size=(1, 1)), np.zeros(1, np.int64))
        yield Sample(rng.normal(size=(300, 4)), rng.integers(0, 4, 300), ignore_index=2)
        yield Sample(rng.normal(size=(1030, 8)), rng.integers(0, 8, 1030), ignore_index=2, _gradgrad=False)  # two blocks of rung 02
        yield Sample(rng.normal(size=(2, 4, 3, 5)), rng.integers(0, 4, (2, 3, 5)), **w)
        yield Sample(rng.normal(size=(2, 4, 3)), rng.integers(0, 4, (2, 3)).astype(np.int32), reduction="none", ignore_index=1, **w)
        yield Sample(rng.normal(size=4), np.array(2), reduction="sum", **w)
        yield Sample(np.zeros((0, 3)), np.zeros(0, np.int64), reduction="sum")

    def errors() -> Any:
        x = np.zeros((4, 3))
        yield Sample(x, np.array([0, 1, 2, 3])), IndexError, r"nll_loss: target 3 is out of bounds, it is outside \[0, 3\)"
        yield Sample(x, np.zeros(4)), RuntimeError, r"nll_loss: target is float64 \(4,\); class numbers of an integer dtype are needed"
        yield Sample(x, np.zeros(3, np.int64)), ValueError, r"class numbers must have the shape \(4,\)"

    def cost(x: Any, target: Any, *_: Any, **__: Any) -> Cost:
        return Cost(bytes=(x.itemsize + target.itemsize) * target.size, flops=2 * target.size)
