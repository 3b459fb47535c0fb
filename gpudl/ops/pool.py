"""Pooling over windows of an image: maximum, average, adaptive average, adaptive maximum.

Letters: x (N, C, H, W), y (N, C, P, Q), windows of (R, S). Max pooling keeps for each result the place of its maximum; its gradient sends dy
there (`max_unpool`), and the gradient of that takes from there (`max_take`): closed under differentiation. So are the average and its transpose.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl._cpu import pool as cpu
from gpudl._dtypes import float32, float64
from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, NumbaKernel, Step, ceil_div, ladder
from gpudl.ops._common import check_float, check_tensor, pair

BLOCK = 256
WARPS = 8  # windows of a block, one warp each
TILE = (8, 32)  # results (forward) or places (backward) of a block that shares what it reads
SHARED = 48 * 1024  # bytes of shared memory that a block gets without asking for more
by_result_step: dict[str, Any] = dict(grid=lambda M, P, Q: ceil_div(M * P * Q, BLOCK), block=BLOCK)
by_image_step: dict[str, Any] = dict(grid=lambda M, H, W: ceil_div(M * H * W, BLOCK), block=BLOCK)
by_result_numba: dict[str, Any] = dict(grid=lambda M, P, Q: ceil_div(M * P * Q, 64), block=64, dtypes=(float32, float64))
by_result, by_image = by_result_step | {"BLOCK": BLOCK}, by_image_step | {"BLOCK": BLOCK}


def area(H: int, W: int, P: int, Q: int, R: int, S: int) -> float:
    """Elements of a window inside the image, on average where they are adaptive (R = S = 0) and P and Q divide H and W."""
    return R * S if R else H / P * (W / Q)


def beside(W: int, S: int, stride_w: int, pad_w: int, itemsize: int, dilation_w: int = 1) -> bool:
    """Whether windows lie side by side along a row, and 16 bytes hold whole ones: what the vector rungs take."""
    return S == stride_w and pad_w == 0 and dilation_w == 1 and W * itemsize % 16 == 0 and 16 // itemsize % S == 0


def halo(tile: int, stride: int, window: int, dilation: int) -> int:
    """Rows of the image that `tile` rows of windows cover."""
    return (tile - 1) * stride + (window - 1) * dilation + 1


def above(tile: int, stride: int, window: int, dilation: int) -> int:
    """The most rows of windows that cover `tile` rows of the image."""
    return (tile - 1 + (window - 1) * dilation) // stride + 1


def forward_smem(TP: int, TQ: int, R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int, itemsize: int) -> int:
    return itemsize * halo(TP, stride_h, R, dilation_h) * halo(TQ, stride_w, S, dilation_w)


def backward_smem(TH: int, TW: int, R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int, itemsize: int) -> int:
    return (itemsize + 4) * (ceil_div(above(TH, stride_h, R, dilation_h) * above(TW, stride_w, S, dilation_w), 2) * 2)


def loaded(tile: int, count: int, extent: int, window: int, stride: int, pad: int, dilation: int) -> int:
    """Rows of the image that all tiles of `tile` rows of windows load, halos and all."""
    tops = range(-pad, count * stride - pad, tile * stride)
    return sum(max(min(top + halo(tile, stride, window, dilation), extent) - max(top, 0), 0) for top in tops)


def covering(tile: int, count: int, extent: int, window: int, stride: int, pad: int, dilation: int) -> int:
    """Rows of windows that all tiles of `tile` rows of the image load."""
    ends = [(h, min(h + tile, extent) - 1) for h in range(0, extent, tile)]
    span = (window - 1) * dilation
    return sum(max(min((last + pad) // stride + 1, count) - max(ceil_div(first + pad - span, stride), 0), 0) for first, last in ends)


def forward_traffic(
    TP: int, TQ: int, M: int, H: int, W: int, P: int, Q: int, R: int, S: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
    dilation_h: int, dilation_w: int, itemsize: int,
) -> int:  # fmt: skip
    rows, cols = loaded(TP, P, H, R, stride_h, pad_h, dilation_h), loaded(TQ, Q, W, S, stride_w, pad_w, dilation_w)
    return itemsize * M * rows * cols + (itemsize + 1) * M * P * Q


def backward_traffic(
    TH: int, TW: int, M: int, H: int, W: int, P: int, Q: int, R: int, S: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
    dilation_h: int, dilation_w: int, itemsize: int, offsets: bool,
) -> int:  # fmt: skip
    rows, cols = covering(TH, P, H, R, stride_h, pad_h, dilation_h), covering(TW, Q, W, S, stride_w, pad_w, dilation_w)
    return (itemsize + place(offsets)) * M * rows * cols + itemsize * M * H * W


def place(offsets: bool) -> int:
    """Bytes of the place of a maximum."""
    return 1 if offsets else 8


def overlap(R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int) -> bool:
    """Whether windows share places: then a tile of them is worth keeping."""
    return (R - 1) * dilation_h >= stride_h or (S - 1) * dilation_w >= stride_w


def pick(flat: str) -> Any:
    """The dispatch rule of max pooling: a tile where windows share places, vectors where they lie side by side, else `flat`."""

    def rule(
        offsets: bool, W: int, R: int, S: int, stride_h: int, stride_w: int, pad_w: int, dilation_h: int, dilation_w: int, itemsize: int
    ) -> str:  # fmt: skip
        if R and overlap(R, S, stride_h, stride_w, dilation_h, dilation_w):
            return "04_tile"
        return "03_vector" if offsets and R and beside(W, S, stride_w, pad_w, itemsize, dilation_w) else flat

    return rule


vector_result: dict[str, Any] = dict(grid=lambda M, P, W, itemsize: ceil_div(M * P * W * itemsize, 16 * BLOCK), block=BLOCK, BLOCK=BLOCK, align=16)
vector_image: dict[str, Any] = vector_result | dict(grid=lambda M, H, W, itemsize: ceil_div(M * H * W * itemsize, 16 * BLOCK))
ladder(  # the op says which form of index it wants: `offsets`
    "max_pool2d.forward",
    NumbaKernel("forward_naive", **by_result_numba, when=lambda offsets: not offsets),
    NumbaKernel("forward_offsets", **by_result_numba, when=lambda offsets: offsets),
    Kernel(
        "01_naive.cu",
        **by_result,
        when=lambda offsets: not offsets,
        traffic=lambda M, H, W, P, Q, R, S, itemsize: M * P * Q * (itemsize * area(H, W, P, Q, R, S) + itemsize + 8),
    ),
    Kernel(
        "02_offsets.cu",
        **by_result,
        when=lambda offsets: offsets,
        traffic=lambda M, P, Q, R, S, itemsize: M * P * Q * (itemsize * R * S + itemsize + 1),
    ),
    Kernel(
        "03_vector.cu",
        **vector_result,
        when=lambda offsets, W, S, stride_w, pad_w, dilation_w, itemsize: offsets and beside(W, S, stride_w, pad_w, itemsize, dilation_w),
        traffic=lambda M, P, Q, R, S, itemsize: M * P * Q * (itemsize * R * S + itemsize + 1),
    ),
    Kernel(
        "04_tile.cu",
        grid=lambda M, P, Q, TP, TQ: M * ceil_div(P, TP) * ceil_div(Q, TQ),
        block=TILE[::-1],
        smem=forward_smem,
        TP=TILE[0],
        TQ=TILE[1],
        when=lambda offsets, R, S, stride_h, stride_w, dilation_h, dilation_w, itemsize: (
            offsets and forward_smem(*TILE, R, S, stride_h, stride_w, dilation_h, dilation_w, itemsize) <= SHARED
        ),
        traffic=forward_traffic,
    ),
    choose=pick("02_offsets"),
)
ladder(
    "max_pool2d.backward",
    NumbaKernel("backward_gather", grid=lambda M, H, W: ceil_div(M * H * W, 64), block=64, dtypes=(float32, float64), when=lambda R: R > 0),
    Kernel(
        "01_naive.cu",
        Step("max_pool2d_bwd_zero", **by_image_step),
        Step("max_pool2d_bwd", **by_result_step),
        BLOCK=BLOCK,
        dtypes=(float32, float64),  # no atomic addition of halves on every architecture
        deterministic=False,
        traffic=lambda M, H, W, P, Q, itemsize, offsets: itemsize * M * (H * W + 2 * P * Q) + place(offsets) * M * P * Q,
    ),
    Kernel(
        "02_gather.cu",
        **by_image,
        traffic=lambda M, H, W, P, Q, R, S, itemsize, offsets: (
            (place(offsets) * area(H, W, P, Q, R, S) + itemsize) * M * P * Q + itemsize * M * H * W
        ),
    ),
    Kernel(
        "03_vector.cu",
        **vector_image,
        when=lambda offsets, W, S, stride_w, pad_w, dilation_w, itemsize: offsets and beside(W, S, stride_w, pad_w, itemsize, dilation_w),
        traffic=lambda M, H, W, P, Q, R, itemsize: (itemsize + 1) * M * P * Q * R + itemsize * M * H * W,
    ),
    Kernel(
        "04_tile.cu",
        grid=lambda M, H, W, TH, TW: M * ceil_div(H, TH) * ceil_div(W, TW),
        block=TILE[::-1],
        smem=backward_smem,
        TH=TILE[0],
        TW=TILE[1],
        when=lambda H, W, R, S, stride_h, stride_w, dilation_h, dilation_w, itemsize: (
            R > 0 and H * W < 2**31 and backward_smem(*TILE, R, S, stride_h, stride_w, dilation_h, dilation_w, itemsize) <= SHARED
        ),
        traffic=backward_traffic,
    ),
    choose=pick("02_gather"),
)
taken: dict[str, Any] = dict(traffic=lambda M, P, Q, itemsize, offsets: (2 * itemsize + place(offsets)) * M * P * Q)
ladder(
    "max_pool2d.take",
    Kernel("01_naive.cu", **by_result, **taken),
    Kernel("02_several.cu", grid=lambda M, P, Q, PER: ceil_div(M * P * Q, PER * BLOCK), block=BLOCK, BLOCK=BLOCK, PER=4, **taken),
)
averages: dict[str, Any] = dict(
    traffic=lambda M, H, W, P, Q, R, S, itemsize: itemsize * M * P * Q * (area(H, W, P, Q, R, S) + 1)
)
side_by_side: dict[str, Any] = dict(when=lambda W, S, stride_w, pad_w, itemsize: S > 0 and beside(W, S, stride_w, pad_w, itemsize))


def pick_average(H: int, W: int, P: int, Q: int, R: int, S: int, stride_w: int, pad_w: int, itemsize: int) -> str:
    """A warp has 32 lanes to fill: from windows of that many elements on; else vectors where windows lie side by side."""
    if area(H, W, max(P, 1), max(Q, 1), R, S) >= 32:
        return "02_warp_window"
    return "03_vector" if S and beside(W, S, stride_w, pad_w, itemsize) else "01_naive"


ladder(
    "avg_pool2d.forward",
    Kernel("01_naive.cu", **by_result, **averages),
    Kernel("02_warp_window.cu", grid=lambda M, P, Q: ceil_div(M * P * Q, WARPS), block=(32, WARPS), WARPS=WARPS, **averages),
    Kernel("03_vector.cu", **vector_result, **side_by_side, **averages),
    choose=pick_average,
)
ladder(
    "avg_pool2d.backward",
    Kernel(
        "01_naive.cu",
        Step("avg_pool2d_bwd_zero", **by_image_step),
        Step("avg_pool2d_bwd", **by_result_step),
        BLOCK=BLOCK,
        dtypes=(float32, float64),
        deterministic=False,
        traffic=lambda M, H, W, P, Q, R, S, itemsize: itemsize * M * (P * Q * (area(H, W, P, Q, R, S) + 1) + H * W),
    ),
    Kernel(
        "02_gather.cu",
        **by_image,
        traffic=lambda M, H, W, P, Q, R, S, itemsize: itemsize * M * (P * Q * area(H, W, P, Q, R, S) + H * W),
    ),
    Kernel(
        "03_vector.cu",
        **vector_image,
        **side_by_side,
        traffic=lambda M, H, W, P, Q, R, itemsize: itemsize * M * (P * Q * R + H * W),
    ),
    choose=lambda W, S, stride_w, pad_w, itemsize: "03_vector" if S and beside(W, S, stride_w, pad_w, itemsize) else "02_gather",
)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows; a NaN wins, of equal values the first does, and padding never.

        y[n, c, p, q] = max_rs x[n, c, p * stride + r * dilation - padding, ...];    dx is dy at the place of each maximum, summed

    input (N, C, H, W) or (C, H, W), floating; kernel_size, stride (default: kernel_size), padding, dilation: a number or (height, width).
    Returns (N, C, P, Q), P = floor((H + 2 * padding - dilation * (R - 1) - 1) / stride) + 1 (ceil with ceil_mode, without windows that start past
    the image), and with return_indices the int64 place h * W + w of each maximum as well.
    ShapeError where the window does not fit, ValueError for a bad option (padding may be at most half the window), TypeError for integers.
    """
    op = "max_pool2d"
    extent, step, pad = _options(op, input, kernel_size, stride, padding)
    dilation = pair(op, "dilation", dilation, 1)
    out_size = size(op, input.shape, tuple((r - 1) * d + 1 for r, d in zip(extent, dilation)), step, pad, ceil_mode)
    x = input.unsqueeze(0) if input.ndim == 3 else input
    out = MaxPool2d.apply(x, window=extent, stride=step, pad=pad, dilation=dilation, size=out_size, indices=bool(return_indices))
    if input.ndim == 3:
        out = tuple(t.squeeze(0) for t in out) if return_indices else out.squeeze(0)
    return out


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean over windows.

        y[n, c, p, q] = sum_rs x[n, c, p * stride + r - padding, ...] / count;    dx[n, c, h, w] = sum of dy / count over the windows of (h, w)

    count is the window's size, padding included (count_include_pad; what lies past the padding with ceil_mode is never counted) or not, or
    divisor_override. Arguments, sizes and errors as max_pool2d; ValueError for divisor_override = 0.
    """
    op = "avg_pool2d"
    extent, step, pad = _options(op, input, kernel_size, stride, padding)
    if divisor_override is not None and divisor_override == 0:
        raise ValueError(f"{op}: divisor_override must not be 0; None divides by the window's size")
    out = size(op, input.shape, extent, step, pad, ceil_mode)
    x = input.unsqueeze(0) if input.ndim == 3 else input
    y = AvgPool2d.apply(x, window=extent, stride=step, pad=pad, size=out, include=bool(count_include_pad), divisor=int(divisor_override or 0))
    return y.squeeze(0) if input.ndim == 3 else y


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows laid out so that the result is (P, Q): window p covers rows floor(p * H / P) to ceil((p + 1) * H / P).

    input (N, C, H, W) or (C, H, W), floating; output_size: a number or a pair, None for the input's own size. ShapeError for an empty image.
    """
    out = _adaptive("adaptive_avg_pool2d", input, output_size)
    x = input.unsqueeze(0) if input.ndim == 3 else input
    extent = _even(x, out)
    y = AvgPool2d.apply(x, window=extent, stride=extent, pad=(0, 0), size=out, include=False, divisor=0)
    return y.squeeze(0) if input.ndim == 3 else y


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over the windows of adaptive_avg_pool2d; arguments as there, ties, NaN and indices as max_pool2d."""
    out_size = _adaptive("adaptive_max_pool2d", input, output_size)
    x = input.unsqueeze(0) if input.ndim == 3 else input
    extent = _even(x, out_size)
    out = MaxPool2d.apply(x, window=extent, stride=extent, pad=(0, 0), dilation=(1, 1), size=out_size, indices=bool(return_indices))
    if input.ndim == 3:
        out = tuple(t.squeeze(0) for t in out) if return_indices else out.squeeze(0)
    return out


def _options(op: str, input: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    check_tensor(op, input=input)
    check_float(op, input=input)
    if input.ndim not in (3, 4):
        raise ShapeError(f"{op}: input is {tuple(input.shape)}; it must be (N, C, H, W) or (C, H, W)")
    return window(op, kernel_size, stride, padding)


def window(op: str, kernel_size: Any, stride: Any, padding: Any) -> Any:
    """Window, stride (the window where it is not given) and padding as pairs."""
    size = pair(op, "kernel_size", kernel_size, 1)
    step = size if stride is None or stride == () or stride == [] else pair(op, "stride", stride, 1)
    return size, step, pair(op, "padding", padding, 0)


def size(op: str, shape: tuple[int, ...], spans: Any, stride: Any, pad: Any, ceil_mode: bool) -> tuple[int, int]:
    """(P, Q) for an image (..., H, W) and windows that span so much."""
    if any(2 * p > span for p, span in zip(pad, spans)):
        raise ValueError(f"{op}: padding {pad} must be at most half of the window {tuple(spans)}, or a window would lie in the padding alone")
    out = []
    for h, span, s, p in zip(shape[-2:], spans, stride, pad):
        room = h + 2 * p - span
        if room < 0 or h == 0:
            raise ShapeError(
                f"{op}: the image is {tuple(shape)}; the window spans {tuple(spans)} and the padded image is "
                f"{tuple(n + 2 * q for n, q in zip(shape[-2:], pad))}, which is smaller or empty"
            )
        n = (room + (s - 1 if ceil_mode else 0)) // s + 1
        out.append(n - 1 if ceil_mode and (n - 1) * s >= h + p else n)  # the last window must start inside the image or its leading padding
    return out[0], out[1]


def _adaptive(op: str, input: Any, output_size: Any) -> tuple[int, int]:
    check_tensor(op, input=input)
    check_float(op, input=input)
    if input.ndim not in (3, 4) or 0 in input.shape[-2:]:
        raise ShapeError(f"{op}: input is {tuple(input.shape)}; it must be (N, C, H, W) or (C, H, W), with an image that is not empty")
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(sizes) != 2:
        raise ValueError(f"{op}: output_size must be a number or a pair, not {output_size!r}")
    return pair(op, "output_size", tuple(h if n is None else n for n, h in zip(sizes, input.shape[-2:])), 0)


def _even(x: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """The window of all results where adaptive windows lie evenly, which more rungs take; (0, 0) where not, or on the CPU where few are large."""
    (H, W), (P, Q) = x.shape[-2:], size
    if P * Q == 0 or H % P or W % Q or (H * W > (P * Q) ** 2 and not x.device.kernels):
        return 0, 0
    return H // P, W // Q


def _scalars(shape: Any, size: Any, window: Any, stride: Any, pad: Any) -> dict[str, int]:
    """The sizes that every pooling kernel takes."""
    return dict(
        M=shape[0] * shape[1], H=shape[2], W=shape[3], P=size[0], Q=size[1], R=window[0], S=window[1],
        stride_h=stride[0], stride_w=stride[1], pad_h=pad[0], pad_w=pad[1],
    )  # fmt: skip


def launch_max_pool(op: Op, x: Any, y: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> None:
    scalars = _scalars(x.shape, y.shape[2:], window, stride, pad)
    op.launch(
        "max_pool2d.forward", x=x, y=y, at=at, **scalars, dilation_h=dilation[0], dilation_w=dilation[1], offsets=at.dtype == np.uint8
    )  # fmt: skip


def launch_unpool(op: Op, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Any:
    dx = op.device.empty(shape, dy.dtype)
    scalars = _scalars(shape, dy.shape[2:], window, stride, pad)
    offsets = at.dtype == np.uint8
    op.launch("max_pool2d.backward", dy=dy, at=at, dx=dx, **scalars, dilation_h=dilation[0], dilation_w=dilation[1], offsets=offsets)
    return dx


def launch_take(op: Op, x: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
    y = op.device.empty(at.shape, x.dtype)
    scalars = _scalars(x.shape, at.shape[2:], window, stride, pad)
    op.launch("max_pool2d.take", x=x, at=at, y=y, **scalars, dilation_h=dilation[0], dilation_w=dilation[1], offsets=at.dtype == np.uint8)
    return y


def launch_average(op: Op, x: Any, window: Any, stride: Any, pad: Any, size: Any, include: bool, divisor: int) -> Any:
    y = op.device.empty((*x.shape[:2], *size), x.dtype)
    op.launch("avg_pool2d.forward", x=x, y=y, **_scalars(x.shape, size, window, stride, pad), include=include, divisor=divisor)
    return y


def launch_spread(op: Op, dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int, shape: Any) -> Any:
    dx = op.device.empty(shape, dy.dtype)
    op.launch("avg_pool2d.backward", dy=dy, dx=dx, **_scalars(shape, dy.shape[2:], window, stride, pad), include=include, divisor=divisor)
    return dx


class MaxPool2d(Op, name="max_pool2d"):
    def forward_cpu(self, x: Any, window: Any, stride: Any, pad: Any, dilation: Any, size: Any, indices: bool) -> Any:
        y, at = cpu.max_forward(x, window, stride, pad, dilation, size)
        self.save(at=at if self.needs[0] else None)
        if not indices:
            return y
        return y, cpu.places(at, x.shape, window, stride, pad, dilation)

    def backward_cpu(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
        return cpu.max_unpool(dy, at, window, stride, pad, dilation, self.meta[0][0])  # type: ignore[attr-defined]

    def forward_kernel(self, x: Any, window: Any, stride: Any, pad: Any, dilation: Any, size: Any, indices: bool) -> Any:
        naive = self.picked.get("max_pool2d.forward") == "01_naive"  # type: ignore[attr-defined]
        offsets = not indices and not naive and 0 < window[0] * window[1] <= 256
        y = self.device.empty((*x.shape[:2], *size), x.dtype)
        at = self.device.empty(y.shape, np.uint8 if offsets else np.int64)
        launch_max_pool(self, x, y, at, window, stride, pad, dilation)
        self.save(at=at if self.needs[0] else None)
        return (y, at) if indices else y

    def backward_kernel(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
        return launch_unpool(self, dy, at, window, stride, pad, dilation, self.meta[0][0])  # type: ignore[attr-defined]

    def backward_graph(self, dy: Tensor, at: Tensor, window: Any, stride: Any, pad: Any, dilation: Any) -> Tensor:
        shape = self.meta[0][0]  # type: ignore[attr-defined]
        return MaxUnpool.apply(dy, at, window=window, stride=stride, pad=pad, dilation=dilation, shape=shape)

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        x = np.array([[[[1.0, 3.0, 2.0], [4.0, 0.0, 5.0], [7.0, 7.0, -1.0]]]])
        yield [x, 2, 1], [[[[4.0, 5.0], [7.0, 7.0]]]]
        yield [x, 2], [[[[4.0]]]]
        yield [x, 2, 2, 0, 1, True], [[[[4.0, 5.0], [7.0, -1.0]]]]
        yield [x, 2, 2, 1], [[[[1.0, 3.0], [7.0, 7.0]]]]
        yield [x, 2, 1, 0, 2], [[[[7.0]]]]
        yield [np.array([[[[np.nan, 1.0], [2.0, 3.0]]]]), 2], [[[[np.nan]]]]

    def samples(rng: Any) -> Any:
        for shape, args in [
            ((2, 3, 6, 8), (2,)),
            ((1, 2, 7, 5), (3, 2, 1)),
            ((2, 1, 9, 8), ((2, 3), (1, 2), (1, 0), (2, 1), True)),
            ((1, 1, 5, 5), (2, 2, 1, 1, True)),
            ((3, 4, 4, 34), (3, 1, 1)),
            ((0, 2, 4, 4), (2,)),
            ((2, 6, 6), (2,)),
            ((2, 2, 6, 16), ((3, 2), 2, (1, 0), (2, 1))),
            ((1, 3, 5, 16), ((2, 4), (3, 4))),
            ((2, 1, 3, 32), ((3, 1), 1, (1, 0))),
            ((1, 2, 4, 16), ((2, 8), (2, 8))),
            ((1, 2, 19, 70), (5, 2, 2)),
        ]:
            yield Sample(_distinct(rng, shape), *args)
        yield Sample(_distinct(rng, (2, 6, 7, 3)).transpose(0, 3, 1, 2), 2)
        yield Sample(_distinct(rng, (1, 2, 20, 20)), 17, 1)  # windows of more than 256

    def errors() -> Any:
        z = np.zeros
        yield Sample(z((2, 3)), 2), ShapeError, r"max_pool2d: input is \(2, 3\); it must be \(N, C, H, W\)"
        yield Sample(z((1, 1, 2, 8)), 3), ShapeError, r"max_pool2d: .*the window spans \(3, 3\) and the padded image is \(2, 8\)"
        yield Sample(z((1, 1, 8, 8)), 2, 2, 2), ValueError, r"max_pool2d: padding \(2, 2\) must be at most half of the window"
        yield Sample(z((1, 1, 8, 8)), 0), ValueError, r"max_pool2d: kernel_size must be .* at least 1, not 0"
        yield Sample(z((1, 1, 8, 8), np.int64), 2), TypeError, r"max_pool2d: input is int64; a floating dtype is needed"

    def cost(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: Any = False, return_indices: Any = 0) -> Cost:
        extent, step, pad = window("max_pool2d", kernel_size, stride, padding)
        spans = [(r - 1) * d + 1 for r, d in zip(extent, pair("max_pool2d", "dilation", dilation, 1))]
        y = math.prod(x.shape[:-2]) * math.prod(size("max_pool2d", x.shape, spans, step, pad, bool(ceil_mode)))
        return Cost(bytes=x.nbytes + y * (x.itemsize + (8 if return_indices else 1)), flops=y * extent[0] * extent[1])


def _distinct(rng: Any, shape: Any) -> np.ndarray:
    """Values 0.1 apart in random order: a small step changes no maximum."""
    size = int(np.prod(shape))
    return (0.1 * rng.permutation(size) - 0.05 * size).reshape(shape)


class MaxUnpool(Op, name="max_unpool", function="_max_unpool"):
    """dy at the place of each maximum, summed: max_pool2d's gradient."""

    ladders = ("max_pool2d.backward", "max_pool2d.take")

    def forward_cpu(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Any:
        self.save(at=at)
        return cpu.max_unpool(dy, at, window, stride, pad, dilation, shape)

    def backward_cpu(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Any:
        return cpu.max_take(dy, at, window, stride, pad, dilation)

    def forward_kernel(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Any:
        self.save(at=at)
        return launch_unpool(self, dy, at, window, stride, pad, dilation, shape)

    def backward_kernel(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Any:
        return launch_take(self, dy, at, window, stride, pad, dilation)

    def backward_graph(self, dy: Tensor, at: Tensor, window: Any, stride: Any, pad: Any, dilation: Any) -> Tensor:
        return MaxTake.apply(dy, at, window=window, stride=stride, pad=pad, dilation=dilation)

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        dy, at = np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.array([[[[3, 2], [1, 0]]]], np.uint8)
        yield [dy, at, (2, 2), (1, 1), (0, 0), (1, 1), (1, 1, 3, 3)], [[[[0.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 0.0]]]]
        yield [dy, at, (2, 2), (2, 2), (0, 0), (1, 1), (1, 1, 4, 4)], [[[[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 4, 0], [0, 0, 0, 0]]]]

    def samples(rng: Any) -> Any:
        at = rng.integers(0, 6, size=(2, 3, 3, 4)).astype(np.uint8)
        yield Sample(rng.normal(size=at.shape), at, (2, 3), (1, 2), (0, 0), (2, 1), (2, 3, 5, 9))
        h, w = np.array([[0], [2], [4]]) + rng.integers(0, 2, size=(1, 2, 3, 3)), np.array([0, 2, 4]) + rng.integers(0, 3, size=(1, 2, 3, 3))
        yield Sample(rng.normal(size=h.shape), h * 7 + w, (0, 0), (0, 0), (0, 0), (1, 1), (1, 2, 6, 7))  # adaptive

    def cost(dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Cost:
        return Cost(bytes=dy.nbytes + at.nbytes + int(np.prod(shape)) * dy.itemsize, flops=dy.size)


def _max_unpool(dy: Tensor, at: Tensor, window: Any, stride: Any, pad: Any, dilation: Any, shape: Any) -> Tensor:
    return MaxUnpool.apply(dy, at, window=window, stride=stride, pad=pad, dilation=dilation, shape=shape)


class MaxTake(Op, name="max_take"):
    """What lies at the place of each maximum: max_unpool's gradient."""

    def forward_cpu(self, x: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
        self.save(at=at)
        return cpu.max_take(x, at, window, stride, pad, dilation)

    def forward_kernel(self, x: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
        self.save(at=at)
        return launch_take(self, x, at, window, stride, pad, dilation)

    def backward_kernel(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
        return launch_unpool(self, dy, at, window, stride, pad, dilation, self.meta[0][0])  # type: ignore[attr-defined]

    def backward_cpu(self, dy: Any, at: Any, window: Any, stride: Any, pad: Any, dilation: Any) -> Any:
        return cpu.max_unpool(dy, at, window, stride, pad, dilation, self.meta[0][0])  # type: ignore[attr-defined]

    def backward_graph(self, dy: Tensor, at: Tensor, window: Any, stride: Any, pad: Any, dilation: Any) -> Tensor:
        shape = self.meta[0][0]  # type: ignore[attr-defined]
        return MaxUnpool.apply(dy, at, window=window, stride=stride, pad=pad, dilation=dilation, shape=shape)


class AvgPool2d(Op, name="avg_pool2d", function="_avg_pool2d"):
    """window (0, 0) is adaptive pooling."""

    def forward_cpu(self, x: Any, window: Any, stride: Any, pad: Any, size: Any, include: bool, divisor: int) -> Any:
        return cpu.avg_forward(x, window, stride, pad, size, include, divisor)

    def backward_cpu(self, dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int) -> Any:
        return cpu.avg_backward(dy, window, stride, pad, include, divisor, self.meta[0][0])  # type: ignore[attr-defined]

    def forward_kernel(self, x: Any, window: Any, stride: Any, pad: Any, size: Any, include: bool, divisor: int) -> Any:
        return launch_average(self, x, window, stride, pad, size, include, divisor)

    def backward_kernel(self, dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int) -> Any:
        return launch_spread(self, dy, window, stride, pad, include, divisor, self.meta[0][0])  # type: ignore[attr-defined]

    def backward_graph(self, dy: Tensor, window: Any, stride: Any, pad: Any, include: bool, divisor: int) -> Tensor:
        shape = self.meta[0][0]  # type: ignore[attr-defined]
        return AvgUnpool.apply(dy, window=window, stride=stride, pad=pad, include=include, divisor=divisor, shape=shape)

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
        yield [x, 2, 1], [[[[3.0, 4.0], [6.0, 7.0]]]]
        yield [x, 2, 2, 1], [[[[0.25, 1.25], [2.75, 7.0]]]]
        yield [x, 2, 2, 1, False, False], [[[[1.0, 2.5], [5.5, 7.0]]]]
        yield [x, 2, 2, 0, True], [[[[3.0, 4.5], [7.5, 9.0]]]]
        yield [x, 2, 1, 0, False, True, 2], [[[[6.0, 8.0], [12.0, 14.0]]]]
        yield [x, None, None, 0, False, False, None, 2], [[[[3.0, 4.0], [6.0, 7.0]]]]

    def samples(rng: Any) -> Any:
        n = rng.normal
        for shape, args in [
            ((2, 3, 6, 8), (2,)),
            ((1, 2, 7, 5), (3, 2, 1)),
            ((1, 2, 7, 5), (3, 2, 1, True, False)),
            ((2, 1, 9, 8), ((2, 3), (1, 2), (1, 0), True)),
            ((1, 1, 5, 5), (2, 2, 1, True)),
            ((3, 4, 4, 34), (3, 1, 1, False, True, 5)),
            ((0, 2, 4, 4), (2,)),
            ((2, 6, 6), (2,)),
            ((2, 3, 7, 5), (None, None, 0, False, False, None, (3, 2))),
            ((1, 2, 3, 4), (None, None, 0, False, False, None, (5, None))),
            ((2, 2, 4, 4), (None, None, 0, False, False, None, 1)),
            ((2, 3, 4), (None, None, 0, False, False, None, 2)),
            ((2, 2, 6, 16), ((3, 2), 2, (1, 0))),
            ((1, 3, 5, 16), ((2, 4), (3, 4))),
            ((2, 1, 3, 32), ((3, 1), 1, (1, 0), False, False)),
            ((1, 2, 4, 16), ((2, 8), (2, 8), 0, False, True, 3)),
        ]:
            yield Sample(n(size=shape), *args)
        yield Sample(n(size=(2, 6, 7, 3)).transpose(0, 3, 1, 2), 2)

    def errors() -> Any:
        z = np.zeros
        yield Sample(z((2, 3)), 2), ShapeError, r"avg_pool2d: input is \(2, 3\); it must be \(N, C, H, W\)"
        yield Sample(z((1, 1, 8, 8)), 2, 2, 0, False, True, 0), ValueError, r"avg_pool2d: divisor_override must not be 0"
        yield Sample(z((1, 1, 8, 8)), None, None, 0, 0, 0, None, (1, 2, 3)), ValueError, r"adaptive_avg_pool2d: output_size must be a number or a pair"
        yield Sample(z((1, 1, 0, 8)), None, None, 0, 0, 0, None, 2), ShapeError, r"adaptive_avg_pool2d: .*an image that is not empty"

    def cost(
        x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: Any = 0, include: Any = 0, divisor: Any = 0, output_size: Any = None
    ) -> Cost:
        if kernel_size is None:
            P, Q = (n if n else h for n, h in zip(output_size if isinstance(output_size, tuple) else (output_size,) * 2, x.shape[-2:]))
            y, each = math.prod(x.shape[:-2]) * P * Q, x.shape[-2] * x.shape[-1] / max(P * Q, 1)
        else:
            extent, step, pad = window("avg_pool2d", kernel_size, stride, padding)
            y = math.prod(x.shape[:-2]) * math.prod(size("avg_pool2d", x.shape, extent, step, pad, bool(ceil_mode)))
            each = extent[0] * extent[1]
        return Cost(bytes=x.nbytes + y * x.itemsize, flops=y * each)


def _avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
    output_size: Any = None,
) -> Tensor:
    """Both public functions of the op, for its samples."""
    if kernel_size is None:
        return adaptive_avg_pool2d(input, output_size)
    return avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


class AvgUnpool(Op, name="avg_unpool"):
    """Each dy spread evenly over its window: avg_pool2d's gradient."""

    def forward_cpu(self, dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int, shape: Any) -> Any:
        return cpu.avg_backward(dy, window, stride, pad, include, divisor, shape)

    def backward_cpu(self, dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int) -> Any:
        return cpu.avg_forward(dy, window, stride, pad, self.meta[0][0][2:], include, divisor)  # type: ignore[attr-defined]

    def forward_kernel(self, dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int, shape: Any) -> Any:
        return launch_spread(self, dy, window, stride, pad, include, divisor, shape)

    def backward_kernel(self, dy: Any, window: Any, stride: Any, pad: Any, include: bool, divisor: int) -> Any:
        return launch_average(self, dy, window, stride, pad, self.meta[0][0][2:], include, divisor)  # type: ignore[attr-defined]

    def backward_graph(self, dy: Tensor, window: Any, stride: Any, pad: Any, include: bool, divisor: int) -> Tensor:
        size = self.meta[0][0][2:]  # type: ignore[attr-defined]
        return AvgPool2d.apply(dy, window=window, stride=stride, pad=pad, size=size, include=include, divisor=divisor)
