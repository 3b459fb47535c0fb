"""Bitwise repeatability: whether a launch may run a rung whose record does not promise it."""

from __future__ import annotations

import warnings

OFF, WARN, ERROR = 0, 1, 2
mode = OFF  # of the whole process, as in PyTorch; the dispatch of kernels reads it at each launch


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """With True, kernels are chosen only among those whose record says that they are bitwise repeatable: the same inputs give the same bits.

    An operation that has no such kernel for what it is given raises RuntimeError, or warns and runs all the same with warn_only=True. A rung
    picked with `gpudl.kernels.use` that is not repeatable gives way to another one, with a warning. The setting holds in the whole process
    and is read when a kernel is launched: for a gradient, when backward runs. The CPU's operations are repeatable anyhow (for one number of
    BLAS threads). TypeError unless both are bool.
    """
    if not isinstance(mode, bool) or not isinstance(warn_only, bool):
        wrong = mode if not isinstance(mode, bool) else warn_only
        raise TypeError(f"use_deterministic_algorithms: mode and warn_only must be bool, not {type(wrong).__name__} {wrong!r}")
    set_deterministic_debug_mode(OFF if not mode else WARN if warn_only else ERROR)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether use_deterministic_algorithms(True) holds, with or without warn_only."""
    return mode != OFF


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether an operation without a repeatable kernel warns where it would otherwise raise."""
    return mode == WARN


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same setting in one word: 0 or "default" (off), 1 or "warn", 2 or "error". TypeError, RuntimeError for anything else."""
    names: dict[int | str, int] = {"default": OFF, "warn": WARN, "error": ERROR, OFF: OFF, WARN: WARN, ERROR: ERROR}
    if isinstance(debug_mode, bool) or not isinstance(debug_mode, (int, str)):
        raise TypeError(f"set_deterministic_debug_mode: debug_mode must be an int or a str, not {type(debug_mode).__name__}")
    if debug_mode not in names:
        raise RuntimeError(f"set_deterministic_debug_mode: {debug_mode!r}; there are 0 'default', 1 'warn' and 2 'error'")
    global mode
    mode = names[debug_mode]


def get_deterministic_debug_mode() -> int:
    """0 off, 1 warn, 2 error."""
    return mode


def missing(ladder: str, what: str) -> None:
    """No repeatable rung of the ladder takes this launch: raise, or warn where that was asked for."""
    message = (
        f"{ladder}: none of its kernels that take {what} is bitwise repeatable, and gpudl.use_deterministic_algorithms(True) asks for one."
    )
    if mode == ERROR:
        raise RuntimeError(
            f"{message} Turn it off around this operation, or let it warn: gpudl.use_deterministic_algorithms(True, warn_only=True)"
        )
    warnings.warn(f"{message} Another one runs", stacklevel=5)
