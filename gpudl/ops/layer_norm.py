"""Layer normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import _dtypes, kernels
from gpudl._cpu import norms
from gpudl._dtypes import HALVES
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor, as_shape
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import check_float, check_tensor, room

BLOCK = 256
ROWS = 4  # rows per block, one warp each
SHARE = 8  # warps that share 32 columns
KEEP = 16  # values of a row that a thread keeps in registers
WIDE = 512  # threads of a block that keeps a long row in shared memory
PIECES = 512  # blocks that the rows are cut into at most, over all columns; a constant, so that every GPU adds in the same order


def pieces(M: int, N: int) -> int:
    """Blocks that share the rows of 32 columns: enough of them to fill the device, each with 16 rows a warp at least."""
    return max(1, min(ceil_div(PIECES, ceil_div(N, 32)), M // (16 * SHARE)))


def pick(N: int, itemsize: int, kept: int, arch: int, warp_row: str, block_row: str, registers: str, vector: str, resident: str) -> str:
    """The dispatch rule, by the length of a row: what one warp does well, what fits registers, shared memory, neither."""
    if N < 2 * BLOCK:
        return warp_row
    if N <= BLOCK * KEEP:
        return registers if N * itemsize % 16 else vector
    return resident if kept * N * itemsize <= room(arch) else block_row


thread_row: dict[str, Any] = dict(grid=lambda M: ceil_div(M, BLOCK), block=BLOCK, BLOCK=BLOCK)
warp_row: dict[str, Any] = dict(grid=lambda M: ceil_div(M, ROWS), block=(32, ROWS), ROWS=ROWS)
block_row: dict[str, Any] = dict(grid=lambda M: M, block=BLOCK, BLOCK=BLOCK)
registers: dict[str, Any] = dict(grid=lambda M: M, block=BLOCK, BLOCK=BLOCK, KEEP=KEEP, when=lambda N: N <= BLOCK * KEEP)
vector: dict[str, Any] = registers | dict(align=16, when=lambda N, itemsize: N <= BLOCK * KEEP and N * itemsize % 16 == 0)
resident: dict[str, Any] = dict(grid=lambda M: M, block=WIDE, BLOCK=WIDE)
# In the formulas of traffic, given counts weight and bias, of which every row reads N values; mean and rstd are of acc_t.
ladder(
    "layer_norm.forward",
    Kernel("01_naive.cu", **thread_row, traffic=lambda M, N, given, itemsize: (4 + given) * M * N * itemsize + 2 * M * max(itemsize, 4)),
    Kernel("02_warp_row.cu", **warp_row, traffic=lambda M, N, given, itemsize: (4 + given) * M * N * itemsize + 2 * M * max(itemsize, 4)),
    Kernel("03_welford.cu", **warp_row, traffic=lambda M, N, given, itemsize: (3 + given) * M * N * itemsize + 2 * M * max(itemsize, 4)),
    Kernel("04_block_row.cu", **block_row, traffic=lambda M, N, given, itemsize: (3 + given) * M * N * itemsize + 2 * M * max(itemsize, 4)),
    Kernel("05_registers.cu", **registers, traffic=lambda M, N, given, itemsize: (2 + given) * M * N * itemsize + 2 * M * max(itemsize, 4)),
    Kernel("06_vector.cu", **vector, traffic=lambda M, N, given, itemsize: (2 + given) * M * N * itemsize + 2 * M * max(itemsize, 4)),
    Kernel(
        "07_resident.cu", **resident, smem=lambda N, itemsize: N * itemsize, when=lambda N, itemsize, arch: N * itemsize <= room(arch),
        traffic=lambda M, N, given, itemsize: (2 + given) * M * N * itemsize + 2 * M * max(itemsize, 4),
    ),
    choose=lambda N, itemsize, arch: pick(
        N, itemsize, 1, arch, "03_welford", "04_block_row", "05_registers", "06_vector", "07_resident"
    ),
)  # fmt: skip
ladder(
    "layer_norm.backward",
    Kernel(
        "01_naive.cu", **thread_row,
        traffic=lambda M, N, given, itemsize: (5 + 2 * given) * M * N * itemsize + 2 * M * max(itemsize, 4),
    ),
    Kernel(
        "02_warp_row.cu", **warp_row,
        traffic=lambda M, N, given, itemsize: (5 + 2 * given) * M * N * itemsize + 2 * 32 * M * max(itemsize, 4),
    ),
    Kernel(
        "03_block_row.cu", **block_row,
        traffic=lambda M, N, given, itemsize: (5 + 2 * given) * M * N * itemsize + 2 * BLOCK * M * max(itemsize, 4),
    ),
    Kernel(
        "04_registers.cu", **registers,
        traffic=lambda M, N, given, itemsize: (3 + given) * M * N * itemsize + 2 * BLOCK * M * max(itemsize, 4),
    ),
    Kernel(
        "05_vector.cu", **vector,
        traffic=lambda M, N, given, itemsize: (3 + given) * M * N * itemsize + 2 * BLOCK * M * max(itemsize, 4),
    ),
    Kernel(
        "06_resident.cu", **resident, smem=lambda N, itemsize: 2 * N * itemsize,
        when=lambda N, itemsize, arch: 2 * N * itemsize <= room(arch),
        traffic=lambda M, N, given, itemsize: (3 + 2 * given) * M * N * itemsize + 2 * WIDE * M * max(itemsize, 4),
    ),
    choose=lambda N, itemsize, arch: pick(
        N, itemsize, 2, arch, "02_warp_row", "03_block_row", "04_registers", "05_vector", "06_resident"
    ),
)  # fmt: skip
ladder(
    "layer_norm.weights",
    Kernel(
        "01_naive.cu", grid=lambda N: ceil_div(N, BLOCK), block=BLOCK, BLOCK=BLOCK,
        traffic=lambda M, N, itemsize: 2 * M * N * (itemsize + max(itemsize, 4)),
    ),
    Kernel(
        "02_columns.cu", grid=lambda N: ceil_div(N, 32), block=(32, SHARE), ROWS=SHARE,
        traffic=lambda M, N, itemsize: 2 * M * N * (itemsize + max(itemsize, 4)),
    ),
    Kernel(
        "03_split.cu", Step("layer_norm_bwd_dw_partial", grid=lambda N, pieces: (ceil_div(N, 32), pieces), block=(32, SHARE)),
        Step("layer_norm_bwd_dw_merge", grid=lambda N: ceil_div(N, BLOCK), block=BLOCK), ROWS=SHARE, BLOCK=BLOCK,
        workspace={"partial": lambda N, pieces: ((2, pieces, N), "acc")},
        traffic=lambda M, N, pieces, itemsize: 2 * M * N * (itemsize + max(itemsize, 4)) + 4 * N * pieces * max(itemsize, 4),
    ),
    choose=lambda pieces: "03_split" if pieces > 1 else "02_columns",
)  # fmt: skip


def layer_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalise over the last dimensions, which must be normalized_shape.

        y  = xhat * weight + bias,   xhat = (x - mean) * rstd,   rstd = 1 / sqrt(var + eps)
        dx = rstd * (g - mean(g) - xhat * mean(g * xhat)),   g = dy * weight

    input: floating, any shape that ends so; weight, bias: of shape normalized_shape and input's dtype, or float32 for a half input. Returns
    input's shape and dtype. ShapeError for shapes that do not fit, TypeError for dtypes. Source: Ba et al. 2016, arXiv:1607.06450.
    """
    check_tensor("layer_norm", input=input)
    check_float("layer_norm", input=input)
    shape = as_shape((normalized_shape,))
    if not shape or tuple(input.shape[-len(shape) :]) != tuple(shape):
        raise ShapeError(f"layer_norm: input is {tuple(input.shape)}; its last dimensions must be normalized_shape = {tuple(shape)}")
    given = {k: t for k, t in (("weight", weight), ("bias", bias)) if t is not None}
    check_tensor("layer_norm", **given)
    for name, t in given.items():
        if tuple(t.shape) != tuple(shape):
            raise ShapeError(f"layer_norm: {name} is {tuple(t.shape)}; it must be normalized_shape = {tuple(shape)}")
        if t.dtype != input.dtype and not (input.dtype in HALVES and t.dtype == _dtypes.float32):
            raise TypeError(f"layer_norm: {name} is {t.dtype} and input is {input.dtype}; they must be equal")
    if len({t.dtype for t in given.values()}) > 1:
        raise TypeError(f"layer_norm: weight is {given['weight'].dtype} and bias is {given['bias'].dtype}; they must be equal")
    return LayerNorm.apply(input, weight, bias, dims=len(shape), eps=float(eps))


