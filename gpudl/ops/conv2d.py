"""Two-dimensional convolution (cross-correlation) and its two gradients, each an op of its own.

Letters: x (N, C, H, W), w (K, C / groups, R, S), y (N, K, P, Q). The three ops are closed under differentiation: each is linear in either
operand, and the gradients of each are the two others, so gradients of gradients need nothing more.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpudl import kernels
from gpudl._cpu import conv as cpu
from gpudl._dtypes import bfloat16, float16, float32, float64
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, NumbaKernel, Step, ceil_div, ladder
from gpudl.ops import _epilogue, pool
from gpudl.ops._common import check_float, check_tensor, pair
from gpudl.ops.pool import MaxUnpool, launch_max_pool, launch_unpool

BLOCK = 256
BM, BN, BK, TM, TN = 32, 64, 16, 4, 4  # filters and places of a block's tile, step along the sum, thread tile
CHUNK, PARTS = 1024, 128  # wgrad's sum is cut into pieces of CHUNK places or more, PARTS pieces or fewer
tiles = dict(BM=BM, BN=BN, BK=BK, TM=TM, TN=TN)
THREADS = BM * BN // (TM * TN)
warp_tiles = dict(BM=64, BN=128, BK=8, WM=32, WN=64, TM=8, TN=8, BLOCK=BLOCK)  # 64 filters: a ResNet's first layers have no more
SMEM = 48 * 1024  # what a block has without asking for more
SINGLE = (float16, bfloat16, float32)  # types whose sums are kept in float


def products(N: int, C: int, K: int, R: int, S: int, P: int, Q: int, groups: int, itemsize: int) -> int:
    """Bytes of one operand of every multiply-add."""
    return itemsize * N * K * P * Q * (C // groups) * R * S


def piece(n: int, stride: int, filter: int, dilation: int) -> int:
    """Rows of the image under n rows of results."""
    return (n - 1) * stride + (filter - 1) * dilation + 1


def padded(n: int, tile: int) -> int:
    return ceil_div(n, tile) * tile


def turned(taps: Any, C: int, K: int, groups: int, BM: int, BK: int) -> tuple[int, int, int, int]:
    """Shape of filters turned round: k last, channels and filters padded to whole tiles."""
    return groups, taps, padded(C // groups, BK), padded(K // groups, BM)


def filters(name: str, taps: int | None = None, swapped: bool = False) -> Step:
    """The step that turns the filters; taps where it writes other than R * S of them; swapped: c last, as dgrad wants them."""
    if swapped:
        return Step(name, grid=lambda C, K, R, S, groups, BM, BK: ceil_div(math.prod(turned(R * S, K, C, groups, BM, BK)), BLOCK), block=BLOCK)
    if taps is None:
        return Step(name, grid=lambda C, K, R, S, groups, BM, BK: ceil_div(math.prod(turned(R * S, C, K, groups, BM, BK)), BLOCK), block=BLOCK)
    return Step(name, grid=lambda C, K, groups, BM, BK: ceil_div(math.prod(turned(1, C, K, groups, BM, BK)), BLOCK), block=BLOCK)


def warp_grid(N: int, K: int, P: int, Q: int, groups: int, BM: int, BN: int) -> tuple[int, int]:
    return ceil_div(N * P * Q, BN) * ceil_div(K // groups, BM), groups


def warp_traffic(N: int, C: int, K: int, R: int, S: int, P: int, Q: int, groups: int, itemsize: int, BM: int, BN: int) -> float:
    """Images in their own type, turned filters in the sums', the results, and what turning takes."""
    acc, weights = max(itemsize, 4), K * C // groups * R * S
    return N * K * P * Q * (C // groups * R * S * (itemsize / BM + acc / BN) + itemsize) + (itemsize + acc) * weights


def pieces(N: int, K: int, P: int, Q: int, groups: int, KB: int, TI: int, TJ: int) -> int:
    """Blocks of a direct convolution."""
    return N * groups * ceil_div(K // groups, KB) * ceil_div(P, TI) * ceil_div(Q, TJ)


def direct_bytes(
    C: int, K: int, R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int, groups: int, itemsize: int, KB: int, TI: int, TJ: int
) -> int:
    """Shared memory of a direct convolution for one channel: the piece under TI x TJ places and KB filters."""
    return max(itemsize, 4) * (piece(TI, stride_h, R, dilation_h) * piece(TJ, stride_w, S, dilation_w) + KB * R * S)


def small_bytes(
    C: int, R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int, groups: int, itemsize: int, KB: int, WARPS: int, TP: int
) -> int:
    """Shared memory of 08_small_channel: every channel of a group."""
    return C // groups * max(itemsize, 4) * (piece(WARPS * TP, stride_h, R, dilation_h) * piece(32, stride_w, S, dilation_w) + KB * R * S)


def plane_bytes(
    C: int, K: int, R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int, itemsize: int, WARPS: int, TP: int
) -> int:
    """Shared memory of 10_depthwise: one channel, in rows an odd multiple of 16 long, and its filters."""
    pitch = (piece(16, stride_w, S, dilation_w) + 15) // 32 * 32 + 16
    return max(itemsize, 4) * (piece(2 * WARPS * TP, stride_h, R, dilation_h) * pitch + K // C * R * S)


def winograd_tiles(N: int, P: int, Q: int) -> int:
    return N * ceil_div(P, 2) * ceil_div(Q, 2)


def winograd(R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int, groups: int) -> bool:
    return (R, S) == (3, 3) and stride_h == stride_w == dilation_h == dilation_w == 1 and groups < 65536


def pointwise(R: int, S: int, P: int, Q: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int, groups: int) -> bool:
    return R == S == stride_h == stride_w == 1 and pad_h == pad_w == 0 and P * Q % 4 == 0 and groups < 65536


def sub_grids(N: int, C: int, H: int, W: int, stride_h: int, stride_w: int, groups: int, BM: int, BN: int) -> tuple[int, int, int]:
    return ceil_div(N * ceil_div(H, stride_h) * ceil_div(W, stride_w), BN) * ceil_div(C // groups, BM), groups, stride_h * stride_w


def few_sub_grids(stride_h: int, stride_w: int, groups: int) -> bool:
    return groups < 65536 and stride_h * stride_w < 65536


def sub_grid_traffic(
    N: int, C: int, H: int, W: int, K: int, R: int, S: int, P: int, Q: int, stride_h: int, stride_w: int, groups: int, itemsize: int, BM: int, BN: int
) -> float:
    """dy and dx in their own type, turned filters in the sums', and what turning takes."""
    acc = max(itemsize, 4)
    return (
        products(N, C, K, R, S, P, Q, groups, itemsize) / BM
        + products(N, C, K, R, S, H, W, groups, acc) / (BN * stride_h * stride_w)
        + itemsize * N * C * H * W
        + (itemsize + acc) * (K * C // groups * R * S)
    )


def split(N: int, P: int, Q: int, BK: int) -> int:
    """Places of one piece of wgrad's sum."""
    return max(CHUNK, padded(ceil_div(N * P * Q, PARTS), BK))


def parts(N: int, P: int, Q: int, BK: int) -> int:
    return ceil_div(N * P * Q, split(N, P, Q, BK))


def wgrad_grid(N: int, C: int, K: int, R: int, S: int, P: int, Q: int, groups: int, BM: int, BN: int, BK: int) -> tuple[int, int, int]:
    return ceil_div(K // groups, BM) * ceil_div(C // groups * R * S, BN), groups, parts(N, P, Q, BK)


def wgrad_traffic(N: int, C: int, K: int, R: int, S: int, P: int, Q: int, groups: int, itemsize: int, BM: int, BN: int, BK: int) -> float:
    weights = K * C // groups * R * S
    pieces = 2 * max(itemsize, 4) * weights * parts(N, P, Q, BK)
    return products(N, C, K, R, S, P, Q, groups, itemsize) * (1 / BM + 1 / BN) + itemsize * weights + pieces


def forward_rung(C: int, K: int, R: int, S: int, stride_h: int, stride_w: int, dilation_h: int, dilation_w: int, groups: int, dtype: Any, arch: int) -> str:
    """The dispatch rule: which rung computes y. By arithmetic (kernels/conv2d/README.md), not yet by measurement."""
    c, k = C // groups, K // groups  # of one group
    if c == 1 and k <= 4 and groups > 1:
        return "10_depthwise"
    if c <= 4:
        return "08_small_channel"
    if dtype == float64:
        return "04_implicit_gemm"
    if R == S == 1 and dtype == float32 and arch >= 80:
        return "11_pointwise"
    if min(c, k) >= 32 and winograd(R, S, stride_h, stride_w, dilation_h, dilation_w, groups):
        return "09_winograd"
    if k <= 32:  # half a tile of 64 filters, or less
        return "05_taps" if c % BK == 0 else "04_implicit_gemm"
    return "07_async" if dtype == float32 and arch >= 80 else "06_warp_tile"


def dgrad_rung(C: int, K: int, stride_h: int, stride_w: int, groups: int, dtype: Any, arch: int) -> str:
    """The dispatch rule of dx, as that of y: a tile's rows are channels here, and the sum runs over filters."""
    c, k = C // groups, K // groups
    if c <= 2 or stride_h * stride_w >= 65536:  # a tile of 32 channels would be empty
        return "02_gather"
    if c <= 32 or dtype == float64:
        return "04_sub_grids" if stride_h * stride_w > 1 or k % BK == 0 else "03_implicit_gemm"
    return "06_async" if dtype == float32 and arch >= 80 else "05_warp_tile"


def wgrad_rung(C: int, H: int, W: int, K: int, R: int, S: int, groups: int, dtype: Any, arch: int) -> str:
    """The dispatch rule of dw: its rows are filters, its columns weights of a filter, and the sum runs over places."""
    k, depth = K // groups, C // groups * R * S
    if k * depth * 32 < BM * BN:  # a tile would be emptier than a warp with one lane at work
        return "02_block_sum"
    if k <= 32 or depth <= 64 or dtype == float64 or C * H * W >= 2**31:
        return "03_implicit_gemm"
    return "05_async" if dtype == float32 and arch >= 80 else "04_warp_tile"


numba: dict[str, Any] = dict(BIAS=0, ACT="identity", ACT_NUMBER=0, EXTRA=0, TI=4, TJ=8, KB=2, dtypes=(float32, float64))
ladder(  # first to last: the order of the lesson
    "conv2d.forward",
    NumbaKernel("forward_naive", grid=lambda N, K, P, Q: ceil_div(N * K * P * Q, 64), block=64, **numba),
    NumbaKernel(
        "forward_shared_tile",
        grid=pieces,
        block=lambda TI, TJ: TI * TJ,
        smem=direct_bytes,
        when=lambda C, K, R, S, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, TI, TJ: (
            direct_bytes(C, K, R, S, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, TI, TJ) <= SMEM
        ),
        **numba,
    ),
    Kernel(
        "01_naive.cu",
        grid=lambda N, K, P, Q: ceil_div(N * K * P * Q, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda N, C, K, R, S, P, Q, groups, itemsize: 2 * products(N, C, K, R, S, P, Q, groups, itemsize) + itemsize * N * K * P * Q,
    ),
    Kernel(
        "02_shared_tile.cu",
        grid=pieces,
        block=lambda TI, TJ: TI * TJ,
        smem=direct_bytes,
        when=lambda C, K, R, S, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, TI, TJ: (
            direct_bytes(C, K, R, S, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, TI, TJ) <= SMEM
        ),
        traffic=lambda N, C, K, R, S, P, Q, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, TI, TJ: (
            itemsize * (N * K * P * Q + pieces(N, K, P, Q, groups, KB, TI, TJ) * (C // groups)
                        * (piece(TI, stride_h, R, dilation_h) * piece(TJ, stride_w, S, dilation_w) + KB * R * S))
        ),
        TI=16,
        TJ=16,
        KB=8,
    ),
    Kernel(
        "03_im2col.cu",
        Step("im2col", grid=lambda N, C, R, S, P, Q: ceil_div(N * C * R * S * P * Q, BLOCK), block=BLOCK),
        Step("conv2d_fwd", grid=lambda N, K, P, Q, groups: (ceil_div(N * P * Q, BN) * ceil_div(K // groups, BM), groups), block=THREADS),
        workspace={"patches": lambda N, C, R, S, P, Q, dtype: ((C * R * S, N * P * Q), dtype)},
        when=lambda N, C, R, S, P, Q, groups, itemsize: groups < 65536 and itemsize * N * C * R * S * P * Q <= 2**32,
        traffic=lambda N, C, K, R, S, P, Q, groups, itemsize: (
            products(N, C, K, R, S, P, Q, groups, itemsize) * (1 / BM + 1 / BN) + itemsize * N * P * Q * (2 * C * R * S + K)
        ),
        BLOCK=BLOCK,
        **tiles,
    ),
    Kernel(
        "04_implicit_gemm.cu",
        grid=lambda N, K, P, Q, groups: (ceil_div(N * P * Q, BN) * ceil_div(K // groups, BM), groups),
        block=THREADS,
        when=lambda groups: groups < 65536,
        traffic=lambda N, C, K, R, S, P, Q, groups, itemsize: (
            products(N, C, K, R, S, P, Q, groups, itemsize) * (1 / BM + 1 / BN) + itemsize * N * K * P * Q
        ),
        **tiles,
    ),
    Kernel(
        "05_taps.cu",
        filters("turn_filters"),
        Step("conv2d_fwd", grid=warp_grid, block=THREADS),
        workspace={"turned": lambda C, K, R, S, groups, BM, BK: (turned(R * S, C, K, groups, BM, BK), "acc")},
        when=lambda groups: groups < 65536,
        traffic=warp_traffic,
        BLOCK=BLOCK,
        **tiles,
    ),
    Kernel(
        "06_warp_tile.cu",
        filters("turn_filters"),
        Step("conv2d_fwd", grid=warp_grid, block=warp_tiles["BN"]),
        workspace={"turned": lambda C, K, R, S, groups, BM, BK: (turned(R * S, C, K, groups, BM, BK), "acc")},
        dtypes=SINGLE,
        when=lambda groups: groups < 65536,
        traffic=warp_traffic,
        **warp_tiles,
    ),
    Kernel(
        "07_async.cu",
        filters("turn_filters"),
        Step("conv2d_fwd", grid=warp_grid, block=warp_tiles["BN"]),
        workspace={"turned": lambda C, K, R, S, groups, BM, BK: (turned(R * S, C, K, groups, BM, BK), "acc")},
        dtypes=(float32,),
        arch=80,
        when=lambda groups: groups < 65536,
        traffic=warp_traffic,
        STAGES=4,
        **warp_tiles,
    ),
    Kernel(
        "08_small_channel.cu",
        grid=lambda N, K, P, Q, groups, KB, WARPS, TP: pieces(N, K, P, Q, groups, KB, WARPS * TP, 32),
        block=lambda WARPS: (32, WARPS),
        smem=small_bytes,
        when=lambda C, R, S, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, WARPS, TP: (
            C // groups <= 4 and small_bytes(C, R, S, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, WARPS, TP) <= SMEM
        ),
        traffic=lambda N, C, K, R, S, P, Q, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, KB, WARPS, TP: (
            itemsize * (N * K * P * Q + pieces(N, K, P, Q, groups, KB, WARPS * TP, 32) * (C // groups)
                        * (piece(WARPS * TP, stride_h, R, dilation_h) * piece(32, stride_w, S, dilation_w) + KB * R * S))
        ),
        KB=8,
        WARPS=4,
        TP=4,
    ),
    Kernel(
        "09_winograd.cu",
        filters("transform_filters", 16),
        Step(
            "conv2d_fwd",
            grid=lambda N, K, P, Q, groups, BM, BN: (ceil_div(winograd_tiles(N, P, Q), BN) * ceil_div(K // groups, BM), groups),
            block=256,
        ),
        workspace={"turned": lambda C, K, groups, BM, BK: (turned(16, C, K, groups, BM, BK), "acc")},
        dtypes=SINGLE,
        when=winograd,
        traffic=lambda N, C, K, P, Q, groups, itemsize, BM, BN: (
            16 * itemsize * winograd_tiles(N, P, Q) * C * ceil_div(K // groups, BM)
            + K * C // groups * (16 * max(itemsize, 4) * (ceil_div(winograd_tiles(N, P, Q), BN) + 1) + 9 * itemsize)
            + itemsize * N * K * P * Q
        ),
        BM=32,
        BN=32,
        BK=8,
        BLOCK=BLOCK,
    ),
    Kernel(
        "10_depthwise.cu",
        grid=lambda N, C, P, Q, WARPS, TP: pieces(N, C, P, Q, C, 1, 2 * WARPS * TP, 16),
        block=lambda WARPS: 32 * WARPS,
        smem=plane_bytes,
        when=lambda C, K, R, S, stride_h, stride_w, dilation_h, dilation_w, groups, itemsize, WARPS, TP: (
            C == groups and plane_bytes(C, K, R, S, stride_h, stride_w, dilation_h, dilation_w, itemsize, WARPS, TP) <= SMEM
        ),
        traffic=lambda N, C, K, R, S, P, Q, stride_h, stride_w, dilation_h, dilation_w, itemsize, WARPS, TP: (
            itemsize * (N * K * P * Q + pieces(N, C, P, Q, C, 1, 2 * WARPS * TP, 16)
                        * (piece(2 * WARPS * TP, stride_h, R, dilation_h) * piece(16, stride_w, S, dilation_w) + K // C * R * S))
        ),
        WARPS=4,
        TP=2,
    ),
    Kernel(
        "11_pointwise.cu",
        filters("turn_filters"),
        Step("conv2d_fwd", grid=warp_grid, block=warp_tiles["BN"]),
        workspace={"turned": lambda C, K, R, S, groups, BM, BK: (turned(R * S, C, K, groups, BM, BK), "acc")},
        dtypes=(float32,),
        arch=80,
        align=16,
        when=pointwise,
        traffic=warp_traffic,
        STAGES=4,
        **warp_tiles,
    ),
    choose=forward_rung,
)  # fmt: skip
ladder(
    "conv2d.dgrad",
    Kernel(
        "01_naive.cu",
        Step("conv2d_bwd_zero", grid=lambda N, C, H, W: ceil_div(N * C * H * W, BLOCK), block=BLOCK),
        Step("conv2d_bwd_dx", grid=lambda N, K, P, Q: ceil_div(N * K * P * Q, BLOCK), block=BLOCK),
        Step("conv2d_bwd_round", grid=lambda N, C, H, W: ceil_div(N * C * H * W, BLOCK), block=BLOCK),
        workspace={"sums": lambda N, C, H, W: ((N, C, H, W), "acc")},
        deterministic=False,
        BLOCK=BLOCK,
        traffic=lambda N, C, H, W, K, R, S, P, Q, groups, itemsize: (
            products(N, C, K, R, S, P, Q, groups, itemsize + max(itemsize, 4))
            + N * C * H * W * (2 * max(itemsize, 4) + itemsize) + itemsize * N * K * P * Q
        ),
    ),
    Kernel(
        "02_gather.cu",
        grid=lambda N, C, H, W: ceil_div(N * C * H * W, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda N, C, H, W, K, R, S, P, Q, groups, itemsize: 2 * products(N, C, K, R, S, P, Q, groups, itemsize) + itemsize * N * C * H * W,
    ),
    Kernel(
        "03_implicit_gemm.cu",
        grid=lambda N, C, H, W, groups: (ceil_div(N * H * W, BN) * ceil_div(C // groups, BM), groups),
        block=THREADS,
        when=lambda groups: groups < 65536,
        traffic=lambda N, C, H, W, K, R, S, P, Q, groups, itemsize: (
            products(N, C, K, R, S, P, Q, groups, itemsize) / BM
            + products(N, C, K, R, S, H, W, groups, itemsize) / BN + itemsize * N * C * H * W
        ),
        **tiles,
    ),
    Kernel(
        "04_sub_grids.cu",
        filters("turn_filters", swapped=True),
        Step("conv2d_bwd_dx", grid=sub_grids, block=THREADS),
        workspace={"turned": lambda C, K, R, S, groups, BM, BK: (turned(R * S, K, C, groups, BM, BK), "acc")},
        when=few_sub_grids,
        traffic=sub_grid_traffic,
        BLOCK=BLOCK,
        **tiles,
    ),
    Kernel(
        "05_warp_tile.cu",
        filters("turn_filters", swapped=True),
        Step("conv2d_bwd_dx", grid=sub_grids, block=warp_tiles["BN"]),
        workspace={"turned": lambda C, K, R, S, groups, BM, BK: (turned(R * S, K, C, groups, BM, BK), "acc")},
        dtypes=SINGLE,
        when=few_sub_grids,
        traffic=sub_grid_traffic,
        **warp_tiles,
    ),
    Kernel(
        "06_async.cu",
        filters("turn_filters", swapped=True),
        Step("conv2d_bwd_dx", grid=sub_grids, block=warp_tiles["BN"]),
        workspace={"turned": lambda C, K, R, S, groups, BM, BK: (turned(R * S, K, C, groups, BM, BK), "acc")},
        dtypes=(float32,),
        arch=80,
        when=few_sub_grids,
        traffic=sub_grid_traffic,
        STAGES=4,
        **warp_tiles,
    ),
    choose=dgrad_rung,
)  # fmt: skip
ladder(
    "conv2d.wgrad",
    Kernel(
        "01_naive.cu",
        grid=lambda C, K, R, S, groups: ceil_div(K * C // groups * R * S, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda N, C, K, R, S, P, Q, groups, itemsize: (
            2 * products(N, C, K, R, S, P, Q, groups, itemsize) + itemsize * (K * C // groups * R * S)
        ),
    ),
    Kernel(
        "02_block_sum.cu",
        grid=lambda C, K, R, S, groups: K * C // groups * R * S,
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda N, C, K, R, S, P, Q, groups, itemsize: (
            2 * products(N, C, K, R, S, P, Q, groups, itemsize) + itemsize * (K * C // groups * R * S)
        ),
    ),
    Kernel(
        "03_implicit_gemm.cu",
        Step("conv2d_bwd_dw", grid=wgrad_grid, block=THREADS),
        Step("conv2d_bwd_dw_sum", grid=lambda C, K, R, S, groups: ceil_div(K * C // groups * R * S, BLOCK), block=BLOCK),
        workspace={"partial": lambda N, C, K, R, S, P, Q, groups, BK: ((parts(N, P, Q, BK), K, C // groups * R * S), "acc")},
        when=lambda groups: groups < 65536,
        traffic=wgrad_traffic,
        BLOCK=BLOCK,
        CHUNK=CHUNK,
        PARTS=PARTS,
        **tiles,
    ),
    Kernel(
        "04_warp_tile.cu",
        Step("conv2d_bwd_dw", grid=wgrad_grid, block=warp_tiles["BN"]),
        Step("conv2d_bwd_dw_sum", grid=lambda C, K, R, S, groups: ceil_div(K * C // groups * R * S, BLOCK), block=BLOCK),
        workspace={"partial": lambda N, C, K, R, S, P, Q, groups, BK: ((parts(N, P, Q, BK), K, C // groups * R * S), "acc")},
        dtypes=SINGLE,
        when=lambda C, H, W, groups: groups < 65536 and C * H * W < 2**31,
        traffic=wgrad_traffic,
        CHUNK=CHUNK,
        PARTS=PARTS,
        **warp_tiles,
    ),
    Kernel(
        "05_async.cu",
        Step("conv2d_bwd_dw", grid=wgrad_grid, block=warp_tiles["BN"]),
        Step("conv2d_bwd_dw_sum", grid=lambda C, K, R, S, groups: ceil_div(K * C // groups * R * S, BLOCK), block=BLOCK),
        workspace={"partial": lambda N, C, K, R, S, P, Q, groups, BK: ((parts(N, P, Q, BK), K, C // groups * R * S), "acc")},
        dtypes=(float32,),
        arch=80,
        when=lambda C, H, W, groups: groups < 65536 and C * H * W < 2**31,
        traffic=wgrad_traffic,
        CHUNK=CHUNK,
        PARTS=PARTS,
        STAGES=4,
        **warp_tiles,
    ),
    choose=wgrad_rung,
)  # fmt: skip

TI, TJ, WARPS = 8, 8, 4  # pooled results of a block; its threads share the filters in WARPS parts


def pool_piece(n: int, step: int, spread: int, window: int, stride: int, dilation: int, filter: int) -> int:
    """Rows of the image under n rows of pooled results."""
    return piece((n - 1) * step + (window - 1) * spread + 1, stride, filter, dilation)


def pool_bytes(C: int, K: int, R: int, S: int, rows: int, cols: int, itemsize: int, KB: int) -> int:
    """Shared memory of 03_thread_tile: the piece and all filters."""
    return max(itemsize, 4) * C * (rows * cols + R * S * (ceil_div(K, KB) | 1) * KB)


ladder(
    "conv2d_relu_max_pool2d.forward",
    Kernel(
        "01_naive.cu",
        grid=lambda N, K, I, J: ceil_div(N * K * I * J, BLOCK),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda N, C, K, R, S, I, J, A, B, groups, itemsize: (
            2 * products(N, C, K, R, S, I * A, J * B, groups, itemsize) + (itemsize + 1) * N * K * I * J
        ),
    ),
    Kernel(
        "02_image_tile.cu",
        grid=lambda N, I, J: N * ceil_div(I, TI) * ceil_div(J, TJ),
        block=(TI * TJ, WARPS),
        smem=lambda C, rows, cols, itemsize: C * rows * cols * max(itemsize, 4),
        when=lambda C, rows, cols, groups, itemsize: groups == 1 and C * rows * cols * max(itemsize, 4) <= SMEM,
        traffic=lambda N, C, K, R, S, I, J, A, B, rows, cols, itemsize: (
            itemsize * N * (ceil_div(I, TI) * ceil_div(J, TJ) * C * rows * cols + K * I * J * (1 + A * B * C * R * S)) + N * K * I * J
        ),
        TI=TI,
        TJ=TJ,
        WARPS=WARPS,
    ),
    Kernel(
        "03_thread_tile.cu",
        grid=lambda N, I, J: N * ceil_div(I, TI) * ceil_div(J, TJ),
        block=(TI * TJ, WARPS),
        smem=pool_bytes,
        when=lambda C, K, R, S, A, B, rows, cols, groups, itemsize, KB, WINDOW: (
            groups == 1 and A * B <= WINDOW and pool_bytes(C, K, R, S, rows, cols, itemsize, KB) <= SMEM
        ),
        traffic=lambda N, C, K, R, S, I, J, rows, cols, itemsize: (
            itemsize * N * (ceil_div(I, TI) * ceil_div(J, TJ) * C * (rows * cols + R * S * K) + K * I * J) + N * K * I * J
        ),
        TI=TI,
        TJ=TJ,
        WARPS=WARPS,
        KB=4,
        WINDOW=4,
    ),
)  # fmt: skip


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of images with K filters.

        y[n, k, p, q]  = b[k] + sum_crs x[n, c, p * stride + r * dilation - padding, q * stride + s * dilation - padding] * w[k, c, r, s]
        dx[n, c, h, w] = sum_kpq dy[n, k, p, q] * w[k, c, r, s]    over the p, r (q, s) with p * stride + r * dilation - padding = h (w)
        dw[k, c, r, s] = sum_npq dy[n, k, p, q] * x[n, c, ...],    db[k] = sum_npq dy[n, k, p, q]

    input (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K) or None; one floating dtype. stride, dilation: a number or (height,
    width); padding too, or "valid" (none) or "same" (P = ceil(H), stride 1 alone; an odd row goes below, an odd column to the right).
    Returns (N, K, P, Q), P = floor((H + 2 * padding - dilation * (R - 1) - 1) / stride) + 1. An empty batch gives an empty result.
    ShapeError for channels, groups or sizes that do not fit, DtypeError for two dtypes, TypeError for integers, ValueError for a bad option.
    """
    return _conv2d(input, weight, bias, stride, padding, dilation, groups, None)


def conv2d_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """relu(conv2d(...)) as one op: the sum never goes through memory without its bias and activation. Arguments as `conv2d`."""
    return _conv2d(input, weight, bias, stride, padding, dilation, groups, "relu")


def conv2d_act(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: Any = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(conv2d(...) + residual) as one op, the end of a residual block: neither sum goes through memory. Arguments as `conv2d`.

    activation: None, "relu", "sigmoid", "tanh", "leaky_relu", "elu", or ("leaky_relu", negative_slope), ("elu", alpha), neither of them negative;
    ValueError for another. residual: of the result's shape and dtype; ShapeError, DtypeError where it is not.
    """
    act = _epilogue.check("conv2d", activation)
    if _epilogue.is_apart(act):
        raise ValueError(f"conv2d: activation {activation!r} is not fused; its number must not be negative. Call the activation on its own")
    return _conv2d(input, weight, bias, stride, padding, dilation, groups, act, residual)


def conv2d_relu_max_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    pool_kernel_size: Any,
    pool_stride: Any = None,
    pool_padding: Any = 0,
    pool_dilation: Any = 1,
    pool_ceil_mode: bool = False,
) -> Tensor:
    """max_pool2d(relu(conv2d(...))) as one op, which keeps only the pooled result and the place of each maximum.

    The first arguments as `conv2d`, those that start with pool_ as `max_pool2d`; the result and the gradients equal those of the three ops.
    """
    op = "conv2d_relu_max_pool2d"
    where = check(op, input, weight, bias, stride, padding, dilation, groups)
    window, step, pad = pool.window(op, pool_kernel_size, pool_stride, pool_padding)
    spread = pair(op, "pool_dilation", pool_dilation, 1)
    middle = (*input.shape[:-3], len(weight), *where["size"])
    out = pool.size(op, middle, tuple((r - 1) * d + 1 for r, d in zip(window, spread)), step, pad, pool_ceil_mode)
    x = input.unsqueeze(0) if input.ndim == 3 else input
    y = Conv2dPool.apply(x, weight, bias, **where, act="relu", pool=dict(window=window, stride=step, pad=pad, dilation=spread), out=out)
    return y.squeeze(0) if input.ndim == 3 else y


def _conv2d(
    input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any, act: Any, residual: Any = None
) -> Tensor:
    where = check("conv2d", input, weight, bias, stride, padding, dilation, groups)
    if residual is not None:
        check_tensor("conv2d", residual=residual)
        out = (*input.shape[:-3], len(weight), *where["size"])
        if residual.dtype != input.dtype:
            raise DtypeError(f"conv2d: input is {input.dtype} and residual is {residual.dtype}; the dtypes must be equal. Convert one with .to()")
        if residual.shape != out:
            raise ShapeError(f"conv2d: residual is {tuple(residual.shape)} and the result {out}; the shapes must be equal. Did you mean .expand()?")
        residual = residual.unsqueeze(0) if input.ndim == 3 else residual
    x = input.unsqueeze(0) if input.ndim == 3 else input
    y = Conv2d.apply(x, weight, bias, residual, **where, act=act)
    return y.squeeze(0) if input.ndim == 3 else y


def check(op: str, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> dict[str, Any]:
    """The geometry of a convolution as the ops take it: stride, leading padding, dilation, groups, and the size (P, Q) of the result."""
    check_tensor(op, input=input, weight=weight)
    if bias is not None:
        check_tensor(op, bias=bias)
    check_float(op, input=input)
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t.dtype != input.dtype:
            raise DtypeError(f"{op}: input is {input.dtype} and {name} is {t.dtype}; the dtypes must be equal. Convert one with .to()")
    given = f"{op}: input is {tuple(input.shape)} and weight (K, C / groups, R, S) is {tuple(weight.shape)}"
    if weight.ndim != 4 or input.ndim not in (3, 4):
        hint = " Did you mean input.unsqueeze(0) for one channel?" if input.ndim == 2 else ""
        raise ShapeError(f"{given}; input must be (N, C, H, W) or (C, H, W) and weight 4-d.{hint}")
    stride, dilation = pair(op, "stride", stride, 1), pair(op, "dilation", dilation, 1)
    groups = positive(op, "groups", groups)
    K, C = weight.shape[0], input.shape[-3]
    if C != weight.shape[1] * groups or K % groups:
        raise ShapeError(
            f"{given}, groups is {groups}; C = {C} must equal groups * weight.shape[1] = {groups * weight.shape[1]}, and K = {K} be a multiple of groups"
        )
    if bias is not None and bias.shape != (K,):
        raise ShapeError(f"{given}, bias is {tuple(bias.shape)}; bias must be ({K},), one for each filter")
    spans = [d * (r - 1) + 1 for d, r in zip(dilation, weight.shape[2:])]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{op}: padding {padding!r} is not known; it is a number, a pair, 'same' or 'valid'")
        if padding == "same" and stride != (1, 1):
            raise ValueError(f"{op}: padding='same' needs stride 1, not {stride}")
        total = [span - 1 if padding == "same" else 0 for span in spans]
        pad = (total[0] // 2, total[1] // 2)
    else:
        pad = pair(op, "padding", padding, 0)
        total = [2 * p for p in pad]
    if 0 in weight.shape[1:]:
        raise ShapeError(f"{given}; channels and filter sizes must be at least 1")
    sizes = [h + t - span for h, t, span in zip(input.shape[-2:], total, spans)]
    if min(sizes) < 0:
        raise ShapeError(
            f"{given}; the filter spans {tuple(spans)} and the padded input is {tuple(h + t for h, t in zip(input.shape[-2:], total))}, which is smaller"
        )
    return dict(stride=stride, pad=pad, dilation=dilation, groups=groups, size=tuple(n // s + 1 for n, s in zip(sizes, stride)))


def positive(op: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{op}: {name} must be a positive integer, not {value!r}")
    return int(value)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of conv2d's map: conv2d's gradient with respect to its input, with input in the place of dy.

    input (N, C, H, W) or (C, H, W), weight (C, K / groups, R, S), bias (K). Returns (N, K, (H - 1) * stride - 2 * padding + dilation * (R - 1) +
    output_padding + 1, ...). Errors as conv2d; ValueError where output_padding is not smaller than stride or dilation.
    """
    op = "conv_transpose2d"
    check_tensor(op, input=input, weight=weight)
    stride, dilation = pair(op, "stride", stride, 1), pair(op, "dilation", dilation, 1)
    pad, extra = pair(op, "padding", padding, 0), pair(op, "output_padding", output_padding, 0)
    groups = positive(op, "groups", groups)
    check_float(op, input=input)
    given = f"{op}: input is {tuple(input.shape)} and weight (C, K / groups, R, S) is {tuple(weight.shape)}"
    if weight.dtype != input.dtype or (bias is not None and bias.dtype != input.dtype):
        raise DtypeError(f"{op}: input is {input.dtype} and weight is {weight.dtype}; all dtypes must be equal. Convert one with .to()")
    if weight.ndim != 4 or input.ndim not in (3, 4) or input.shape[-3] != weight.shape[0] or weight.shape[0] % groups:
        raise ShapeError(f"{given}, groups is {groups}; input.shape[-3] must equal weight.shape[0] and be a multiple of groups")
    if bias is not None and bias.shape != (weight.shape[1] * groups,):
        raise ShapeError(f"{given}, bias is {tuple(bias.shape)}; bias must be ({weight.shape[1] * groups},)")
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"{op}: output_padding {extra} must be smaller than stride {stride} or dilation {dilation}")
    size = tuple((h - 1) * s - 2 * p + d * (r - 1) + e + 1 for h, s, p, d, r, e in zip(input.shape[-2:], stride, pad, dilation, weight.shape[2:], extra))
    if min(size) < 1:
        raise ShapeError(f"{given}; the result would be {size}, which is empty")
    x = input.unsqueeze(0) if input.ndim == 3 else input
    y = Conv2dDgrad.apply(x, weight, stride=stride, pad=pad, dilation=dilation, groups=groups, size=size)
    if bias is not None:
        y = y + bias.reshape(-1, 1, 1)
    return y.squeeze(0) if input.ndim == 3 else y


def _geometry(stride: Any, pad: Any, dilation: Any, groups: Any) -> dict[str, Any]:
    return dict(stride=stride, pad=pad, dilation=dilation, groups=groups)


def _scalars(x: Any, w: Any, y: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> dict[str, int]:
    """The sizes that every kernel of this file takes, from the shapes of x, w and y."""
    (N, C, H, W), (K, _, R, S), (P, Q) = x, w, y[2:]
    return dict(
        N=N, C=C, H=H, W=W, K=K, R=R, S=S, P=P, Q=Q, stride_h=stride[0], stride_w=stride[1], pad_h=pad[0], pad_w=pad[1],
        dilation_h=dilation[0], dilation_w=dilation[1], groups=groups,
    )  # fmt: skip


def launch_forward(
    op: Op, x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any = None, residual: Any = None
) -> Any:
    y = op.device.empty((x.shape[0], w.shape[0], *size), x.dtype)
    scalars = _scalars(x.shape, w.shape, y.shape, stride, pad, dilation, groups)
    extra = y if residual is None else kernels.contiguous(op.device, residual)
    defines = _epilogue.defines(b is not None, act, 0 if residual is None else 1)
    op.launch("conv2d.forward", defines, x=x, w=w, bias=w if b is None else b, extra=extra, y=y, **scalars)
    return y


def launch_dgrad(op: Op, dy: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
    dx = op.device.empty((dy.shape[0], w.shape[1] * groups, *size), dy.dtype)
    op.launch("conv2d.dgrad", dy=dy, w=w, dx=dx, **_scalars(dx.shape, w.shape, dy.shape, stride, pad, dilation, groups))
    return dx


def launch_wgrad(op: Op, x: Any, dy: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
    dw = op.device.empty((dy.shape[1], x.shape[1] // groups, *size), dy.dtype)
    op.launch("conv2d.wgrad", x=x, dy=dy, dw=dw, **_scalars(x.shape, dw.shape, dy.shape, stride, pad, dilation, groups))
    return dw


def _result(x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, int]:
    """(P, Q) from the public function's arguments."""
    spans = [(r - 1) * d + 1 for r, d in zip(w.shape[2:], pair("conv2d", "dilation", dilation, 1))]
    strides = pair("conv2d", "stride", stride, 1)
    pads = [s - 1 if padding == "same" else 0 for s in spans] if isinstance(padding, str) else [2 * p for p in pair("conv2d", "padding", padding, 0)]
    P, Q = [(h + t - span) // s + 1 for h, t, span, s in zip(x.shape[-2:], pads, spans, strides)]
    return P, Q


class Conv2d(Op, name="conv2d", function="_conv2d"):
    ladders = ("conv2d.forward", "conv2d.dgrad", "conv2d.wgrad", "epilogue.backward")

    def forward_cpu(
        self, x: Any, w: Any, b: Any, r: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any
    ) -> Any:
        y = cpu.forward(x, w, b, stride, pad, dilation, groups, size, act, r)
        self._save(x, w, y, act)
        return y

    def _save(self, x: Any, w: Any, y: Any, act: Any) -> None:
        self.save(x=x if self.needs[1] else None, w=w if self.needs[0] else None, y=y if act and any(self.needs) else None)

    def backward_cpu(self, dy: Any, x: Any, w: Any, y: Any, stride: Any, pad: Any, dilation: Any, groups: int, act: Any) -> Any:
        dy = _epilogue.backward(dy, y, act)
        where = (stride, pad, dilation, groups)
        dx, dw = cpu.backward(dy, x, w, *where, self.meta[0][0][2:], self.meta[1][0][2:], self.needs)  # type: ignore[attr-defined]
        return dx, dw, dy.sum((0, 2, 3)) if self.needs[2] else None, dy if self.needs[3] else None

    def forward_kernel(
        self, x: Any, w: Any, b: Any, r: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any
    ) -> Any:
        y = launch_forward(self, x, w, b, stride, pad, dilation, groups, size, act, r)
        self._save(x, w, y, act)
        return y

    def backward_kernel(self, dy: Any, x: Any, w: Any, y: Any, stride: Any, pad: Any, dilation: Any, groups: int, act: Any) -> Any:
        dy, db = _epilogue.backward_kernel(self, dy, y, act, self.needs[2], 1)
        where = (stride, pad, dilation, groups)
        return (
            launch_dgrad(self, dy, w, *where, self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            launch_wgrad(self, x, dy, *where, self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
            db,
            dy if self.needs[3] else None,
        )

    def backward_graph(self, dy: Tensor, x: Tensor, w: Tensor, y: Tensor, stride: Any, pad: Any, dilation: Any, groups: int, act: Any) -> Any:
        dy = _epilogue.backward(dy, y, act)
        where = _geometry(stride, pad, dilation, groups)
        return (
            Conv2dDgrad.apply(dy, w, **where, size=self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            Conv2dWgrad.apply(x, dy, **where, size=self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
            dy.sum((0, 2, 3)) if self.needs[2] else None,
            dy if self.needs[3] else None,
        )

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
        w = np.array([[[[1.0, 0.0], [0.0, -1.0]]]])
        none = (1, 0, 1, 1, None)
        yield [x, w, np.array([5.0]), *none], [[[[1.0, 1.0], [1.0, 1.0]]]]
        yield [x, w, None, 1, "same", 1, 1, None], [[[[-4.0, -4.0, 3.0], [-4.0, -4.0, 6.0], [7.0, 8.0, 9.0]]]]
        yield [x, w, None, 2, 1, 1, 1, None], [[[[-1.0, -3.0], [-7.0, -4.0]]]]
        yield [x, w, None, 1, 0, 2, 1, None], [[[[-8.0]]]]
        yield [x, w, np.array([5.0]), 1, 1, 1, 1, "relu"], [[[[4, 3, 2, 5], [1, 1, 1, 8], [0, 1, 1, 11], [5, 12, 13, 14]]]]

    def samples(rng: Any) -> Any:
        n = rng.normal
        for x, w, stride, padding, dilation, groups in [
            ((2, 1, 5, 5), (3, 1, 3, 3), 1, 1, 1, 1),
            ((2, 3, 7, 6), (4, 3, 3, 2), (2, 1), (1, 0), 1, 1),
            ((1, 4, 9, 8), (6, 2, 3, 3), 2, (1, 2), (2, 1), 2),
            ((2, 4, 5, 6), (4, 1, 2, 3), 1, "same", 1, 4),
            ((1, 2, 6, 5), (2, 2, 1, 1), 2, 0, 1, 1),
            ((1, 2, 3, 3), (2, 2, 2, 2), 1, 2, 3, 1),
            ((2, 3, 4, 4), (2, 3, 4, 4), 1, "valid", 1, 1),
            ((0, 2, 4, 4), (3, 2, 3, 3), 1, 1, 1, 1),
            ((1, 17, 6, 19), (33, 17, 2, 2), 1, 1, 1, 1),
            ((1, 10, 7, 10), (12, 5, 3, 3), 1, 2, 1, 2),
            ((3, 9, 6, 8), (66, 9, 1, 1), 1, 0, 1, 1),
            ((1, 2, 19, 35), (10, 1, 3, 5), 1, (0, 2), (2, 1), 2),
        ]:
            yield Sample(n(size=x), n(size=w), n(size=w[0]), stride, padding, dilation, groups, None)
        yield Sample(n(size=(3, 6, 6)), n(size=(2, 3, 3, 3)), None, 1, 1, 1, 1, None)
        yield Sample(n(size=(2, 6, 5, 3)).transpose(0, 3, 1, 2), n(size=(3, 3, 4, 4)).transpose(3, 0, 1, 2)[:, :, :, ::2], None, 1, 1, 1, 1, None)
        yield Sample(n(size=(2, 3, 6, 5)), n(size=(4, 3, 3, 3)), n(size=4), 1, 1, 1, 1, "relu")
        # An activation, or a residual, is a compilation more: each rung gets one. The last two take neither 3 x 3 nor one group.
        for k in range(11):
            x, w, groups = ((1, 3, 5, 4), (5, 3, 3, 3), 1) if k < 9 else ((1, 3, 6, 4), (3, 1, 1, 1), 3)
            act, bias = [("relu", True), (None, False), (("elu", 0.5), True), (("leaky_relu", 0.3), True)][k % 4]
            residual = n(size=(1, w[0], x[2] - w[2] + 1, x[3] - w[3] + 1))
            yield Sample(n(size=x), n(size=w), n(size=w[0]) if bias else None, 1, 0, 1, groups, act, residual=residual, _deal=True)

    def errors() -> Any:
        z, none = np.zeros, (1, 0, 1, 1, None)
        yield Sample(z((2, 3, 8, 8)), z((4, 1, 3, 3)), None, *none), ShapeError, r"conv2d: input is \(2, 3, 8, 8\) .*C = 3 must equal groups"
        yield Sample(z((8, 8)), z((4, 1, 3, 3)), None, *none), ShapeError, r"input must be \(N, C, H, W\) or \(C, H, W\)"
        yield Sample(z((2, 1, 2, 8)), z((4, 1, 3, 3)), None, *none), ShapeError, r"the filter spans \(3, 3\) and the padded input is \(2, 8\)"
        yield Sample(z((2, 1, 8, 8)), z((4, 1, 3, 3)), z(3), *none), ShapeError, r"bias is \(3,\); bias must be \(4,\)"
        yield Sample(z((2, 1, 8, 8)), z((4, 1, 3, 3)), None, 0, 0, 1, 1, None), ValueError, r"conv2d: stride must be .* at least 1, not 0"
        yield Sample(z((2, 1, 8, 8)), z((4, 1, 3, 3)), None, 1, -1, 1, 1, None), ValueError, r"conv2d: padding must be .* at least 0, not -1"
        yield Sample(z((2, 1, 8, 8)), z((4, 1, 3, 3)), None, 2, "same", 1, 1, None), ValueError, r"padding='same' needs stride 1"
        yield Sample(z((2, 1, 8, 8)), z((4, 1, 3, 3)), None, *none, residual=z((4, 6, 6))), ShapeError, r"conv2d: residual is \(4, 6, 6\) and the result"
        yield Sample(z((2, 1, 8, 8)), z((4, 1, 3, 3)), None, 1, "full", 1, 1, None), ValueError, r"padding 'full' is not known"
        yield Sample(z((2, 1, 8, 8)), z((4, 1, 3, 3), np.float32), None, *none), DtypeError, r"input is float64 and weight is float32"
        yield Sample(z((2, 1, 8, 8), np.int64), z((4, 1, 3, 3), np.int64), None, *none), TypeError, r"conv2d: input is int64; a floating"

    def cost(x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int, act: Any, residual: Any = None) -> Cost:
        P, Q = _result(x, w, stride, padding, dilation)
        y = (x.shape[0] if x.ndim == 4 else 1) * len(w) * P * Q
        return Cost(bytes=x.nbytes + w.nbytes + y * x.itemsize * (1 if residual is None else 2), flops=2 * y * w[0].size)


class Conv2dPool(Op, name="conv2d_relu_max_pool2d"):
    """Max pooling of relu(conv2d), where ReLU and the maximum change places: both grow."""

    ladders = ("conv2d_relu_max_pool2d.forward", "max_pool2d.backward", "epilogue.backward", "conv2d.dgrad", "conv2d.wgrad")

    def forward_cpu(
        self, x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any, pool: Any, out: Any
    ) -> Any:
        y, at = cpu.forward_pool(x, w, b, stride, pad, dilation, groups, size, act, pool, out)
        self._save(x, w, y, at)
        return y

    def _save(self, x: Any, w: Any, y: Any, at: Any) -> None:
        if any(self.needs):
            self.save(x=x if self.needs[1] else None, w=w if self.needs[0] else None, y=y, at=at)

    def backward_cpu(
        self, dy: Any, x: Any, w: Any, y: Any, at: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any, pool: Any
    ) -> Any:
        image, window = self.meta[0][0][2:], self.meta[1][0][2:]  # type: ignore[attr-defined]
        return cpu.backward_pool(dy, x, w, y, at, stride, pad, dilation, groups, size, pool, image, window, self.needs)

    def forward_kernel(
        self, x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any, pool: Any, out: Any
    ) -> Any:
        y = self.device.empty((x.shape[0], w.shape[0], *out), x.dtype)
        window, step, rim, spread = pool["window"], pool["stride"], pool["pad"], pool["dilation"]
        if window[0] * window[1] > 256:  # the places of the maxima would not fit into a byte
            middle = launch_forward(self, x, w, b, stride, pad, dilation, groups, size, act)
            at = self.device.empty(y.shape, np.int64)
            launch_max_pool(self, middle, y, at, **pool)
        else:
            at = self.device.empty(y.shape, np.uint8)
            rows, cols = (pool_piece(n, *v) for n, *v in zip((TI, TJ), step, spread, window, stride, dilation, w.shape[2:]))
            self.launch(
                "conv2d_relu_max_pool2d.forward", _epilogue.defines(b is not None, act), x=x, w=w, bias=w if b is None else b, z=y, at=at,
                **_scalars(x.shape, w.shape, (*y.shape[:2], *size), stride, pad, dilation, groups), I=out[0], J=out[1], A=window[0], B=window[1],
                step_h=step[0], step_w=step[1], rim_h=rim[0], rim_w=rim[1], spread_h=spread[0], spread_w=spread[1], rows=rows, cols=cols,
            )  # fmt: skip
        self._save(x, w, y, at)
        return y

    def backward_kernel(
        self, dy: Any, x: Any, w: Any, y: Any, at: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any, pool: Any
    ) -> Any:
        shape = (*dy.shape[:2], *size)
        dy, db = _epilogue.backward_kernel(self, dy, y, act, self.needs[2], 1)
        middle = launch_unpool(self, dy, at, **pool, shape=shape)
        where = (stride, pad, dilation, groups)
        return (
            launch_dgrad(self, middle, w, *where, self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            launch_wgrad(self, x, middle, *where, self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
            db,
        )

    def backward_graph(
        self, dy: Tensor, x: Tensor, w: Tensor, y: Tensor, at: Tensor, stride: Any, pad: Any, dilation: Any, groups: int, size: Any, act: Any, pool: Any
    ) -> Any:
        shape = (*dy.shape[:2], *size)
        dy = _epilogue.backward(dy, y, act)
        middle = MaxUnpool.apply(dy, at, **pool, shape=shape)
        where = _geometry(stride, pad, dilation, groups)
        return (
            Conv2dDgrad.apply(middle, w, **where, size=self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            Conv2dWgrad.apply(x, middle, **where, size=self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
            dy.sum((0, 2, 3)) if self.needs[2] else None,
        )

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        x, w = np.arange(1.0, 10.0).reshape(1, 1, 3, 3), np.array([[[[1.0, 0.0], [0.0, -1.0]]]])
        yield [x, w, np.array([5.0]), 1, 1], [[[[4.0, 8.0], [12.0, 14.0]]]], dict(pool_kernel_size=2)

    def samples(rng: Any) -> Any:
        n = rng.normal
        yield Sample(n(size=(2, 1, 8, 8)), n(size=(3, 1, 3, 3)), n(size=3), 1, 1, pool_kernel_size=2)
        yield Sample(n(size=(2, 3, 7, 6)), n(size=(4, 3, 2, 2)), None, pool_kernel_size=3, pool_stride=2, pool_padding=1)
        yield Sample(n(size=(2, 9, 9)), n(size=(2, 1, 3, 3)), n(size=2), 2, 0, 1, 2, pool_kernel_size=2, pool_stride=1, pool_ceil_mode=True)
        yield Sample(n(size=(2, 1, 5, 5)), n(size=(3, 1, 3, 3)), n(size=3) + 3, pool_kernel_size=2, pool_ceil_mode=True)  # windows past the results
        yield Sample(n(size=(0, 1, 6, 6)), n(size=(3, 1, 3, 3)), n(size=3), pool_kernel_size=2)

    def errors() -> Any:
        z = np.zeros
        yield (
            Sample(z((2, 3, 8, 8)), z((4, 1, 3, 3)), pool_kernel_size=2),
            ShapeError,
            r"conv2d_relu_max_pool2d: input is \(2, 3, 8, 8\) .*C = 3 must equal groups",
        )
        yield Sample(z((2, 3, 4, 4)), z((4, 3, 3, 3)), pool_kernel_size=3), ShapeError, r"the window spans \(3, 3\) and the padded image is \(2, 2\)"

    def cost(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, **window: Any) -> Cost:
        P, Q = _result(x, w, stride, padding, dilation)
        middle = np.broadcast_to(np.zeros((), x.dtype), (x.shape[0] if x.ndim == 4 else 1, len(w), P, Q))  # takes no memory, here and there
        pooled = pool.MaxPool2d.cost(middle, **{name.removeprefix("pool_"): value for name, value in window.items()})
        return Cost(bytes=x.nbytes + w.nbytes + pooled.bytes - middle.nbytes, flops=2 * middle.size * w[0].size)


class Conv2dDgrad(Op, name="conv2d_dgrad", function="_dgrad"):
    """The gradient with respect to x of size (H, W), as a function of dy and w."""

    ladders = ("conv2d.forward", "conv2d.dgrad", "conv2d.wgrad")

    def forward_cpu(self, dy: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
        self.save(g=dy if self.needs[1] else None, w=w if self.needs[0] else None)
        return cpu.dgrad(dy, w, stride, pad, dilation, groups, size)

    def backward_cpu(self, dy: Any, g: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
        where = (stride, pad, dilation, groups)
        return (
            cpu.forward(dy, w, None, *where, self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            cpu.wgrad(dy, g, *where, self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
        )

    def forward_kernel(self, dy: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
        self.save(g=dy if self.needs[1] else None, w=w if self.needs[0] else None)
        return launch_dgrad(self, dy, w, stride, pad, dilation, groups, size)

    def backward_kernel(self, dy: Any, g: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
        where = (stride, pad, dilation, groups)
        return (
            launch_forward(self, dy, w, None, *where, self.meta[0][0][2:], None) if self.needs[0] else None,  # type: ignore[attr-defined]
            launch_wgrad(self, dy, g, *where, self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
        )

    def backward_graph(self, dy: Tensor, g: Tensor, w: Tensor, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
        where = _geometry(stride, pad, dilation, groups)
        return (
            Conv2d.apply(dy, w, None, None, **where, size=self.meta[0][0][2:], act=None) if self.needs[0] else None,  # type: ignore[attr-defined]
            Conv2dWgrad.apply(dy, g, **where, size=self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
        )

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        dy, w = np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.array([[[[1.0, 0.0], [0.0, -1.0]]]])
        yield [dy, w, (1, 1), (0, 0), (1, 1), 1, (3, 3)], [[[[1.0, 2.0, 0.0], [3.0, 3.0, -2.0], [0.0, -3.0, -4.0]]]]
        yield [dy, w, (2, 2), (0, 0), (1, 1), 1, (4, 4)], [[[[1, 0, 2, 0], [0, -1, 0, -2], [3, 0, 4, 0], [0, -3, 0, -4]]]]

    def samples(rng: Any) -> Any:
        n = rng.normal
        yield Sample(n(size=(2, 3, 4, 5)), n(size=(3, 2, 3, 3)), (1, 1), (1, 1), (1, 1), 1, (4, 5))
        yield Sample(n(size=(1, 4, 3, 2)), n(size=(4, 1, 2, 3)), (2, 3), (1, 0), (1, 2), 2, (6, 9))
        yield Sample(n(size=(1, 18, 5, 19)), n(size=(18, 33, 3, 2)), (1, 1), (1, 0), (1, 1), 1, (5, 20))

    def errors() -> Any:
        return iter(())

    def cost(dy: Any, w: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Cost:
        dx = dy.shape[0] * w.shape[1] * groups * size[0] * size[1]
        return Cost(bytes=dy.nbytes + w.nbytes + dx * dy.itemsize, flops=2 * dy.size * w[0].size)


class Conv2dWgrad(Op, name="conv2d_wgrad", function="_wgrad"):
    """The gradient with respect to w of size (R, S), as a function of x and dy."""

    ladders = ("conv2d.forward", "conv2d.dgrad", "conv2d.wgrad")

    def forward_cpu(self, x: Any, dy: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
        self.save(x=x if self.needs[1] else None, g=dy if self.needs[0] else None)
        return cpu.wgrad(x, dy, stride, pad, dilation, groups, size)

    def backward_cpu(self, dy: Any, x: Any, g: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
        where = (stride, pad, dilation, groups)
        return (
            cpu.dgrad(g, dy, *where, self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            cpu.forward(x, dy, None, *where, self.meta[1][0][2:]) if self.needs[1] else None,  # type: ignore[attr-defined]
        )

    def forward_kernel(self, x: Any, dy: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Any:
        self.save(x=x if self.needs[1] else None, g=dy if self.needs[0] else None)
        return launch_wgrad(self, x, dy, stride, pad, dilation, groups, size)

    def backward_kernel(self, dy: Any, x: Any, g: Any, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
        where = (stride, pad, dilation, groups)
        return (
            launch_dgrad(self, g, dy, *where, self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            launch_forward(self, x, dy, None, *where, self.meta[1][0][2:], None) if self.needs[1] else None,  # type: ignore[attr-defined]
        )

    def backward_graph(self, dy: Tensor, x: Tensor, g: Tensor, stride: Any, pad: Any, dilation: Any, groups: int) -> Any:
        where = _geometry(stride, pad, dilation, groups)
        return (
            Conv2dDgrad.apply(g, dy, **where, size=self.meta[0][0][2:]) if self.needs[0] else None,  # type: ignore[attr-defined]
            Conv2d.apply(x, dy, None, None, **where, size=self.meta[1][0][2:], act=None) if self.needs[1] else None,  # type: ignore[attr-defined]
        )

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        x, dy = np.arange(1.0, 10.0).reshape(1, 1, 3, 3), np.array([[[[1.0, 0.0], [0.0, -1.0]]]])
        yield [x, dy, (1, 1), (0, 0), (1, 1), 1, (2, 2)], [[[[-4.0, -4.0], [-4.0, -4.0]]]]

    def samples(rng: Any) -> Any:
        n = rng.normal
        yield Sample(n(size=(2, 3, 6, 5)), n(size=(2, 4, 4, 5)), (1, 1), (0, 1), (1, 1), 1, (3, 3))
        yield Sample(n(size=(2, 4, 7, 6)), n(size=(2, 2, 3, 3)), (2, 1), (0, 0), (1, 2), 2, (2, 2))
        yield Sample(n(size=(0, 2, 4, 4)), n(size=(0, 3, 4, 4)), (1, 1), (1, 1), (1, 1), 1, (3, 3))

    def errors() -> Any:
        return iter(())

    def cost(x: Any, dy: Any, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Cost:
        dw = dy.shape[1] * (x.shape[1] // groups) * size[0] * size[1]
        return Cost(bytes=x.nbytes + dy.nbytes + dw * x.itemsize, flops=2 * dy.size * (dw // max(dy.shape[1], 1)))


def _dgrad(dy: Tensor, w: Tensor, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Tensor:
    return Conv2dDgrad.apply(dy, w, **_geometry(stride, pad, dilation, groups), size=size)


def _wgrad(x: Tensor, dy: Tensor, stride: Any, pad: Any, dilation: Any, groups: int, size: Any) -> Tensor:
    return Conv2dWgrad.apply(x, dy, **_geometry(stride, pad, dilation, groups), size=size)
