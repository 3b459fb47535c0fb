"""Group normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._cpu import norms
from gpudl._dtypes import HALVES
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import check_float, check_tensor, room
from gpudl.ops.layer_norm import whole

BLOCK = 256
ROWS = 4  # groups or planes per block, one warp each
KEEP = 16  # values of a group that a thread keeps in registers
WIDE = 512  # threads of a block that keeps a long group in shared memory


def pick(C: int, L: int, G: int, itemsize: int, arch: int) -> str:
    """The dispatch rule of forward, by the length of a group: what one warp does well, what fits registers, shared memory, neither."""
    D = C // G * L
    if D < 2 * BLOCK:
        return "02_warp_group"
    if D <= BLOCK * KEEP:
        return "04_registers" if L * itemsize % 16 else "05_vector"
    return "06_resident" if D * itemsize <= room(arch) else "03_block_group"


warp: dict[str, Any] = dict(grid=lambda N, G: ceil_div(N * G, ROWS), block=(32, ROWS), ROWS=ROWS)
block: dict[str, Any] = dict(grid=lambda N, G: N * G, block=BLOCK, BLOCK=BLOCK)
registers: dict[str, Any] = block | dict(KEEP=KEEP, when=lambda C, L, G: C // G * L <= BLOCK * KEEP)
vector: dict[str, Any] = registers | dict(align=16, when=lambda C, L, G, itemsize: C // G * L <= BLOCK * KEEP and L * itemsize % 16 == 0)
merge = Step("group_norm_bwd_merge", grid=lambda C: ceil_div(C, BLOCK), block=BLOCK)
sums = {"sums": lambda N, C: ((2, N, C), "acc")}
# In the formulas of traffic, given counts weight and bias, of which an element (01: a channel, 05: 16 bytes) reads one value; the rest is
# mean, rstd and sums of planes, of acc_t.
ladder(
    "group_norm.forward",
    Kernel(
        "01_naive.cu", grid=lambda N, G: ceil_div(N * G, BLOCK), block=BLOCK, BLOCK=BLOCK,
        traffic=lambda N, C, L, G, given, itemsize: (4 + given) * N * C * L * itemsize + 2 * N * G * max(itemsize, 4),
    ),
    Kernel(
        "02_warp_group.cu", **warp,
        traffic=lambda N, C, L, G, given, itemsize: (4 + given) * N * C * L * itemsize + 2 * N * G * max(itemsize, 4),
    ),
    Kernel(
        "03_block_group.cu", **block,
        traffic=lambda N, C, L, G, given, itemsize: (3 + given) * N * C * L * itemsize + 2 * N * G * max(itemsize, 4),
    ),
    Kernel(
        "04_registers.cu", **registers,
        traffic=lambda N, C, L, G, given, itemsize: (2 + given) * N * C * L * itemsize + 2 * N * G * max(itemsize, 4),
    ),
    Kernel(
        "05_vector.cu", **vector,
        traffic=lambda N, C, L, G, given, itemsize: (2 + given * itemsize / 16) * N * C * L * itemsize + 2 * N * G * max(itemsize, 4),
    ),
    Kernel(
        "06_resident.cu", grid=lambda N, G: N * G, block=WIDE, BLOCK=WIDE, smem=lambda C, L, G, itemsize: C // G * L * itemsize,
        when=lambda C, L, G, itemsize, arch: C // G * L * itemsize <= room(arch),
        traffic=lambda N, C, L, G, given, itemsize: (2 + given) * N * C * L * itemsize + 2 * N * G * max(itemsize, 4),
    ),
    choose=pick,
)  # fmt: skip
ladder(
    "group_norm.backward",
    Kernel(
        "01_naive.cu", Step("group_norm_bwd", grid=lambda N, G: ceil_div(N * G, BLOCK), block=BLOCK),
        Step("group_norm_bwd_dw", grid=lambda C: ceil_div(C, BLOCK), block=BLOCK), BLOCK=BLOCK,
        traffic=lambda N, C, L, G, given, itemsize: (7 + 2 * given) * N * C * L * itemsize + 2 * N * (C + G) * max(itemsize, 4),
    ),
    Kernel(
        "02_planes.cu", Step("group_norm_bwd_sums", grid=lambda N, C: ceil_div(N * C, ROWS), block=(32, ROWS)), merge,
        Step("group_norm_bwd_apply", grid=lambda N, G: N * G, block=BLOCK), BLOCK=BLOCK, ROWS=ROWS, workspace=sums,
        traffic=lambda N, C, L, G, given, itemsize: (
            (5 + given) * N * C * L * itemsize + N * (2 * 32 * C + 2 * BLOCK * G + 6 * C + 2 * given * C) * max(itemsize, 4)
        ),
    ),
    Kernel(
        "03_resident.cu", Step("group_norm_bwd", grid=lambda N, G: N * G, block=WIDE, smem=lambda C, L, G, itemsize: 2 * C // G * L * itemsize),
        Step("group_norm_bwd_merge", grid=lambda C, BLOCK: ceil_div(C, BLOCK), block=WIDE), BLOCK=WIDE, workspace=sums,
        when=lambda C, L, G, itemsize, arch: 2 * C // G * L * itemsize <= room(arch),
        traffic=lambda N, C, L, G, given, itemsize: (
            (3 + given) * N * C * L * itemsize + N * (2 * WIDE * G + 4 * C + 2 * given * C) * max(itemsize, 4)
        ),
    ),
    choose=lambda C, L, G, itemsize, arch: "03_resident" if 2 * C // G * L * itemsize <= room(arch) else "02_planes",
)  # fmt: skip


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalise each of num_groups groups of neighbouring channels of each sample.

        y  = xhat * weight + bias,   xhat = (x - mean) * rstd,   rstd = 1 / sqrt(var + eps)
        dx = rstd * (g - mean(g) - xhat * mean(g * xhat)),   g = dy * weight

    input: (N, C, ...), floating; num_groups must divide C. weight, bias: (C,) of input's dtype, or float32 for a half input. Mean and
    biased variance are over a group of C / num_groups channels and all positions. Returns input's shape and dtype. ShapeError for shapes
    that do not fit, TypeError for dtypes. Differentiable in input, weight and bias. Source: Wu & He 2018, arXiv:1803.08494.
    """
    check_tensor("group_norm", input=input)
    check_float("group_norm", input=input)
    if input.ndim < 2:
        raise ShapeError(f"group_norm: input is {tuple(input.shape)}; (N, C, ...) is needed")
    C = input.shape[1]
    if num_groups < 1 or C % num_groups:
        raise ShapeError(f"group_norm: input is {tuple(input.shape)}; its {C} channels must be divisible by num_groups = {num_groups}")
    given = {k: t for k, t in (("weight", weight), ("bias", bias)) if t is not None}
    check_tensor("group_norm", **given)
    for name, t in given.items():
        if t.shape != (C,):
            raise ShapeError(f"group_norm: {name} is {tuple(t.shape)}; it must be ({C},), one value a channel")
        if t.dtype != input.dtype and not (input.dtype in HALVES and t.dtype == _dtypes.float32):
            raise TypeError(
                f"group_norm: {name} is {t.dtype} and input is {input.dtype}; they must be equal. Convert with .to({name}.dtype)"
            )
    if len({t.dtype for t in given.values()}) > 1:
        raise TypeError(f"group_norm: weight is {given['weight'].dtype} and bias is {given['bias'].dtype}; they must be equal")
    return GroupNorm.apply(input, weight, bias, groups=int(num_groups), eps=float(eps))


