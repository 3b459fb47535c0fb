"""Images at other places: affine_grid, grid_sample and interpolate, made of indexing, products and sums; gradients come with those."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np

from gpudl import _creation
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor, as_shape, wrap
from gpudl.ops._common import check_float, check_tensor
from gpudl.ops.copy import fresh
from gpudl.ops.elementwise import abs as absolute
from gpudl.ops.elementwise import clamp, floor, fmod, remainder, round, where
from gpudl.ops.index import gather, index_select
from gpudl.ops.matmul import matmul
from gpudl.ops.pool import adaptive_avg_pool2d
from gpudl.ops.view import expand, reshape, squeeze, unsqueeze


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Where each pixel of an output (N, C, H, W) = size lies in the input under theta (N, 2, 3): (N, H, W, 2), x first, for `grid_sample`.

        (x, y) = theta @ (X, Y, 1),    X, Y from -1 to 1 over the output: its outer pixels' centres with align_corners, else their edges

    ShapeError for other shapes, NotImplementedError for volumes. Source: Jaderberg et al. 2015, arXiv:1506.02025.
    """
    check_tensor("affine_grid", theta=theta)
    check_float("affine_grid", theta=theta)
    N, C, *spatial = as_shape((size,))
    if len(spatial) == 3:
        raise NotImplementedError("affine_grid: a size (N, C, D, H, W) is not supported, (N, C, H, W) is")
    if len(spatial) != 2 or theta.shape != (N, 2, 3) or min(C, *spatial) < 1:
        raise ShapeError(f"affine_grid: theta is {tuple(theta.shape)} and size {(N, C, *spatial)}; (N, 2, 3) and (N, C, H, W) are needed")
    H, W = spatial
    x, y = (np.zeros(n) if n == 1 else np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n) for n in (W, H))
    base = np.stack([*(np.broadcast_to(a, (H, W)) for a in (x, y[:, None])), np.ones((H, W))], -1).reshape(H * W, 3)
    return reshape(matmul(_creation.tensor(base, dtype=theta.dtype, device=theta.device), theta.mT), N, H, W, 2)


def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """The values of images (N, C, H, W) at the places grid (N, P, Q, 2), x first, -1 to 1 across the image (see `affine_grid`): (N, C, P, Q).

    mode "bilinear" or "nearest"; outside the image are "zeros", the "border", or its "reflection". Differentiable in input and (bilinear) in
    grid. NotImplementedError for "bicubic" and for volumes, ValueError for other words, ShapeError for other shapes.
    """
    op = "grid_sample"
    check_tensor(op, input=input, grid=grid)
    check_float(op, input=input, grid=grid)
    if mode == "bicubic" or input.ndim == 5:
        raise NotImplementedError(f"{op}: {'mode=bicubic' if mode == 'bicubic' else 'a volume'} is not supported; images, bilinear and nearest are")
    if mode not in ("bilinear", "nearest") or padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"{op}: mode {mode!r} with padding_mode {padding_mode!r}; there are bilinear and nearest, zeros, border and reflection")
    if input.ndim != 4 or grid.ndim != 4 or grid.shape[0] != input.shape[0] or grid.shape[3] != 2 or 0 in input.shape[1:]:
        raise ShapeError(f"{op}: input is {tuple(input.shape)} and grid {tuple(grid.shape)}; (N, C, H, W) and (N, P, Q, 2) are needed")
    if input.dtype != grid.dtype:
        raise DtypeError(f"{op}: input is {input.dtype} and grid {grid.dtype}; the dtypes must be equal. Convert one with .to()")
    if align_corners is None:
        warnings.warn(f"{op}: align_corners is not given; False is used, as in PyTorch since 1.3", stacklevel=2)
    N, C, H, W = input.shape
    _, P, Q, _ = grid.shape
    x, y = (_pixel(grid[..., i].reshape(N, 1, P * Q), n, padding_mode, bool(align_corners)) for i, n in enumerate((W, H)))
    flat = reshape(input, N, C, H * W)

    def at(column: Tensor, row: Tensor) -> Tensor:
        """The pixels there, 0 outside."""
        inside = (column >= 0) & (column <= W - 1) & (row >= 0) & (row <= H - 1)  # a NaN is not
        index = where(inside, row, 0.0).long() * W + where(inside, column, 0.0).long()
        found = gather(flat, 2, expand(index, N, C, P * Q))
        return where(inside, found, 0.0)

    if mode == "nearest":
        out = at(round(x.detach()), round(y.detach()))
    else:
        left, top = floor(x.detach()), floor(y.detach())
        u, v = x - left, y - top
        upper = at(left, top) * (1 - u) + at(left + 1, top) * u
        lower = at(left, top + 1) * (1 - u) + at(left + 1, top + 1) * u
        out = upper * (1 - v) + lower * v
    return reshape(out, N, C, P, Q)


