"""Measured dispatch: which rung was fastest for a class of shapes on one GPU, from tables that `python -m bench tune` writes.

The rule of every launch: the table's rung, where a table of this GPU has the launch's class and the rung takes the launch; else the ladder's
own rule. A table holds for one GPU and for the kernels and records that it was measured with: after a change of any of them it is ignored.
There is the user's table, in the cache folder, and for some GPUs one that is shipped, in gpudl/tuned; the user's comes first. GPUDL_TUNED=0
ignores both.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpudl._files import atomic_write, cache_folder

SCHEMA = 1
SHIPPED = Path(__file__).parent / "tuned"
Table = dict[str, dict[str, str]]  # ladder -> class of shapes -> rung

_tables: dict[Any, Table] = {}  # by device; read at its first launch
state = 0  # changes whenever a choice made from tables may no longer hold; below 0 while they are off


def shape_class(scalars: Mapping[str, Any], dtype: np.dtype) -> str:
    """Launches that are dispatched alike: of one dtype, with the same numbers below 16 (strides, filters, flags), and with sizes that lie
    between the same powers of two and agree in being multiples of 16 or not ("r", ragged). Fractions do not count."""
    words = [str(dtype)]
    for name, value in scalars.items():
        if isinstance(value, (int, np.integer)):  # bool too
            n = int(value)
            if abs(n) < 16:
                words.append(f"{name}={n}")
            else:
                words.append(f"{name}={'-' if n < 0 else ''}{1 << (abs(n).bit_length() - 1)}..{'r' if n % 16 else ''}")
        elif isinstance(value, np.ndarray) and value.dtype.names and "ndim" in value.dtype.names:
            words.append(f"{name}={int(value['ndim'][0])}d")  # Dims
    return " ".join(words)


def rung(ladder: str, scalars: Mapping[str, Any], dtype: np.dtype, device: Any) -> str | None:
    """The rung that a table names for this launch, or None."""
    if state < 0:
        return None
    table = _tables.get(device)
    if table is None:
        table = _tables[device] = read(gpu_name(device))
    classes = table.get(ladder)
    return classes.get(shape_class(scalars, dtype)) if classes else None


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Inside, every ladder follows its own rule: what a measurement of the rules needs."""
    global state
    before, state = state, -1
    try:
        yield
    finally:
        state = before


def gpu_name(device: Any) -> str:
    """Such as "NVIDIA H200"; "" where there is none to tune for."""
    if device.type != "cuda":
        return ""
    try:
        name = device.xp.cuda.runtime.getDeviceProperties(device.index)["name"]
    except (AttributeError, KeyError):  # a stand-in for CuPy
        return ""
    return name.decode() if isinstance(name, bytes) else str(name)


@functools.cache
def source_hash() -> str:
    """A hash of every kernel and of every file with records: a table measured with others says nothing."""
    from gpudl.kernels import FOLDER

    digest = hashlib.sha256()
    here = Path(__file__).parent
    kernels = [p for p in FOLDER.rglob("*") if p.suffix in (".cu", ".cuh", ".py") and "__pycache__" not in p.parts]
    for path in [*sorted(kernels), *sorted(p for folder in ("ops", "optim") for p in (here / folder).glob("*.py")), here / "kernels.py"]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def user_path(gpu: str) -> Path:
    return cache_folder("tuned", f"{_slug(gpu)}-{source_hash()}.json")


def shipped_path(gpu: str) -> Path:
    return SHIPPED / f"{_slug(gpu)}.json"


def read(gpu: str) -> Table:
    """The shipped table with the user's over it; empty where there is none, where it is stale, or (with a warning) where it is damaged."""
    found: Table = {}
    if not gpu or os.environ.get("GPUDL_TUNED", "1") == "0":
        return found
    for path in (shipped_path(gpu), user_path(gpu)):
        for ladder, classes in load(path, gpu).items():
            found.setdefault(ladder, {}).update({name: entry["rung"] for name, entry in classes.items()})
    return found


def load(path: Path, gpu: str) -> dict[str, dict[str, dict[str, Any]]]:
    """ladder -> class -> what was measured, of one file; {} where it is not there, of another GPU or of other sources, or damaged."""
    from gpudl import kernels, optim  # noqa: F401  (all ladders)

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA or data["gpu"] != gpu or data["sources"] != source_hash():
            return {}
        ladders: dict[str, dict[str, dict[str, Any]]] = data["ladders"]
        for ladder, classes in ladders.items():
            for entry in classes.values():
                if not any(rung.name == entry["rung"] for rung in kernels.ladder(ladder)):
                    raise ValueError(f"{ladder} has no rung {entry['rung']!r}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(
            f"{path} is not a table of measured rungs ({type(error).__name__}: {error}), so each ladder follows its own rule. Delete it, or write "
            "a new one: python -m bench tune",
            stacklevel=2,
        )
        return {}
    return ladders


def save(path: Path, gpu: str, ladders: Mapping[str, Any], **facts: Any) -> None:
    """Write a table, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"schema": SCHEMA, "gpu": gpu, "sources": source_hash(), **facts, "ladders": ladders}
    with atomic_write(path) as file:
        file.write(json.dumps(data, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n")
    forget()


def forget() -> None:
    """Read the tables again at the next launch."""
    global state
    _tables.clear()
    state = abs(state) + 1


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