def whole(parameter: Any, otherwise: float, n: int, dtype: Any) -> np.ndarray:
    """The n values of a parameter in one run and in this dtype; those of an absent one."""
    return np.full(n, otherwise, dtype) if parameter is None else np.ascontiguousarray(parameter, dtype).reshape(-1)


class LayerNorm(Op, name="layer_norm"):
    ladders = ("layer_norm.forward", "layer_norm.backward", "layer_norm.weights")

    def _round(self, out: Any, arrays: Any) -> Any:
        return out if out.dtype == arrays[0].dtype else out.astype(arrays[0].dtype)  # input's dtype decides, not a float32 weight's

    def forward_cpu(self, x: Any, weight: Any, bias: Any, dims: int, eps: float) -> Any:
        M, N = self._view(x, dims).values()
        y, mean, rstd = np.empty(x.shape, x.dtype), np.empty(M, x.dtype), np.empty(M, x.dtype)
        if x.size:
            w, b = whole(weight, 1, N, x.dtype), whole(bias, 0, N, x.dtype)
            zero = x.dtype.type(0)
            norms().rows_forward(np.ascontiguousarray(x).reshape(M, N), w, b, y.reshape(M, N), mean, rstd, 0, zero, x.dtype.type(eps))
        self.save(x=x, weight=weight, mean=mean, rstd=rstd)
        return y

    def backward_cpu(self, dy: Any, x: Any, weight: Any, mean: Any, rstd: Any, dims: int) -> Any:
        M, N = self._view(x, dims).values()
        dx = np.empty(x.shape, x.dtype)
        dw, db = (np.zeros(x.shape[x.ndim - dims :], x.dtype) for _ in range(2))
        if x.size:
            flat = [np.ascontiguousarray(a).reshape(M, N) for a in (dy, x)]
            w = whole(weight, 1, N, x.dtype)
            norms().rows_backward(*flat, w, mean, rstd, dx.reshape(M, N), dw.reshape(-1), db.reshape(-1), 0, x.dtype.type(0))
        return dx, dw, db

    def _view(self, x: Any, dims: int) -> dict[str, int]:
        return {"M": math.prod(x.shape[: x.ndim - dims]), "N": math.prod(x.shape[x.ndim - dims :])}

    def forward_kernel(self, x: Any, weight: Any, bias: Any, dims: int, eps: float) -> Any:
        y, view = self.device.empty(x.shape, x.dtype), self._view(x, dims)
        acc = _dtypes.float64 if x.dtype == _dtypes.float64 else _dtypes.float32
        mean, rstd = (self.device.empty((view["M"],), acc) for _ in range(2))
        stand_in = next((a for a in (weight, bias) if a is not None), mean)  # for an absent parameter: not read
        if x.size:
            self.launch(
                "layer_norm.forward", {"WEIGHT": int(weight is not None), "BIAS": int(bias is not None)}, x=x,
                weight=stand_in if weight is None else weight, bias=stand_in if bias is None else bias, y=y, mean=mean, rstd=rstd,
                **view, eps=eps, given=(weight is not None) + (bias is not None),
            )  # fmt: skip
        self.save(x=x, weight=weight, mean=mean, rstd=rstd)
        return y

    def backward_kernel(self, dy: Any, x: Any, weight: Any, mean: Any, rstd: Any, dims: int) -> Any:
        dx, view = self.device.empty(x.shape, x.dtype), self._view(x, dims)
        if self.needs[0] and x.size:
            self.launch(
                "layer_norm.backward", {"WEIGHT": int(weight is not None)}, dy=dy, x=x, weight=mean if weight is None else weight,
                mean=mean, rstd=rstd, dx=dx, **view, given=int(weight is not None),
            )  # fmt: skip
        if not (self.needs[1] or self.needs[2]):
            return dx, None, None
        dw, db = (self.device.empty(x.shape[x.ndim - dims :], mean.dtype) for _ in range(2))
        if x.size:
            self.launch("layer_norm.weights", dy=dy, x=x, mean=mean, rstd=rstd, dw=dw, db=db, **view, pieces=pieces(**view))
        else:
            kernels.fill(self.device, dw, 0.0)
            kernels.fill(self.device, db, 0.0)
        return dx, dw, db

    def backward_graph(self, dy: Tensor, x: Tensor, weight: Any, dims: int, eps: float) -> Any:
        over, rows = tuple(range(x.ndim - dims, x.ndim)), tuple(range(x.ndim - dims))
        n = max(math.prod(x.shape[x.ndim - dims :]), 1)
        centred = x - x.sum(over, keepdim=True) / n  # from x anew: mean and rstd depend on it
        rstd = ((centred * centred).sum(over, keepdim=True) / n + eps) ** -0.5
        xhat = centred * rstd
        g = dy if weight is None else dy * weight
        dx = rstd * (g - g.sum(over, keepdim=True) / n - xhat * ((g * xhat).sum(over, keepdim=True) / n))
        return dx, ((dy * xhat).sum(rows) if rows else dy * xhat), (dy.sum(rows) if rows else dy)

    def literals() -> Any:
        yield (
            [np.array([[1.0, 3.0], [5.0, 5.0]]), (2,), np.array([1.0, 2.0]), np.array([0.0, 3.0])],
            [[-1.0, 5.0], [0.0, 3.0]],
            dict(eps=1e-300),
        )

    def samples(rng: Any) -> Any:
        for shape, dims in [((1, 2), 1), ((5, 3), 1), ((300, 4), 1), ((3, 70), 1), ((2, 3, 4), 2), ((7,), 1), ((0, 3), 1), ((2, 2, 33), 1)]:
            n = shape[len(shape) - dims :]
            # of two values, xhat is 1 and -1 and dx cancels but for eps: what is left is the rounding of its terms
            yield Sample(rng.normal(1, 2, size=shape), n, rng.normal(size=n), rng.normal(size=n), _tolerance=8 if n == (2,) else 1)
        for shape in [
            (2, 4100),
            (3, 600),
            (2, 513),
            (300, 40),
        ]:  # a row in shared memory, in registers by vectors and one by one; many rows
            yield Sample(rng.normal(1, 2, size=shape), shape[1:], rng.normal(size=shape[1:]), rng.normal(size=shape[1:]))
        yield Sample(rng.normal(size=(4, 5)), (5,))
        yield Sample(rng.normal(size=(4, 5)), [5], bias=rng.normal(size=5), eps=0.1)

    def errors() -> Any:
        x = np.zeros((2, 3))
        yield Sample(x, 2), RuntimeError, r"layer_norm: input is \(2, 3\); its last dimensions must be normalized_shape = \(2,\)"
        yield Sample(x, 3, np.zeros(2)), RuntimeError, r"layer_norm: weight is \(2,\); it must be normalized_shape = \(3,\)"
        yield Sample(x, 3, np.zeros(3, np.float32)), TypeError, r"layer_norm: weight is float32 and input is float64"

    def cost(x: Any, *_: Any, **__: Any) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=8 * x.size)
