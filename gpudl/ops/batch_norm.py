"""Batch normalisation, alone, with the ReLU after it, and with a residual sum and that ReLU."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._cpu import norms
from gpudl._dtypes import HALVES
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, NumbaKernel, Step, ceil_div, ladder
from gpudl.ops._common import check_float, check_tensor, rectify, room, select

BLOCK = 256
ROWS = 8  # warps that share 32 columns
BLOCKS = 1024  # that channels are split into: eight on each of 128 multiprocessors; a constant, so that every GPU adds in the same order
EACH = 8  # values a thread has at least, where a channel is split
LONG = 32 * BLOCK  # values of a channel from which on it is split; not yet measured


def width(L: int) -> int:
    """Threads of a block along a plane of L positions, a power of two; the others walk along other images."""
    return min(BLOCK, max(32, 1 << (L - 1).bit_length()))


def split(N: int, C: int, L: int) -> tuple[int, int]:
    """(groups of images, pieces of a plane): their product is the blocks of each channel."""
    X = width(L)
    wanted = ceil_div(BLOCKS, C)
    pieces = min(wanted, ceil_div(L, EACH * X))
    images = BLOCK // X * max(1, EACH * X * pieces // L)  # of a group, at least
    return min(ceil_div(wanted, pieces), ceil_div(N, images)), pieces


CROWD = 256  # channels from which on one block each fills the device; not yet measured
WIDE = 512  # threads of a block that has a multiprocessor to itself


def shares(N: int, C: int, L: int, each: int, arch: int, sms: int) -> tuple[int, int]:
    """(blocks that share a channel, values of each): as many as the channel needs to fit, or as there are, if each has enough to do.

    each: bytes that a block keeps of each value.
    """
    n = N * L
    needed = ceil_div(n, room(arch) // each)
    slices = max(needed, min(sms // C, ceil_div(n, EACH * WIDE)), 1)
    return slices, ceil_div(n, slices)


def pick(N: int, C: int, L: int, groups: int, pieces: int, each: int, itemsize: int, arch: int, first: int) -> str:
    """The dispatch rule of training; first: the number of the rung of one block a channel, 3 forward, 2 backward."""
    if L == 1:
        return f"{first + 1:02}_columns"
    if C >= CROWD and N * L * each <= room(arch):
        return f"{first + 4:02}_resident"
    if groups * pieces > 1 and N * L >= LONG:
        return f"{first + 2:02}_split" if L * itemsize % 16 else f"{first + 3:02}_vector"
    return f"{first:02}_block_channel"


naive = dict(grid=lambda C: ceil_div(C, BLOCK), block=BLOCK, BLOCK=BLOCK)
channel = dict(grid=lambda C: C, block=BLOCK, BLOCK=BLOCK)
columns = dict(grid=lambda C: ceil_div(C, 32), block=(32, ROWS), ROWS=ROWS, when=lambda L: L == 1)
slices: dict[str, Any] = dict(grid=lambda C, groups, pieces: (C, groups, pieces), block=lambda L: (width(L), BLOCK // width(L)))
packs: dict[str, Any] = slices | dict(block=lambda L, itemsize: (width(L * itemsize // 16), BLOCK // width(L * itemsize // 16)))
resident: dict[str, Any] = dict(
    grid=lambda C: C, block=lambda L: (width(L), BLOCK // width(L)), BLOCK=BLOCK, smem=lambda N, L, each: N * L * each,
    when=lambda N, L, each, arch: N * L * each <= room(arch),
)  # fmt: skip
whole: dict[str, Any] = dict(grid=lambda sms: sms, block=WIDE, smem=lambda share, each: share * each)
together: dict[str, Any] = dict(BLOCK=WIDE, cooperative=True, when=lambda slices, sms: slices <= sms)
clear: dict[str, Any] = dict(grid=1, block=1)
# In the formulas of traffic, added is 1 where there is a residual and given counts weight and bias: what each thread reads of its channel.
ladder(
    "batch_norm.forward",
    NumbaKernel("forward_welford", grid=lambda C: ceil_div(C, 32), block=32, dtypes=(_dtypes.float32, _dtypes.float64)),
    Kernel("01_naive.cu", **naive, traffic=lambda N, C, L, added, itemsize: (4 + added) * N * C * L * itemsize),
    Kernel("02_welford.cu", **naive, traffic=lambda N, C, L, added, itemsize: (3 + added) * N * C * L * itemsize),
    Kernel(
        "03_block_channel.cu", **channel,
        traffic=lambda N, C, L, added, given, itemsize: (3 + added) * N * C * L * itemsize + given * BLOCK * C * max(itemsize, 4),
    ),
    Kernel(
        "04_columns.cu", **columns,
        traffic=lambda N, C, L, added, given, itemsize: (3 + added) * N * C * itemsize + given * ROWS * C * max(itemsize, 4),
    ),
    Kernel(
        "05_split.cu", Step("batch_norm_fwd_partial", **slices), Step("batch_norm_fwd_merge", grid=lambda C: C, block=32),
        Step("batch_norm_fwd_apply", **slices), BLOCK=BLOCK,
        workspace={"partial": lambda C, groups, pieces: ((3, C, groups * pieces), "acc")},
        traffic=lambda N, C, L, groups, pieces, added, given, itemsize: (
            (3 + added) * N * C * L * itemsize + (6 + (2 + given) * BLOCK) * C * groups * pieces * max(itemsize, 4)
        ),
    ),
    Kernel(
        "06_vector.cu", Step("batch_norm_fwd_partial", **packs), Step("batch_norm_fwd_merge", grid=lambda C: C, block=32),
        Step("batch_norm_fwd_apply", **packs), BLOCK=BLOCK, align=16, aligned=("x", "residual", "y"), when=lambda L, itemsize: L * itemsize % 16 == 0,
        workspace={"partial": lambda C, groups, pieces: ((3, C, groups * pieces), "acc")},
        traffic=lambda N, C, L, groups, pieces, added, given, itemsize: (
            (3 + added) * N * C * L * itemsize + (6 + (2 + given) * BLOCK) * C * groups * pieces * max(itemsize, 4)
        ),
    ),
    Kernel(
        "07_resident.cu", **resident,
        traffic=lambda N, C, L, added, given, itemsize: (2 + added) * N * C * L * itemsize + given * BLOCK * C * max(itemsize, 4),
    ),
    Kernel(
        "08_grid.cu", Step("batch_norm_fwd_clear", **clear), Step("batch_norm_fwd", **whole), **together,
        workspace={"partial": lambda C, slices: ((3, C, slices), "acc"), "state": lambda: ((1,), "uint32")},
        traffic=lambda N, C, L, slices, added, given, itemsize: (
            (2 + added) * N * C * L * itemsize + (3 + 3 * WIDE // 32 * slices + given * WIDE) * slices * C * max(itemsize, 4)
        ),
    ),
    choose=lambda N, C, L, groups, pieces, each, itemsize, arch: pick(N, C, L, groups, pieces, each, itemsize, arch, 3),
)  # fmt: skip
ladder(
    "batch_norm.backward",
    Kernel("01_naive.cu", **naive, traffic=lambda N, C, L, added, itemsize: (5 + 3 * added) * N * C * L * itemsize),
    Kernel(
        "02_block_channel.cu", **channel,
        traffic=lambda N, C, L, added, given, itemsize: (
            (5 + 3 * added) * N * C * L * itemsize + (2 + given) * BLOCK * C * max(itemsize, 4)
        ),
    ),
    Kernel(
        "03_columns.cu", **columns,
        traffic=lambda N, C, L, added, given, itemsize: (
            (5 + 3 * added) * N * C * itemsize + (2 + given) * ROWS * C * max(itemsize, 4)
        ),
    ),
    Kernel(
        "04_split.cu", Step("batch_norm_bwd_partial", **slices), Step("batch_norm_bwd_merge", grid=lambda C: C, block=32),
        Step("batch_norm_bwd_apply", **slices), BLOCK=BLOCK,
        workspace={"partial": lambda C, groups, pieces: ((2, C, groups * pieces), "acc")},
        traffic=lambda N, C, L, groups, pieces, added, given, itemsize: (
            (5 + 3 * added) * N * C * L * itemsize + (4 + (6 + 2 * given) * BLOCK) * C * groups * pieces * max(itemsize, 4)
        ),
    ),
    Kernel(
        "05_vector.cu", Step("batch_norm_bwd_partial", **packs), Step("batch_norm_bwd_merge", grid=lambda C: C, block=32),
        Step("batch_norm_bwd_apply", **packs), BLOCK=BLOCK, align=16, when=lambda L, itemsize: L * itemsize % 16 == 0,
        workspace={"partial": lambda C, groups, pieces: ((2, C, groups * pieces), "acc")},
        traffic=lambda N, C, L, groups, pieces, added, given, itemsize: (
            (5 + 3 * added) * N * C * L * itemsize + (4 + (6 + 2 * given) * BLOCK) * C * groups * pieces * max(itemsize, 4)
        ),
    ),
    Kernel(
        "06_resident.cu", **resident,
        traffic=lambda N, C, L, added, given, itemsize: (
            (3 + 2 * added) * N * C * L * itemsize + (2 + given) * BLOCK * C * max(itemsize, 4)
        ),
    ),
    Kernel(
        "07_grid.cu", Step("batch_norm_bwd_clear", **clear), Step("batch_norm_bwd", **whole), **together,
        workspace={"partial": lambda C, slices: ((2, C, slices), "acc"), "state": lambda: ((1,), "uint32")},
        traffic=lambda N, C, L, slices, added, given, itemsize: (
            (3 + 2 * added) * N * C * L * itemsize + (2 + 2 * WIDE // 32 * slices + (2 + given) * WIDE) * slices * C * max(itemsize, 4)
        ),
    ),
    choose=lambda N, C, L, groups, pieces, each, itemsize, arch: pick(N, C, L, groups, pieces, each, itemsize, arch, 2),
)  # fmt: skip
ladder(
    "batch_norm.eval",
    Kernel(
        "01_naive.cu", grid=lambda N, C, L: ceil_div(N * C * L, BLOCK), block=BLOCK, BLOCK=BLOCK,
        traffic=lambda N, C, L, added, given, itemsize: N * C * L * ((2 + added) * itemsize + (2 + given) * max(itemsize, 4)),
    ),
    Kernel(
        "02_plane.cu", grid=lambda N, C: N * C, block=BLOCK, BLOCK=BLOCK, when=lambda L: L >= 64,
        traffic=lambda N, C, L, added, given, itemsize: (
            N * C * ((2 + added) * L * itemsize + (2 + given) * BLOCK * max(itemsize, 4))
        ),
    ),
)  # fmt: skip


def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalise each channel over the batch and all positions.

        y  = (x - mean) * rstd * weight + bias,   rstd = 1 / sqrt(var + eps)
        dw = sum dy * xhat,  db = sum dy,  dx = weight * rstd * (dy - db / n - xhat * dw / n)     (eval: dx = weight * rstd * dy)

    input: (N, C), (N, C, L), (N, C, H, W), ...; floating. weight, bias, running_mean, running_var: (C,) of input's dtype, or float32 for a
    half input; each may be None (running ones together). training: mean and biased variance of this batch (n values a channel), and
    running = (1 - momentum) * running + momentum * batch with the unbiased variance n / (n - 1), written into the tensors given; otherwise
    the running statistics. Returns input's shape and dtype; an empty input gives an empty result and leaves the running statistics alone.
    ValueError for one value a channel while training, ShapeError for shapes that do not fit, RuntimeError without running statistics in
    eval mode, TypeError for dtypes. Differentiable in input, weight and bias.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167.
    """
    return _apply("batch_norm", BatchNorm, input, running_mean, running_var, weight, bias, training, momentum, eps)


