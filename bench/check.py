"""Is it right? Asked before and after the clock runs; a wrong result gets no speed.

The reference is the same call in float64 on inputs that the dtype under test holds exactly. Comparisons are written so that NaN fails, and
fresh memory is filled with NaN, so that a value which nobody wrote fails as well.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpudl import _dtypes


class Judgement(NamedTuple):
    """ok; relative: norm of the error over norm of the reference; worst: largest error as a multiple of what is allowed; why it is wrong."""

    ok: bool
    relative: float
    worst: float
    why: str


# Behind a kink (ReLU or a maximum of computed values) a last bit decides which way a gradient flows: such gradients are judged by their norm.
KINKED = {"batch_norm_relu", "batch_norm_add_relu", "conv2d_relu_max_pool2d"}
KINK_NORM = 1e-2
LAST = {_dtypes.float16: 2.0**-11, _dtypes.bfloat16: 2.0**-8}
POISON_INTEGER = 77


def allowed(dtype: np.dtype, want: Any, length: int, xp: Any = np, saved: bool = False, precision: str = "ieee") -> Any:
    """Error allowed in a sum of `length` terms: 2 eps sqrt(length) of its scale, and the last place of the result's dtype for its rounding
    (after Higham & Mary 2019, doi:10.1137/18M1226312). TF32 inputs, whose error is near 3e-4, overshoot it up to lengths of some thousands.
    saved: computed from values that a forward kept rounded to a half, whose rounding a difference shows in full.
    precision: "tf32" where factors were rounded to that, 2^-11 each: errors that add up as the terms do, so they count once, eight times."""
    eps = 2.0**-52 if dtype == _dtypes.float64 else 2.0**-23
    scale = xp.abs(want)
    top = float(scale.max()) if want.size else 0.0
    inputs = 8 * 2.0**-11 if precision == "tf32" else 0.0
    return (8 * eps * math.sqrt(max(length, 64)) + (8 if saved else 2) * LAST.get(dtype, eps) + inputs) * (xp.maximum(scale, top / 8) + 1e-30)


def judge(got: Sequence[Any], want: Sequence[Any], dtype: Any, length: int = 0, largest: int = 0, kinked: bool = False, xp: Any = np,
          saved: bool = False, precision: str = "ieee") -> Judgement:  # fmt: skip
    """Results against the reference's. length: terms in the longest sum; by default as many as inputs (`largest` elements) meet in one output.

    kinked: few values may be far off if all are finite and the norm of the error is below 1% (a tile of 1/10000 that is missing exceeds that).
    xp: the array module that compares: CuPy for large results on a GPU, since NumPy would take longer than everything that is measured.
    """
    dtype = _dtypes.as_dtype(dtype)
    if len(got) != len(want):
        return Judgement(False, math.inf, math.inf, f"{len(got)} results where {len(want)} are expected")
    relative = worst = 0.0
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        if g is None and w is None:
            continue
        if g is None or w is None or tuple(g.shape) != tuple(w.shape):
            shape = None if g is None else tuple(g.shape)
            return Judgement(False, math.inf, math.inf, f"result {k} is {shape}, expected {None if w is None else tuple(w.shape)}")
        if not w.size:
            continue
        if w.dtype.kind in "biu":
            bad = int((np.asarray(g) != w).sum())
            if bad:
                return Judgement(False, bad / w.size, math.inf, f"result {k}: {bad} of {w.size} integers differ")
            continue
        g64, w64 = (xp.asarray(np.asarray(v, np.float32) if v.dtype in LAST else v).astype(np.float64) for v in (g, w))
        finite = xp.isfinite(w64)
        same = (g64 == w64) | (xp.isnan(g64) & xp.isnan(w64))
        limit = allowed(dtype, xp.where(finite, w64, 0), max(length, largest // w.size), xp, saved, precision)
        with np.errstate(invalid="ignore", over="ignore"):
            error = xp.abs(g64 - w64)
            good = same | (error <= limit)  # NaN is no number that is <= another
            ratio = xp.where(same, 0, error / limit)
            difference = xp.where(finite, g64 - w64, 0)
        norm, distance = (float(xp.sqrt((v * v).sum())) for v in (xp.where(finite, w64, 0), difference))
        if kinked and distance <= KINK_NORM * norm:  # a NaN among them is no distance
            good, ratio = xp.ones_like(good), xp.minimum(ratio, 1.0)
        if not bool(good.all()):
            bad = int(good.size - int(good.sum()))
            at = tuple(int(i) for i in xp.argwhere(~good)[0])
            got_one, right = float(g64[at]), float(w64[at])
            return Judgement(
                False, math.inf, math.inf,
                f"result {k}: {bad} of {w.size} values are wrong, the first at {at}: {got_one:.6g} where {right:.6g} is right, {float(limit[at]):.2g} allowed"
                + (" (NaN: never written, or computed from what nobody wrote)" if math.isnan(got_one) else ""),
            )  # fmt: skip
        relative = max(relative, distance / norm if norm else distance)
        worst = max(worst, float(ratio.max()))
    return Judgement(True, relative, worst, "")


def poison(array: Any) -> Any:
    """Fill memory with NaN, or with a value that no result here has."""
    kind = array.dtype.kind
    if array.size and getattr(getattr(array, "flags", None), "writeable", True):
        if kind == "V":  # bfloat16, which CuPy has no fill for: its quiet NaN
            array.view(np.uint16).fill(0x7FC0)
        else:
            array.fill(True if kind == "b" else POISON_INTEGER if kind in "iu" else np.nan)
    return array


@contextlib.contextmanager
def poisoned(device: Any) -> Iterator[None]:
    """Inside, every array that the device gives out is full of NaN."""
    real = device.empty

    def empty(shape: tuple[int, ...], dtype: Any) -> Any:
        return poison(real(shape, dtype))

    device.empty = empty
    try:
        yield
    finally:
        del device.empty
