"""What the CPU path needs beyond NumPy: loops compiled by Numba, which is imported when the first of them runs, and scratch memory."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import numpy as np

_local = threading.local()


@functools.cache
def compiled() -> Any:
    """The compiled loops."""
    from gpudl._cpu import loops

    return loops


@functools.cache
def norms() -> Any:
    """The compiled loops of the normalisations."""
    from gpudl._cpu import norm

    return norm


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Uninitialised memory of this thread that the next call with the same name hands out again: no page faults in a training step."""
    kept: dict[str, np.ndarray] = _local.__dict__
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if name not in kept or kept[name].size < size:
        kept[name] = np.empty(size, np.uint8)
    return kept[name][:size].view(dtype).reshape(shape)