def _pixel(place: Tensor, n: int, padding_mode: str, align_corners: bool) -> Tensor:
    """The coordinate in pixels of a place between -1 and 1."""
    at = (place + 1) * ((n - 1) / 2) if align_corners else ((place + 1) * n - 1) / 2
    if padding_mode == "reflection":  # at the centres of the outer pixels, or at their edges
        low, span = (0.0, float(n - 1)) if align_corners else (-0.5, float(n))
        if not span:
            return at * 0
        away = absolute(at - low)
        rest = fmod(away, span)
        odd = remainder(floor(away.detach() / span), 2) == 1
        at = where(odd, span - rest, rest) + low
    return at if padding_mode == "zeros" else clamp(at, 0, n - 1)


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Signals (N, C, L) or images (N, C, H, W) resized to `size` or by `scale_factor` (a number, or one for each axis).

    mode: "nearest", "nearest-exact", "linear" (signals), "bilinear" (images), "area" (means). align_corners: the outer pixels' centres stay
    where they are (linear modes alone). NotImplementedError for other modes, volumes and antialias; ValueError unless one of size and
    scale_factor is given.
    """
    op = "interpolate"
    check_tensor(op, input=input)
    check_float(op, input=input)
    dims = input.ndim - 2
    if antialias:
        raise NotImplementedError(f"{op}: antialias is not supported")
    if dims not in (1, 2) or mode not in ("nearest", "nearest-exact", "area", ("linear", "bilinear")[dims - 1]):
        raise NotImplementedError(f"{op}: mode {mode!r} of an input {tuple(input.shape)}; (N, C, L) and (N, C, H, W) are supported, and nearest, "
                                  "nearest-exact, area, linear for signals, bilinear for images")  # fmt: skip
    if align_corners is not None and "linear" not in mode:
        raise ValueError(f"{op}: align_corners goes with the linear modes only, not with {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{op}: give size or scale_factor, one of the two")
    given = size if scale_factor is None else scale_factor
    each = list(given) if isinstance(given, (tuple, list)) else [given] * dims
    if len(each) != dims:
        raise ValueError(f"{op}: {given!r} has {len(each)} numbers for the {dims} axes of an input {tuple(input.shape)}")
    have = input.shape[2:]
    want = as_shape((each,)) if scale_factor is None else tuple(int(math.floor(n * float(s))) for n, s in zip(have, each, strict=True))
    if min(*have, *want) < 1:
        raise ShapeError(f"{op}: the input is {tuple(input.shape)} and the result would be {want}; every size must be at least 1")
    if mode == "area":
        out = adaptive_avg_pool2d(unsqueeze(input, 2) if dims == 1 else input, (1, *want) if dims == 1 else want)
        return squeeze(out, 2) if dims == 1 else out
    for axis, (n, m) in enumerate(zip(have, want, strict=True)):
        step = n / m if scale_factor is None or recompute_scale_factor else 1 / float(each[axis])
        if mode.startswith("nearest"):
            input = index_select(input, axis + 2, wrap(_nearest(n, m, step, mode == "nearest-exact", input.device), input.device))
        else:
            weights = _creation.tensor(_linear(n, m, step, bool(align_corners)), dtype=input.dtype, device=input.device)
            input = matmul(input, weights.T) if axis + 3 == input.ndim else matmul(weights, input)
    return input


@functools.lru_cache(64)
def _nearest(n: int, m: int, step: float, exact: bool, device: Any) -> Any:
    places = np.floor((np.arange(m) + (0.5 if exact else 0)) * np.float32(step))  # PyTorch counts in float32
    return device.from_host(np.minimum(places, n - 1).astype(np.int64))


@functools.lru_cache(64)
def _linear(n: int, m: int, step: float, align_corners: bool) -> np.ndarray:
    """The matrix (m, n) of interpolation between neighbours."""
    at = np.arange(m) * ((n - 1) / max(m - 1, 1)) if align_corners else np.maximum((np.arange(m) + 0.5) * step - 0.5, 0)
    low = np.minimum(np.floor(at).astype(int), n - 1)
    part = at - low
    out = np.zeros((m, n))
    out[np.arange(m), low] += 1 - part
    out[np.arange(m), np.minimum(low + 1, n - 1)] += part
    return out


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C * r * r, H, W) to (..., C, H * r, W * r). ShapeError where r * r does not divide the channels. Source: arXiv:1609.05158."""
    check_tensor("pixel_shuffle", input=input)
    r = upscale_factor
    if input.ndim < 3 or input.shape[-3] % (r * r):
        raise ShapeError(f"pixel_shuffle: input is {tuple(input.shape)}; (..., C * {r} * {r}, H, W) is needed for upscale_factor = {r}")
    *lead, C, H, W = input.shape
    split = reshape(input, *lead, C // (r * r), r, r, H, W)
    k = len(lead)
    return fresh(reshape(split.permute(*range(k + 1), k + 3, k + 1, k + 4, k + 2), *lead, C // (r * r), H * r, W * r), input)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H * r, W * r) to (..., C * r * r, H, W), what undoes `pixel_shuffle`. ShapeError where r does not divide H and W."""
    check_tensor("pixel_unshuffle", input=input)
    r = downscale_factor
    if input.ndim < 3 or input.shape[-1] % r or input.shape[-2] % r:
        raise ShapeError(f"pixel_unshuffle: input is {tuple(input.shape)}; (..., C, H * {r}, W * {r}) is needed for downscale_factor = {r}")
    *lead, C, H, W = input.shape
    split = reshape(input, *lead, C, H // r, r, W // r, r)
    k = len(lead)
    return fresh(reshape(split.permute(*range(k + 1), k + 2, k + 4, k + 1, k + 3), *lead, C * r * r, H // r, W // r), input)


__all__ = ["affine_grid", "grid_sample", "interpolate", "pixel_shuffle", "pixel_unshuffle"]
