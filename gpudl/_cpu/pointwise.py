"""Elementwise loops that NumPy has no fast form of, compiled by Numba: erf, GELU, and remainders, in float32.

Everything here is arithmetic without a call or a branch, so that LLVM turns the loops into vector instructions. Products may fuse into sums
(`contract`): the last bits depend on the processor, the bounds stated do not.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numba
import numpy as np

f, u = np.float32, np.uint64


def jit(function: Any, **options: Any) -> Any:
    settings: dict[str, Any] = dict(nogil=True, error_model="numpy", fastmath={"contract"}) | options
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no folder that the cache could be written to
        return numba.njit(**settings)(function)


inline = functools.partial(jit, inline="always")

# erf(x) / x as a quotient of two polynomials in x * x: the fit with the least relative error, 2e-8, for |x| <= 3.925, beyond which erf is 1 in
# float32. All coefficients are positive, so no sum cancels.
P0, P1, P2, P3, P4, P5 = map(
    f, (1.128379145830961, 0.1905928484472346, 0.05276918409631517, 0.003772512000040276, 0.00028484281486055907, 2.0460367496633778e-06)
)
Q1, Q2, Q3, Q4, Q5 = map(f, (0.5022412450785443, 0.11418235143370242, 0.014983122658442446, 0.0011638487173799208, 3.8047832792838207e-05))
ZERO, HALF, ONE = f(0), f(0.5), f(1)


@inline
def erf_(x):
    """The error function of a float32, to 8 units in the last place."""
    z = x * x
    z = z if z < f(16) else f(16)  # no quotient of infinities
    p = ((((P5 * z + P4) * z + P3) * z + P2) * z + P1) * z + P0
    q = ((((Q5 * z + Q4) * z + Q3) * z + Q2) * z + Q1) * z + ONE
    y = x * (p / q)
    y = ONE if y > ONE else y  # NaN passes
    return -ONE if y < -ONE else y


# exp: x = n ln 2 + r; a polynomial in r (S. L. Moshier's Cephes, expf), 2^n by writing n into the exponent.
LOG2E, LN2_HIGH, LN2_LOW, SHIFT, LEAST = f(1.4426950408889634), f(0.693359375), f(-2.12194440e-4), f(1.5 * 2**23), f(-87.3)
E0, E1, E2, E3, E4, E5 = map(f, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1))


@inline
def exp_(x):
    """exp of a float32 that is not positive, to 2 units in the last place; 0 below -87.3, where it is less than 2^-125."""
    n = (x * LOG2E + SHIFT) - SHIFT  # to nearest: the sum has no room for a fraction
    n = n if n > f(-127) else f(-127)
    r = x - n * LN2_HIGH - n * LN2_LOW
    y = (((((E0 * r + E1) * r + E2) * r + E3) * r + E4) * r + E5) * (r * r) + r + ONE
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return ZERO if x < LEAST else y * power


@jit
def erf_float(x, y):
    for i in range(x.size):
        y[u(i)] = erf_(x[u(i)])


@jit
def erf_double(x, y):
    for i in range(x.size):
        y[u(i)] = math.erf(x[u(i)])


def erf(x: np.ndarray) -> np.ndarray:
    """The error function over an array: float32 to 8 units in the last place, float64 by C's own."""
    y = np.empty(x.shape, x.dtype)
    (erf_float if x.dtype == f else erf_double)(np.ascontiguousarray(x).reshape(-1), y.reshape(-1))
    return y


ROOT_HALF, SLOPE = f(math.sqrt(0.5)), f(math.sqrt(0.5 / math.pi))


@jit
def gelu(x, y, cdf):
    """y = x * cdf, cdf = (1 + erf(x / sqrt(2))) / 2; all flat."""
    for i in range(x.size):
        v = x[u(i)]
        c = HALF * (ONE + erf_(v * ROOT_HALF))
        cdf[u(i)] = c
        y[u(i)] = v * c


@jit
def gelu_backward(dy, x, cdf, dx):
    """dx = dy * (cdf + x * density(x)); all flat."""
    for i in range(x.size):
        v = x[u(i)]
        dx[u(i)] = dy[u(i)] * (cdf[u(i)] + v * (SLOPE * exp_(-HALF * v * v)))


# ------------------------------------------------------------------------------------------------------------------------- remainders
# A quotient of two floats is right in double but for its last bit, so below 2^22 its integer part q is right: a / b is an integer, or further
# from one than that bit. a - q * b is then exact. Blocks with a quotient that is larger, infinite or NaN are left to NumPy: `slow` marks them.
BLOCK, LARGE, INTEGER = 512, 2.0**22, 1.5 * 2.0**52


@inline
def parts(a, b):
    """(a / b, its integer part towards zero, what that leaves of a), in double."""
    x, y = np.float64(a), np.float64(b)
    t = x / y
    q = (t + INTEGER) - INTEGER  # to nearest
    q = q - 1.0 if (q > t) & (t > 0) else q
    q = q + 1.0 if (q < t) & (t < 0) else q
    return t, q, x if q == 0 else x - q * y  # not 0 * inf


@jit
def fmod(a, b, out, slow):
    for block in range(slow.size):
        fits = True
        for i in range(block * BLOCK, min((block + 1) * BLOCK, a.size)):
            t, _, r = parts(a[u(i)], b[u(i)])
            fits &= abs(t) < LARGE
            out[u(i)] = r if r != 0 else a[u(i)] * 0.0  # a zero with the sign of a
        slow[block] = not fits


@jit
def remainder(a, b, out, slow):
    for block in range(slow.size):
        fits = True
        for i in range(block * BLOCK, min((block + 1) * BLOCK, a.size)):
            y = np.float64(b[u(i)])
            t, _, r = parts(a[u(i)], y)
            fits &= abs(t) < LARGE
            r = r + y if (r < 0) & (y > 0) | (r > 0) & (y < 0) else r
            zero = 0.0 if y > 0 else -0.0
            out[u(i)] = r if r != 0 else zero
        slow[block] = not fits


@jit
def floor_divide(a, b, out, slow):
    for block in range(slow.size):
        fits = True
        for i in range(block * BLOCK, min((block + 1) * BLOCK, a.size)):
            y = np.float64(b[u(i)])
            t, q, r = parts(a[u(i)], y)
            fits &= abs(t) < LARGE
            q = q - 1.0 if (r < 0) & (y > 0) | (r > 0) & (y < 0) else q
            out[u(i)] = q if q != 0 else t * 0.0  # a zero with the sign of the quotient
        slow[block] = not fits


LOOPS = {"fmod": fmod, "remainder": remainder, "floor_divide": floor_divide}


def divide(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.fmod, np.remainder or np.floor_divide of two arrays, the same bits; float32 by the loops above."""
    ufunc = getattr(np, name)
    if a.dtype != f or b.dtype != f or max(a.size, b.size) < BLOCK:
        return ufunc(a, b)
    if a.shape != b.shape:
        a, b = np.broadcast_arrays(a, b)
    out = np.empty(a.shape, f)
    left, right, flat = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1), out.reshape(-1)
    slow = np.empty(-(-flat.size // BLOCK), np.bool_)
    LOOPS[name](left, right, flat, slow)
    for block in np.flatnonzero(slow):
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        ufunc(left[part], right[part], out=flat[part])
    return out