class GroupNorm(Op, name="group_norm"):
    ladders = ("group_norm.forward", "group_norm.backward")

    def _round(self, out: Any, arrays: Any) -> Any:
        return out if out.dtype == arrays[0].dtype else out.astype(arrays[0].dtype)  # input's dtype decides, not a float32 weight's

    def _view(self, x: Any, groups: int) -> dict[str, int]:
        return {"N": x.shape[0], "C": x.shape[1], "L": math.prod(x.shape[2:]), "G": groups}

    def forward_cpu(self, x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
        N, C, L, G = self._view(x, groups).values()
        y, mean, rstd = np.empty(x.shape, x.dtype), np.empty(N * G, x.dtype), np.empty(N * G, x.dtype)
        if x.size:
            w, b, zero, wide = whole(weight, 1, C, x.dtype), whole(bias, 0, C, x.dtype), x.dtype.type(0), (N * G, C // G * L)
            norms().rows_forward(np.ascontiguousarray(x).reshape(wide), w, b, y.reshape(wide), mean, rstd, C // G, zero, x.dtype.type(eps))
        self.save(x=x, weight=weight, mean=mean, rstd=rstd)
        return y

    def backward_cpu(self, dy: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int) -> Any:
        N, C, L, G = self._view(x, groups).values()
        wide = (N * G, C // G * L)
        dx, dw, db = np.empty(x.shape, x.dtype), np.zeros(C, x.dtype), np.zeros(C, x.dtype)
        if x.size:
            flat = [np.ascontiguousarray(a).reshape(wide) for a in (dy, x)]
            w = whole(weight, 1, C, x.dtype)
            norms().rows_backward(*flat, w, mean, rstd, dx.reshape(wide), dw, db, C // G, x.dtype.type(0))
        return dx, dw, db

    def forward_kernel(self, x: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
        y, view = self.device.empty(x.shape, x.dtype), self._view(x, groups)
        acc = _dtypes.float64 if x.dtype == _dtypes.float64 else _dtypes.float32
        mean, rstd = (self.device.empty((view["N"] * groups,), acc) for _ in range(2))
        stand_in = next((a for a in (weight, bias) if a is not None), mean)  # for an absent parameter: not read
        if x.size:
            self.launch(
                "group_norm.forward", {"WEIGHT": int(weight is not None), "BIAS": int(bias is not None)}, x=x,
                weight=stand_in if weight is None else weight, bias=stand_in if bias is None else bias, y=y, mean=mean, rstd=rstd,
                **view, eps=eps, given=(weight is not None) + (bias is not None),
            )  # fmt: skip
        self.save(x=x, weight=weight, mean=mean, rstd=rstd)
        return y

    def backward_kernel(self, dy: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int) -> Any:
        dx, (dw, db) = self.device.empty(x.shape, x.dtype), (self.device.empty((x.shape[1],), mean.dtype) for _ in range(2))
        if x.size:
            self.launch(
                "group_norm.backward", {"WEIGHT": int(weight is not None)}, dy=dy, x=x, weight=mean if weight is None else weight,
                mean=mean, rstd=rstd, dx=dx, dw=dw, db=db, **self._view(x, groups), given=int(weight is not None),
            )  # fmt: skip
        else:
            kernels.fill(self.device, dw, 0.0)
            kernels.fill(self.device, db, 0.0)
        return dx, dw, db

    def backward_graph(self, dy: Tensor, x: Tensor, weight: Any, groups: int, eps: float) -> Any:
        N, C, L, G = self._view(x, groups).values()
        n = max(C // G * L, 1)
        wide, each = (N, G, C // G * L), (C,) + (1,) * (x.ndim - 2)
        rows = x.reshape(wide)  # from x anew: mean and rstd depend on it
        centred = rows - rows.sum(2, keepdim=True) / n
        rstd = ((centred * centred).sum(2, keepdim=True) / n + eps) ** -0.5
        xhat = centred * rstd
        g = (dy if weight is None else dy * weight.reshape(each)).reshape(wide)
        dx = rstd * (g - g.sum(2, keepdim=True) / n - xhat * ((g * xhat).sum(2, keepdim=True) / n))
        over = (0, *range(2, x.ndim))
        return dx.reshape(x.shape), (dy * xhat.reshape(x.shape)).sum(over), dy.sum(over)

    def literals() -> Any:
        x = np.array([[1.0, 3.0, 5.0, 5.0]])
        yield [x, 2, np.array([1.0, 2.0, 1.0, 1.0]), np.array([0.0, 3.0, 0.0, 7.0])], [[-1.0, 5.0, 0.0, 7.0]], dict(eps=1e-300)

    def samples(rng: Any) -> Any:
        for shape, groups in [((2, 6), 2), ((3, 4, 5), 2), ((2, 6, 3, 4), 3), ((2, 3, 9, 8), 3), ((5, 4, 7), 1), ((0, 4, 3), 2)]:
            C = shape[1]
            yield Sample(rng.normal(1, 2, size=shape), groups, rng.normal(size=C), rng.normal(size=C))
        for shape, groups in [((1, 4, 150), 2), ((2, 4, 155), 1), ((1, 2, 2052), 1)]:  # registers by vectors, and one by one; shared memory
            C = shape[1]
            yield Sample(rng.normal(1, 2, size=shape), groups, rng.normal(size=C), rng.normal(size=C))
        yield Sample(rng.normal(size=(2, 4, 3)), 4)
        yield Sample(rng.normal(size=(2, 4, 3)), 2, bias=rng.normal(size=4), eps=0.1)

    def errors() -> Any:
        x = np.zeros((2, 4, 3))
        yield Sample(np.zeros(4), 2), RuntimeError, r"group_norm: input is \(4,\); \(N, C, ...\) is needed"
        yield Sample(x, 3), RuntimeError, r"input is \(2, 4, 3\); its 4 channels must be divisible by num_groups = 3"
        yield Sample(x, 2, np.zeros(3)), RuntimeError, r"group_norm: weight is \(3,\); it must be \(4,\)"
        yield Sample(x, 2, np.zeros(4, np.float32)), TypeError, r"weight is float32 and input is float64"

    def cost(x: Any, *_: Any, **__: Any) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=8 * x.size)
