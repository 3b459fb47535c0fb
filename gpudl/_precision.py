"""How float32 products may be computed on a GPU: the one place where a lower precision is asked for."""

from __future__ import annotations

MODES = ("highest", "high", "medium")
mode = "highest"  # of the whole process, as in PyTorch; the dispatch of matmul reads it at each launch


def set_float32_matmul_precision(precision: str) -> None:
    """How float32 matrix products are computed on a device with tensor cores (sm_80 and newer, and the emulator).

    "highest" (the default): in float32 throughout. "high" and "medium": factors are rounded to TF32, which has float32's range and 10 bits of
    mantissa; sums stay in float32. (PyTorch's "medium" may round to bfloat16, 7 bits; here it means TF32, too.) The setting holds in the whole
    process for matmul and what is made of it (linear, addmm, bmm, ...), and is read when a kernel is launched: for a gradient, when backward
    runs. It changes neither other dtypes, nor convolutions, nor the CPU. ValueError for another word, TypeError unless it is a str.
    """
    if not isinstance(precision, str):
        raise TypeError(f"set_float32_matmul_precision: precision must be a str, not {type(precision).__name__} {precision!r}")
    if precision not in MODES:
        raise ValueError(f"set_float32_matmul_precision: {precision!r}; there are {', '.join(map(repr, MODES))}")
    global mode
    mode = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision has set: "highest", "high" or "medium"."""
    return mode
