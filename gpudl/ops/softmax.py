"""Softmax along one axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl._dtypes import FLOATS, as_dtype, float32, float64
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, NumbaKernel, ceil_div, ladder
from gpudl.ops._common import axis, check_float, check_tensor, numpy_names, room

BLOCK = 256  # rows per block, one thread each
ROWS = 4  # rows per block, one warp each
WIDE = 512  # threads of a block that keeps a long row in shared memory
KEEP = 16  # values of a row that a thread keeps in registers, where a block has one row
naive: dict[str, Any] = dict(grid=lambda M: ceil_div(M, BLOCK), block=BLOCK, BLOCK=BLOCK, dtypes=FLOATS)
warp: dict[str, Any] = dict(grid=lambda M: ceil_div(M, ROWS), block=(32, ROWS), ROWS=ROWS, dtypes=FLOATS)
# a block a row pays from a value for each of its threads on; KEEP is the most that registers are spent on
block: dict[str, Any] = dict(grid=lambda M: M, block=BLOCK, BLOCK=BLOCK, dtypes=FLOATS, when=lambda N: N >= BLOCK)
registers: dict[str, Any] = dict(grid=lambda M: M, block=BLOCK, BLOCK=BLOCK, KEEP=KEEP, dtypes=FLOATS, when=lambda N: N <= BLOCK * KEEP)
vector: dict[str, Any] = registers | dict(align=16, when=lambda N, itemsize: N <= BLOCK * KEEP and N * itemsize % 16 == 0)
resident: dict[str, Any] = dict(
    grid=lambda M: M, block=WIDE, BLOCK=WIDE, dtypes=FLOATS, smem=lambda N, itemsize: N * itemsize,
    when=lambda N, itemsize, arch: N >= BLOCK and N * itemsize <= room(arch),
)  # fmt: skip
resident_pair: dict[str, Any] = resident | dict(
    smem=lambda N, itemsize: 2 * N * itemsize, when=lambda N, itemsize, arch: N >= BLOCK and 2 * N * itemsize <= room(arch)
)
numba: dict[str, Any] = dict(grid=lambda M: ceil_div(M, 64), block=64, dtypes=(float32, float64))


def pick(N: int, itemsize: int, kept: int, arch: int, warp_row: str, block_row: str, registers: str, vector: str, resident: str) -> str:
    """The dispatch rule, by the length of a row alone: what one warp does well, what fits registers, shared memory, neither."""
    if N < 2 * BLOCK:
        return warp_row
    if N <= BLOCK * KEEP:
        return registers if N * itemsize % 16 else vector
    return resident if kept * N * itemsize <= room(arch) else block_row


ladder(  # first to last: the order of the lesson
    "softmax.forward",
    NumbaKernel("forward_naive", **numba),
    Kernel("01_naive.cu", **naive, traffic=lambda M, N, itemsize: 4 * M * N * itemsize),
    Kernel("02_warp_row.cu", **warp, traffic=lambda M, N, itemsize: 4 * M * N * itemsize),
    Kernel("03_online.cu", **warp, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    Kernel("04_block_row.cu", **block, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    Kernel("05_registers.cu", **registers, traffic=lambda M, N, itemsize: 2 * M * N * itemsize),
    Kernel("06_vector.cu", **vector, traffic=lambda M, N, itemsize: 2 * M * N * itemsize),
    Kernel("07_resident.cu", **resident, traffic=lambda M, N, itemsize: 2 * M * N * itemsize),
    choose=lambda N, itemsize, arch: pick(N, itemsize, 1, arch, "03_online", "04_block_row", "05_registers", "06_vector", "07_resident"),
)
ladder(
    "softmax.backward",
    NumbaKernel("backward_naive", **numba),
    Kernel("01_naive.cu", **naive, traffic=lambda M, N, itemsize: 5 * M * N * itemsize),
    Kernel("02_warp_row.cu", **warp, traffic=lambda M, N, itemsize: 5 * M * N * itemsize),
    Kernel("03_block_row.cu", **block, traffic=lambda M, N, itemsize: 5 * M * N * itemsize),
    Kernel("04_registers.cu", **registers, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    Kernel("05_vector.cu", **vector, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    Kernel("06_resident.cu", **resident_pair, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    choose=lambda N, itemsize, arch: pick(N, itemsize, 2, arch, "02_warp_row", "03_block_row", "04_registers", "05_vector", "06_resident"),
)


@numpy_names
def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Softmax along dim (default: the last, where PyTorch's module would warn and guess).

        y[i] = exp(x[i] - hi) / sum_j exp(x[j] - hi),    hi = max_j x[j]
        dx   = y * (dy - sum_j dy[j] * y[j])

    input: any shape, floating dtype (or any dtype with `dtype=`, to which it is cast first). Returns the same shape, dtype and device (an
    empty input gives an empty result). IndexError for a dim out of range; TypeError for an integer dtype. A row with NaN or +inf is NaN.
    Source: Milakov & Gimelshein 2018, arXiv:1805.02867 (maximum and sum in one pass; rung 03).
    """
    check_tensor("softmax", input=input)
    if dtype is not None:
        input = input.to(as_dtype(dtype))
    check_float("softmax", input=input)
    return Softmax.apply(input, dim=axis("softmax", -1 if dim is None else dim, input.ndim))


