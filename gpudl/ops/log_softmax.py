"""Logarithm of the softmax along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl._dtypes import as_dtype
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, ladder
from gpudl.ops._common import axis, check_float, check_tensor, numpy_names
from gpudl.ops.softmax import block, naive, pick, registers, resident, resident_pair, rows, vector, warp

ladder(
    "log_softmax.forward",
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
    "log_softmax.backward",
    Kernel("01_naive.cu", **naive, traffic=lambda M, N, itemsize: 4 * M * N * itemsize),
    Kernel("02_warp_row.cu", **warp, traffic=lambda M, N, itemsize: 4 * M * N * itemsize),
    Kernel("03_block_row.cu", **block, traffic=lambda M, N, itemsize: 4 * M * N * itemsize),
    Kernel("04_registers.cu", **registers, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    Kernel("05_vector.cu", **vector, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    Kernel("06_resident.cu", **resident_pair, traffic=lambda M, N, itemsize: 3 * M * N * itemsize),
    choose=lambda N, itemsize, arch: pick(N, itemsize, 2, arch, "02_warp_row", "03_block_row", "04_registers", "05_vector", "06_resident"),
)


@numpy_names
def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """log(softmax(input)) along dim (default: the last), without overflow or a logarithm of 0.

        y[i] = x[i] - hi - log(sum_j exp(x[j] - hi)),    hi = max_j x[j]
        dx   = dy - exp(y) * sum_j dy[j]

    input: any shape, floating dtype (or any dtype with `dtype=`, to which it is cast first). Returns the same shape, dtype and device (an
    empty input gives an empty result). IndexError for a dim out of range; TypeError for an integer dtype. A row with NaN or +inf is NaN.
    Source: Milakov & Gimelshein 2018, arXiv:1805.02867 (maximum and sum in one pass; rung 03).
    """
    check_tensor("log_softmax", input=input)
    if dtype is not None:
        input = input.to(as_dtype(dtype))
    check_float("log_softmax", input=input)
    return LogSoftmax.apply(input, dim=axis("log_softmax", -1 if dim is None else dim, input.ndim))


class LogSoftmax(Op, name="log_softmax"):
    def forward_cpu(self, x: Any, dim: int) -> Any:
        if x.size == 0:
            return self.save(y=x.copy())
        z = np.atleast_1d(x)
        z = z - z.max(dim, keepdims=True)
        z -= np.log(np.exp(z).sum(dim, keepdims=True))
        return self.save(y=z.reshape(x.shape))

    def backward_cpu(self, dy: Any, y: Any, dim: int) -> Any:
        if y.ndim == 0:
            return dy * 0
        return dy - np.exp(y) * dy.sum(dim, keepdims=True)

    def forward_kernel(self, x: Any, dim: int) -> Any:
        flat, M, N = rows(self.device, x, dim)
        y = self.device.empty(flat.shape, x.dtype)
        self.launch("log_softmax.forward", x=flat, y=y, M=M, N=N)
        return self.save(y=self.device.xp.moveaxis(y, -1, dim) if x.ndim else y.reshape(()))

    def backward_kernel(self, dy: Any, y: Any, dim: int) -> Any:
        dy, M, N = rows(self.device, dy, dim)
        dx = self.device.empty(dy.shape, dy.dtype)
        self.launch("log_softmax.backward", dy=dy, y=rows(self.device, y, dim)[0], dx=dx, M=M, N=N)
        return self.device.xp.moveaxis(dx, -1, dim) if y.ndim else dx.reshape(())

    def backward_graph(self, dy: Tensor, y: Tensor, dim: int) -> Tensor:
        return dy - y.exp() * (dy.sum(dim, keepdim=True) if y.ndim else dy)

    def literals() -> Any:
        yield [np.array([[0.0, np.log(3.0)]])], [[-np.log(4.0), np.log(0.75)]]
        yield [np.array([1e9, 1e9, -np.inf])], [-np.log(2.0), -np.log(2.0), -np.inf]

    def samples(rng: Any) -> Any:
        yield from (
            Sample(rng.normal(size=s), dim=d)
            for s, d in [((1, 1), 0), ((3, 31), 1), ((2, 32, 5), 1), ((4, 1025), -1), ((300, 3), 1), ((2, 520), 1), ((1, 4100), 1)]
        )
        yield Sample(rng.normal(size=()), dim=0)
        yield Sample(np.zeros((0, 3)), dim=1)
        yield Sample(np.zeros((3, 0)), dim=1)

    def errors() -> Any:
        yield Sample(np.zeros((2, 3)), dim=2), IndexError, r"log_softmax: dim 2 is out of range"
        yield Sample(np.zeros((2, 3), np.int64)), TypeError, r"log_softmax: input is int64; a floating dtype is needed"

    def cost(x: Any, dim: int | None = None) -> Cost:
        return Cost(bytes=2 * x.nbytes, flops=6 * x.size)