def batch_norm_relu(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """relu(batch_norm(...)) as one op: the middle is neither written nor kept; backward computes the mask anew. See `batch_norm`."""
    return _apply("batch_norm_relu", BatchNormReLU, input, running_mean, running_var, weight, bias, training, momentum, eps)


def batch_norm_add_relu(
    input: Tensor, residual: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """relu(batch_norm(input, ...) + residual) as one op, the end of a residual block: neither middle is written or kept.

    residual: input's shape and dtype, else ShapeError or TypeError; differentiable too. Backward computes the mask anew from input and
    residual. See `batch_norm`. Source of the block: He et al. 2015, arXiv:1512.03385.
    """
    name = "batch_norm_add_relu"
    check_tensor(name, input=input, residual=residual)
    if residual.shape != input.shape:
        raise ShapeError(f"{name}: residual is {tuple(residual.shape)} and input is {tuple(input.shape)}; they must be equal")
    if residual.dtype != input.dtype:
        raise TypeError(
            f"{name}: residual is {residual.dtype} and input is {input.dtype}; they must be equal. Convert with .to(input.dtype)"
        )
    return _apply(name, BatchNormAddReLU, input, running_mean, running_var, weight, bias, training, momentum, eps, residual)


def _apply(
    name: str, op: Any, x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool, momentum: float, eps: float,
    *residual: Tensor,
) -> Tensor:  # fmt: skip
    check_tensor(name, input=x)
    check_float(name, input=x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: input is {tuple(x.shape)}; (N, C) or (N, C, ...) is needed. Did you mean input.unsqueeze(0)?")
    C = x.shape[1]
    given = {
        k: t for k, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)) if t is not None
    }
    check_tensor(name, **given)
    for what, t in given.items():
        if t.shape != (C,):
            raise ShapeError(
                f"{name}: {what} is {tuple(t.shape)} and input is {tuple(x.shape)}; {what} must be ({C},), one value a channel"
            )
        if t.dtype != x.dtype and not (x.dtype in HALVES and t.dtype == _dtypes.float32):
            raise TypeError(f"{name}: {what} is {t.dtype} and input is {x.dtype}; they must be equal. Convert with .to({what}.dtype)")
    for a, b in (("weight", "bias"), ("running_mean", "running_var")):
        if a in given and b in given and given[a].dtype != given[b].dtype:
            raise TypeError(f"{name}: {a} is {given[a].dtype} and {b} is {given[b].dtype}; they must be equal")
    op.common_device([x, *residual, *given.values()])
    if (running_mean is None) != (running_var is None):
        raise RuntimeError(f"{name}: running_mean and running_var must be given together or not at all")
    if not training and running_mean is None:
        raise RuntimeError(f"{name}: expected running_mean and running_var to be defined when training=False")
    if not eps >= 0:
        raise ValueError(f"{name}: eps {eps!r} must be at least 0")
    if not training:
        return op.apply(x, weight, bias, *residual, running_mean, running_var, training=False, running=None, momentum=0.0, eps=eps)
    if x.numel() == C:
        raise ValueError(
            f"{name}: expected more than 1 value per channel when training, got input size {tuple(x.shape)}: "
            "the variance of one value is 0. Use larger batches, drop_last=True, or eval()"
        )
    running = None
    if running_mean is not None:
        if momentum is None:
            raise TypeError(f"{name}: momentum is None; give a number (nn.BatchNorm's momentum=None computes one from its count)")
        running_mean._check_writable(f"{name}: running_mean")
        running_var._check_writable(f"{name}: running_var")
        running = (running_mean, running_var)
    out = op.apply(x, weight, bias, *residual, None, None, training=True, running=running, momentum=momentum, eps=eps)
    if running and x.numel():
        running_mean._wrote()
        running_var._wrote()
    return out


def channel_sum(a: np.ndarray) -> np.ndarray:
    """Sums over all axes but the second, one axis after the other: short sums of sums lose less than one long sum in float32."""
    if a.ndim > 2 and a.size and a.flags.c_contiguous:
        return a.reshape(a.shape[0], a.shape[1], -1).sum(2).sum(0)
    last = np.moveaxis(a, 1, -1)
    if a.ndim > 2 and a.size and last.flags.c_contiguous:  # channels last: NumPy adds rows of C values slowly, BLAS does not
        rows = last.reshape(len(a), -1, a.shape[1])
        return np.matmul(np.ones((1, rows.shape[1]), a.dtype), rows)[:, 0].sum(0)
    for axis in range(a.ndim - 1, 1, -1):
        a = a.sum(axis)
    return a.sum(0)


def _given(weight: Any, bias: Any) -> int:
    return (weight is not None) + (bias is not None)


def _present(weight: Any, bias: Any, other: Any) -> tuple[Any, Any]:
    """Arrays of one dtype for both parameters; what stands for an absent one is not read (macros WEIGHT and BIAS)."""
    stand_in = next((a for a in (weight, bias) if a is not None), other)
    return (stand_in if weight is None else weight), (stand_in if bias is None else bias)


class BatchNorm(Op, name="batch_norm"):
    relu = False
    ladders = ("batch_norm.forward", "batch_norm.backward", "batch_norm.eval")

    def _round(self, out: Any, arrays: Any) -> Any:
        return out if out.dtype == arrays[0].dtype else out.astype(arrays[0].dtype)  # input's dtype decides, not a float32 weight's

    def forward_cpu(
        self, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, running: Any, momentum: float, eps: float,
        residual: Any = None,
    ) -> Any:  # fmt: skip
        if x.size and x.flags.c_contiguous:
            return self._planes_forward(x, weight, bias, running_mean, running_var, training, running, momentum, eps, residual)
        wide = (1, -1) + (1,) * (x.ndim - 2)
        n = x.size // max(x.shape[1], 1)
        mean, var = running_mean, running_var
        if training:
            mean = channel_sum(x) / n if n else np.zeros(x.shape[1], x.dtype)
        y = x - mean.reshape(wide)
        if training:
            var = channel_sum(y * y) / n if n else mean
            if running and n:
                for target, batch in zip(running, (mean, var * (n / (n - 1))), strict=True):
                    target._array[...] = (1 - momentum) * target._array.astype(batch.dtype) + momentum * batch
        rstd = 1 / np.sqrt(var + eps)
        y *= (rstd if weight is None else rstd * weight).reshape(wide)
        if bias is not None:
            y += bias.reshape(wide)
        if residual is not None:
            y += residual
        if self.relu:
            rectify(y, out=y)
        self.save(x=x, weight=weight, bias=bias, y=y if self.relu else None, mean=mean, var=None if training else var)
        self.save(rstd=rstd if training else None)
        return y

    def _planes_forward(
        self, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, running: Any, momentum: float, eps: float,
        residual: Any,
    ) -> Any:  # fmt: skip
        """forward_cpu where each plane of a channel is one run of memory, by compiled loops."""
        N, C, L = self._view(x).values()
        shape, zero = (N, C) if L == 1 else (N, C, L), x.dtype.type(0)
        planes = x.reshape(shape)
        y = np.empty(x.shape, x.dtype)
        mean, var = running_mean, running_var
        if training:
            mean, var = np.empty(C, x.dtype), np.empty(C, x.dtype)
            (norms().column_moments if L == 1 else norms().channel_moments)(planes, mean, var, zero)
            if running:
                n = N * L
                for target, batch in zip(running, (mean, var * (n / (n - 1))), strict=True):
                    target._array[...] = (1 - momentum) * target._array.astype(batch.dtype) + momentum * batch
        rstd = 1 / np.sqrt(var + eps)
        scale = np.ascontiguousarray(rstd if weight is None else rstd * weight, x.dtype)
        shift = np.zeros(C, x.dtype) if bias is None else np.ascontiguousarray(bias, x.dtype)
        other = planes if residual is None else np.ascontiguousarray(residual).reshape(shape)
        middle = np.ascontiguousarray(mean, x.dtype)
        apply = norms().column_apply if L == 1 else norms().channel_apply
        apply(planes, other, middle, scale, shift, y.reshape(shape), residual is not None, self.relu, zero)
        self.save(x=x, weight=weight, bias=bias, y=y if self.relu else None, mean=mean, var=None if training else var)
        self.save(rstd=rstd if training else None)
        return y

    def backward_cpu(self, dy: Any, x: Any, weight: Any, mean: Any, var: Any, rstd: Any, y: Any, training: bool, eps: float) -> Any:
        return self._backward_cpu(dy, x, weight, mean, var, rstd, y, training, eps)[:3]

    def _backward_cpu(self, dy: Any, x: Any, weight: Any, mean: Any, var: Any, rstd: Any, y: Any, training: bool, eps: float) -> Any:
        wide = (1, -1) + (1,) * (x.ndim - 2)
        n = max(x.size // max(x.shape[1], 1), 1)
        if rstd is None:
            rstd = 1 / np.sqrt(var + eps)
        if x.size and all(a.flags.c_contiguous for a in (x, dy)):
            flat = x.size == x.shape[0] * x.shape[1]
            shape, zero = x.shape[:2] if flat else (*x.shape[:2], -1), x.dtype.type(0)
            if y is not None:
                g = np.empty(x.shape, x.dtype)
                norms().channel_mask(dy, np.ascontiguousarray(y), g)
                dy = g
            dx, dw, db = np.empty(x.shape, x.dtype), np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
            mean, rstd = (np.ascontiguousarray(a, x.dtype) for a in (mean, rstd))
            scale = rstd if weight is None else np.ascontiguousarray(rstd * weight, x.dtype)
            backward = norms().column_backward if flat else norms().channel_backward
            backward(dy.reshape(shape), x.reshape(shape), mean, rstd, scale, dx.reshape(shape), dw, db, training, zero)
            return dx, dw, db, dy
        if y is not None:
            dy = select(y <= 0, 0.0, dy)
        xhat = x - mean.reshape(wide)
        xhat *= rstd.reshape(wide)
        db, dw = channel_sum(dy), channel_sum(dy * xhat)
        scale = rstd if weight is None else rstd * weight
        if training:
            xhat *= (dw / n).reshape(wide)
            dx = np.subtract(dy, xhat, out=xhat)
            dx -= (db / n).reshape(wide)
            dx *= scale.reshape(wide)
        else:
            dx = dy * scale.reshape(wide)
        return dx, dw, db, dy

    def _view(self, x: Any) -> dict[str, int]:
        N, C = x.shape[:2]
        return {"N": N, "C": C, "L": x.size // max(N * C, 1)}

    def _shares(self, x: Any, kept: int) -> dict[str, int]:
        """The scalars of a training launch; kept: how many tensors a block may keep in shared memory."""
        view, each = self._view(x), kept * x.itemsize
        groups, pieces = split(**view)
        slices, share = shares(**view, each=each, arch=self.device.arch, sms=self.device.sms)
        return {**view, "groups": groups, "pieces": pieces, "each": each, "slices": slices, "share": share}

    def forward_kernel(
        self, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, running: Any, momentum: float, eps: float,
        residual: Any = None,
    ) -> Any:  # fmt: skip
        y = self.device.empty(x.shape, x.dtype)
        acc = _dtypes.float64 if x.dtype == _dtypes.float64 else _dtypes.float32
        defines = {
            "WEIGHT": int(weight is not None),
            "BIAS": int(bias is not None),
            "RELU": int(self.relu),
            "RESIDUAL": int(residual is not None),
        }
        if not training:
            w, b = _present(weight, bias, running_mean)
            self.launch(
                "batch_norm.eval", defines, x=x, weight=w, bias=b, residual=x if residual is None else residual, mean=running_mean,
                var=running_var, y=y, **self._view(x), eps=eps, given=_given(weight, bias), added=int(residual is not None),
            )  # fmt: skip
            self.save(x=x, weight=weight, bias=bias, residual=residual, mean=running_mean, var=running_var)
            return y
        mean, rstd = (self.device.empty((x.shape[1],), acc) for _ in range(2))
        if x.size:
            w, b = _present(weight, bias, mean)
            old_mean, old_var = (mean, rstd) if running is None else [t._array for t in running]
            self.launch(
                "batch_norm.forward", {**defines, "RUNNING": int(running is not None)}, x=x,
                weight=w, bias=b, residual=x if residual is None else residual, running_mean=old_mean, running_var=old_var,
                y=y, mean=mean, rstd=rstd, **self._shares(x, 1), momentum=momentum, eps=eps,
                given=_given(weight, bias), added=int(residual is not None),
            )  # fmt: skip
        self.save(x=x, weight=weight, bias=bias, residual=residual, mean=mean, rstd=rstd)
        return y

    def backward_kernel(self, dy: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, rstd: Any, training: bool, eps: float) -> Any:
        return self._backward_kernel(dy, x, weight, bias, None, mean, var, rstd, training, eps)[:3]

    def _backward_kernel(
        self, dy: Any, x: Any, weight: Any, bias: Any, residual: Any, mean: Any, var: Any, rstd: Any, training: bool, eps: float
    ) -> Any:
        acc = _dtypes.float64 if x.dtype == _dtypes.float64 else _dtypes.float32
        dx, dw, db = self.device.empty(x.shape, x.dtype), self.device.empty(mean.shape, acc), self.device.empty(mean.shape, acc)
        dresidual = dx if residual is None else self.device.empty(x.shape, x.dtype)
        if x.size == 0:
            kernels.fill(self.device, dw, 0.0)
            kernels.fill(self.device, db, 0.0)
        else:
            defines = {"WEIGHT": int(weight is not None), "BIAS": int(bias is not None), "RELU": int(self.relu), "TRAIN": int(training)}
            w, b = _present(weight, bias, mean)
            self.launch(
                "batch_norm.backward", {**defines, "RESIDUAL": int(residual is not None)}, dy=dy, x=x, weight=w, bias=b,
                residual=x if residual is None else residual, mean=mean, spread=rstd if training else var, dx=dx, dresidual=dresidual,
                dw=dw, db=db, **self._shares(x, 2), eps=eps, given=_given(weight, bias), added=int(residual is not None),
            )  # fmt: skip
        return dx, dw, db, dresidual

    def backward_graph(self, dy: Tensor, x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, eps: float) -> Any:
        return self._backward_graph(dy, x, weight, bias, None, mean, var, training, eps)[:3]

    def _backward_graph(
        self, dy: Tensor, x: Tensor, weight: Any, bias: Any, residual: Any, mean: Any, var: Any, training: bool, eps: float
    ) -> Any:
        wide = (1, -1) + (1,) * (x.ndim - 2)
        over = (0, *range(2, x.ndim))
        n = max(x.numel() // max(x.shape[1], 1), 1)
        if training:  # from x anew: mean and rstd depend on it
            centred = x - x.sum(over, keepdim=True) / n
            rstd = ((centred * centred).sum(over, keepdim=True) / n + eps) ** -0.5
        else:
            centred = x - mean.reshape(wide)
            rstd = (var.reshape(wide) + eps) ** -0.5
        xhat = centred * rstd
        scale = rstd if weight is None else rstd * weight.reshape(wide)
        if self.relu:
            before = centred * scale if bias is None else centred * scale + bias.reshape(wide)
            before = before if residual is None else before + residual
            dy = dy * (before > 0)
        db, dw = dy.sum(over, keepdim=True), (dy * xhat).sum(over, keepdim=True)
        dx = scale * (dy - db / n - xhat * (dw / n)) if training else scale * dy
        return dx, dw.reshape(x.shape[1]), db.reshape(x.shape[1]), dy

    def literals() -> Any:
        x = np.array([[1.0, 5.0], [3.0, 5.0]])
        yield [x, None, None], [[-1.0, 0.0], [1.0, 0.0]], dict(training=True, eps=1e-300)
        yield (
            [x, np.array([1.0, 1.0]), np.array([4.0, 16.0]), np.array([2.0, 1.0]), np.array([0.0, 3.0])],
            [[0.0, 4.0], [2.0, 4.0]],
            dict(eps=0.0),
        )

    def samples(rng: Any) -> Any:
        yield from _samples(rng)

    def errors() -> Any:
        x, c = np.zeros((2, 3, 4)), np.zeros(3)
        yield Sample(np.zeros(3), None, None, training=True), ValueError, r"batch_norm: input is \(3,\)"
        yield (
            Sample(np.zeros((1, 3)), None, None, training=True),
            ValueError,
            r"more than 1 value per channel when training, got input size \(1, 3\)",
        )
        yield Sample(x, None, None), RuntimeError, r"expected running_mean and running_var to be defined when training=False"
        yield Sample(x, c, c, np.zeros(4)), RuntimeError, r"weight is \(4,\) and input is \(2, 3, 4\); weight must be \(3,\)"
        yield Sample(x, c, c, c.astype(np.float32)), TypeError, r"weight is float32 and input is float64"
        yield Sample(np.zeros((2, 3), np.int64), c, c), TypeError, r"input is int64; a floating dtype is needed"

    def cost(x: Any, *_: Any, **__: Any) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=8 * x.size)


class BatchNormReLU(BatchNorm, name="batch_norm_relu"):
    relu = True

    def literals() -> Any:
        yield [np.array([[1.0, 5.0], [3.0, 5.0]]), None, None], [[0.0, 0.0], [1.0, 0.0]], dict(training=True, eps=1e-300)

    def samples(rng: Any) -> Any:
        yield from _samples(rng)

    def errors() -> Any:
        yield Sample(np.zeros(3), None, None, training=True), ValueError, r"batch_norm_relu: input is \(3,\)"

    def cost(x: Any, *_: Any, **__: Any) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=9 * x.size)


class BatchNormAddReLU(BatchNorm, name="batch_norm_add_relu"):
    relu = True

    def forward_cpu(  # type: ignore[override]
        self, x: Any, weight: Any, bias: Any, residual: Any, running_mean: Any, running_var: Any, training: bool, running: Any,
        momentum: float, eps: float,
    ) -> Any:  # fmt: skip
        self.save(residual=residual)
        return super().forward_cpu(x, weight, bias, running_mean, running_var, training, running, momentum, eps, residual)

    def backward_cpu(self, dy: Any, x: Any, weight: Any, mean: Any, var: Any, rstd: Any, y: Any, training: bool, eps: float) -> Any:
        return self._backward_cpu(dy, x, weight, mean, var, rstd, y, training, eps)

    def forward_kernel(  # type: ignore[override]
        self, x: Any, weight: Any, bias: Any, residual: Any, running_mean: Any, running_var: Any, training: bool, running: Any,
        momentum: float, eps: float,
    ) -> Any:  # fmt: skip
        return super().forward_kernel(x, weight, bias, running_mean, running_var, training, running, momentum, eps, residual)

    def backward_kernel(  # type: ignore[override]
        self, dy: Any, x: Any, weight: Any, bias: Any, residual: Any, mean: Any, var: Any, rstd: Any, training: bool, eps: float
    ) -> Any:
        return self._backward_kernel(dy, x, weight, bias, residual, mean, var, rstd, training, eps)

    def backward_graph(  # type: ignore[override]
        self, dy: Tensor, x: Tensor, weight: Any, bias: Any, residual: Any, mean: Any, var: Any, training: bool, eps: float
    ) -> Any:
        return self._backward_graph(dy, x, weight, bias, residual, mean, var, training, eps)

    def literals() -> Any:
        x, add = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[0.5, 2.0], [0.0, -1.0]])
        yield [x, add, None, None], [[0.0, 2.0], [1.0, 0.0]], dict(training=True, eps=1e-300)

    def samples(rng: Any) -> Any:
        for shape in [(7, 3), (3, 2, 9, 8), (2, 1, 2100), (2, 3, 64)]:
            for training in (True, False):
                yield _sample(rng, shape, training=training, residual=rng.normal(size=shape))
        yield Sample(rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 3, 2)), None, None, training=True)
        yield _sample(rng, (0, 3, 2), training=True, residual=np.zeros((0, 3, 2)))

    def errors() -> Any:
        x = np.zeros((2, 3))
        yield Sample(x, np.zeros((2, 4)), None, None), RuntimeError, r"residual is \(2, 4\) and input is \(2, 3\); they must be equal"
        yield Sample(x, x.astype(np.float32), None, None), TypeError, r"residual is float32 and input is float64"

    def cost(x: Any, *_: Any, **__: Any) -> Cost:
        return Cost(bytes=3 * x.nbytes, flops=10 * x.size)