def rows(device: Any, x: Any, dim: int) -> tuple[Any, int, int]:
    """x as M rows of N along dim: (array with dim last, M, N). The kernels want it contiguous and the launch copies it where it is not."""
    if x.ndim == 0:
        return x.reshape(1, 1), 1, 1
    x = device.xp.moveaxis(x, dim, -1)
    return x, math.prod(x.shape[:-1]), x.shape[-1]


class Softmax(Op, name="softmax"):
    def forward_cpu(self, x: Any, dim: int) -> Any:
        if x.size == 0:
            return self.save(y=x.copy())
        rows = np.atleast_1d(x)
        e = np.exp(rows - rows.max(dim, keepdims=True))
        e /= e.sum(dim, keepdims=True)
        return self.save(y=e.reshape(x.shape))

    def backward_cpu(self, dy: Any, y: Any, dim: int) -> Any:
        if y.ndim == 0:
            return dy * 0
        return y * (dy - (y * dy).sum(dim, keepdims=True))

    def forward_kernel(self, x: Any, dim: int) -> Any:
        flat, M, N = rows(self.device, x, dim)
        y = self.device.empty(flat.shape, x.dtype)
        self.launch("softmax.forward", x=flat, y=y, M=M, N=N)
        return self.save(y=self.device.xp.moveaxis(y, -1, dim) if x.ndim else y.reshape(()))

    def backward_kernel(self, dy: Any, y: Any, dim: int) -> Any:
        dy, M, N = rows(self.device, dy, dim)
        dx = self.device.empty(dy.shape, dy.dtype)
        self.launch("softmax.backward", dy=dy, y=rows(self.device, y, dim)[0], dx=dx, M=M, N=N)
        return self.device.xp.moveaxis(dx, -1, dim) if y.ndim else dx.reshape(())

    def backward_graph(self, dy: Tensor, y: Tensor, dim: int) -> Tensor:
        return y * (dy - (y * dy).sum(dim, keepdim=True))

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        yield [np.array([[0.0, np.log(3.0)]])], [[0.25, 0.75]]
        yield [np.array([1000.0, 1000.0, -np.inf])], [0.5, 0.5, 0.0]

    def samples(rng: Any) -> Any:
        yield from (
            Sample(rng.normal(size=s), dim=d)
            for s, d in [((1, 1), 0), ((3, 31), 1), ((2, 32, 5), 1), ((4, 1025), -1), ((300, 3), 1), ((2, 520), 1), ((1, 4100), 1)]
        )
        yield Sample(rng.normal(size=()), dim=0)
        yield Sample(np.zeros((0, 3)), dim=1)
        yield Sample(np.zeros((3, 0)), dim=1)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), dim=2), IndexError, r"softmax: dim 2 is out of range"
        yield Sample(np.zeros((2, 3), np.int64)), TypeError, r"softmax: input is int64; a floating dtype is needed"

    def cost(x: Any, dim: int | None = None) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=5 * x.size)
