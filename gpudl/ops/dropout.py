"""Dropout: random elements, or whole channels, set to zero while training."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import _creation, _random
from gpudl._dtypes import float32
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, Step, ceil_div, ladder
from gpudl.ops._common import check_float, check_tensor

BLOCK = 256
_advance = Step("advance", grid=1, block=1)


def quads(size: int, sms: int) -> int:
    """Blocks whose threads take four neighbours at a time."""
    return min(ceil_div(size, 4 * BLOCK), 16 * sms)


ladder(
    "dropout.forward",
    Kernel(
        "01_naive.cu",
        Step("dropout_fwd", grid=lambda size: ceil_div(size, BLOCK), block=BLOCK),
        _advance,
        BLOCK=BLOCK,
        traffic=lambda size, itemsize, p: size * ((2 - p) * itemsize + 1 + 16) + 16,
    ),
    Kernel(
        "02_four.cu",
        Step("dropout_fwd", grid=quads, block=BLOCK),
        _advance,
        BLOCK=BLOCK,
        traffic=lambda size, itemsize, sms: size * (2 * itemsize + 1) + 16 * BLOCK * quads(size, sms) + 16,
    ),
)
backward: dict[str, Any] = dict(block=BLOCK, BLOCK=BLOCK)
ladder(
    "dropout.backward",
    Kernel(
        "01_naive.cu",
        grid=lambda size: ceil_div(size, BLOCK),
        traffic=lambda size, itemsize, scale: size * ((1 + (1 / scale if scale else 0)) * itemsize + 1),  # of dy what was kept: 1 - p of it
        **backward,
    ),
    Kernel(
        "02_vector.cu",
        grid=lambda size, sms, itemsize: min(ceil_div(size * itemsize, 16 * BLOCK), 16 * sms),
        traffic=lambda size, itemsize: size * (2 * itemsize + 1),
        **backward,
    ),
)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each element to 0 with probability p and multiply the others by 1 / (1 - p), which keeps the mean; the input itself if not training.

    input: any shape, floating dtype. p = 0 changes nothing, p = 1 gives zeros. ValueError for p outside [0, 1]; TypeError for an integer dtype.
    The mask comes from the device's default generator (`gpudl.manual_seed`), element by element, the same on every device.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014, JMLR 15, 1929-1958.
    """
    _check("dropout", input, p)
    if not training or p == 0:
        return input
    out = Dropout.apply(input, p=float(p), generator=_random.default_generator(input.device))
    return input._become(out, "dropout_") if inplace else out


def _channels(op: str, input: Tensor, p: float, training: bool, inplace: bool, ndims: tuple[int, ...], batched: int) -> Tensor:
    _check(op, input, p)
    if input.ndim not in ndims:
        raise ShapeError(f"{op}: input is {tuple(input.shape)}; it must have {' or '.join(map(str, ndims))} dimensions")
    if not training or p == 0:
        return input
    lead = input.shape[: 2 if input.ndim == batched else 1]
    ones = _creation.ones(*lead, *[1] * (input.ndim - len(lead)), dtype=input.dtype, device=input.device)
    out = input * dropout(ones, p)
    return input._become(out, op + "_") if inplace else out


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As `dropout`, for whole channels of (N, C, L) or (C, L). Source: Tompson et al. 2015, arXiv:1411.4280."""
    return _channels("dropout1d", input, p, training, inplace, (2, 3), 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As `dropout`, for whole channels of (N, C, H, W) or (C, H, W). Source: Tompson et al. 2015, arXiv:1411.4280."""
    return _channels("dropout2d", input, p, training, inplace, (3, 4), 4)


def _check(op: str, input: Any, p: Any) -> None:
    check_tensor(op, input=input)
    check_float(op, input=input)
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: the dropout probability must be between 0 and 1, not {p}")


def _seeded(input: Tensor, p: float = 0.5, seed: int = 7) -> Tensor:
    """Dropout with a mask that is the same in each call: what tests need."""
    _check("dropout", input, p)
    return Dropout.apply(input, p=float(p), generator=_random.Generator(input.device).manual_seed(seed))


class Dropout(Op, name="dropout", function="_seeded"):
    def forward_cpu(self, x: Any, p: float, generator: Any) -> Any:
        u = np.empty(x.shape, float32)
        generator._fill(u, "uniform")
        factor = (u >= np.float32(p)) * x.dtype.type(scale(p))  # one multiplication each way; backward needs no mask
        self.save(factor=factor)
        return np.asarray(x * factor)

    def backward_cpu(self, dy: Any, factor: Any) -> Any:
        return dy * factor

    def forward_kernel(self, x: Any, p: float, generator: Any) -> Any:
        y, mask = self.device.empty(x.shape, x.dtype), self.device.empty(x.shape, np.bool_)
        self.launch("dropout.forward", x=x, y=y, mask=mask, state=generator.memory(), size=x.size, p=p, scale=scale(p))
        self.save(mask=mask)
        return y

    def backward_kernel(self, dy: Any, mask: Any, p: float) -> Any:
        dx = self.device.empty(dy.shape, dy.dtype)
        self.launch("dropout.backward", dy=dy, mask=mask, dx=dx, size=dy.size, scale=scale(p))
        return dx

    def backward_graph(self, dy: Tensor, factor: Any, mask: Any, p: float) -> Tensor:
        if mask is None:
            return dy * factor
        from gpudl.ops.elementwise import where

        return where(mask, dy * scale(p), 0.0)

    def literals() -> Any:
        yield [np.array([1.0, -2.0]), 0.0], [1.0, -2.0]
        yield [np.array([1.0, -2.0]), 1.0], [0.0, 0.0]

    def samples(rng: Any) -> Any:
        yield Sample(rng.normal(size=(3, 5)), 0.5)
        yield Sample(rng.normal(size=()), 0.25)
        yield Sample(rng.normal(size=(0, 5)), 0.25)
        yield Sample(rng.normal(size=(613,)), 0.9)
        yield Sample(rng.normal(size=(2, 3, 4)), 1.0)
        yield Sample(rng.normal(size=(5, 7)).T, 0.1)

    def errors() -> Any:
        yield Sample(np.ones(2), 1.5), ValueError, r"dropout: the dropout probability must be between 0 and 1, not 1.5"
        yield Sample(np.ones(2), float("nan")), ValueError, r"dropout: the dropout probability must be between 0 and 1, not nan"
        yield Sample(np.ones(2, np.int64)), TypeError, r"dropout: input is int64; a floating dtype is needed"

    def cost(x: Any, p: float = 0.5, seed: int = 7) -> Cost:
        return Cost(bytes=2 * x.nbytes + x.size, flops=x.size)


def scale(p: float) -> float:
    return 0.0 if p == 1 else 1 / (1 - p)
