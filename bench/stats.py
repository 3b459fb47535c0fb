"""What a set of timings says, and what it does not: medians, spread, and whether a difference is one.

Contestants take turns (A B, B A, A B, ...), so sample i of each was taken within the same moments. A difference is judged on the pairs: the
median of log(b_i / a_i) with the distribution-free confidence interval of a median (order statistics of the sign test; Hollander, Wolfe &
Chicken 2014, section 3.6). One version is always measured twice; how far it lies from itself is the noise floor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.99
LEAST_FLOOR = 0.005  # half a percent: below it nothing is claimed, however many samples agree


class Summary(NamedTuple):
    median: float
    p20: float
    p80: float


class Verdict(NamedTuple):
    """ratio > 1: the first is faster. low and high bound it; word is "faster", "slower" or "tie", seen from the first."""

    ratio: float
    low: float
    high: float
    word: str


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def summary(values: Sequence[float]) -> Summary:
    return Summary(quantile(values, 0.5), quantile(values, 0.2), quantile(values, 0.8))


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bounds of the median of what the values were drawn from; infinite where there are too few values to say."""
    n, ordered = len(values), sorted(values)
    tail, k = 0.0, 0
    while k < n:
        tail += math.comb(n, k) / 2**n
        if 2 * tail > 1 - confidence:
            break
        k += 1
    return (ordered[k - 1], ordered[n - k]) if k else (-math.inf, math.inf)


def logs(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [math.log(y / x) for x, y in zip(a, b, strict=True)]


def noise_floor(a: Sequence[float], again: Sequence[float]) -> float:
    """How far two measurements of one thing lie apart, as a log ratio: what a real difference must exceed."""
    low, high = interval(logs(a, again), 0.8)
    return max(LEAST_FLOOR, abs(low), abs(high)) if math.isfinite(low) else math.inf


def compare(a: Sequence[float], b: Sequence[float], floor: float = LEAST_FLOOR) -> Verdict:
    """The first against the second, from samples taken in turns."""
    pairs = logs(a, b)
    middle = quantile(pairs, 0.5)
    low, high = interval(pairs)
    if low <= 0 <= high or abs(middle) <= floor:
        word = "tie"
    else:
        word = "faster" if middle > 0 else "slower"
    return Verdict(math.exp(middle), math.exp(low), math.exp(high) if high < 700 else math.inf, word)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else math.nan