def _samples(rng: Any) -> Any:
    for shape in [(2, 1), (7, 3), (40, 35), (2, 3, 5), (3, 2, 9, 8), (1, 2, 300), (2, 2, 2, 3, 2)]:
        # of two values a channel, xhat is 1 and -1 and dx cancels but for eps: what is left is the rounding of its terms
        yield _sample(rng, shape, training=True, _tolerance=8 if shape == (2, 1) else 1)
        yield _sample(rng, shape)
    for shape in [(2, 1, 2100), (60, 2, 40)]:  # more than one block a channel: along a plane; along the images; a third in one's memory
        yield _sample(rng, shape, training=True)
    yield _sample(rng, (2, CROWD, 3), training=True)
    x = rng.normal(size=(4, 3, 2))
    yield Sample(x, None, None, training=True, eps=0.1)
    yield Sample(x, bias=rng.normal(size=3), **_statistics(rng, 3))
    yield Sample(x, weight=rng.normal(size=3), training=True, momentum=0.5, **_statistics(rng, 3))
    yield _sample(rng, (0, 3, 2), training=True)
    yield _sample(rng, (0, 3))
    yield _sample(rng, (2, 0, 3))


def _statistics(rng: Any, C: int) -> dict[str, Any]:
    return dict(running_mean=rng.normal(size=C), running_var=rng.uniform(0.5, 2, size=C), _constant=("running_mean", "running_var"))


def _sample(rng: Any, shape: tuple[int, ...], **options: Any) -> Sample:
    C = shape[1]  # of residual, if there is one, as a keyword: running_mean and running_var follow by keyword, too
    return Sample(rng.normal(1, 2, size=shape), weight=rng.normal(size=C), bias=rng.normal(size=C), **_statistics(rng, C), **options)
