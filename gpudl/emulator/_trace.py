"""Pictures of memory accesses: which lane of a warp touches which word, for lessons."""

from __future__ import annotations

import colorsys
import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpudl.emulator import _profile, _symbols
from gpudl.emulator._build import runtime
from gpudl.emulator._launch import Function, compile

CELL, LEFT, TOP, MOST_ROWS = 22, 120, 90, 40


@dataclass(frozen=True)
class Access:
    """One lane's access. turn: the how-manieth time the lane ran this place since the last block barrier."""

    file: str
    line: int
    space: str
    op: str
    lane: int
    turn: int
    address: int
    size: int
    array: str | None
    index: int | None


class Trace:
    """The accesses of one warp of a launch. save(path, line) draws one request as SVG or PNG."""

    def __init__(self, kernel: str, accesses: list[Access]):
        self.kernel, self.accesses = kernel, accesses

    def requests(self, line: int | None = None) -> dict[tuple[str, int, str, str, str | None, int], list[Access]]:
        """Accesses by (file, line, space, op, array, turn): what the warp asked for at once."""
        found: dict[Any, list[Access]] = {}
        for a in self.accesses:
            if line is None or a.line == line:
                found.setdefault((a.file, a.line, a.space, a.op, a.array, a.turn), []).append(a)
        return found

    def svg(
        self, line: int | None = None, *, space: str | None = None, op: str | None = None, array: str | None = None, turn: int = 0
    ) -> str:
        """One request as SVG text: a row of the picture is 128 bytes of memory (for shared memory, a column is a bank); numbers are lanes."""
        width, height, shapes, texts = self._draw(line, space, op, array, turn)
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
                 f'<rect width="{width}" height="{height}" fill="white"/>']  # fmt: skip
        for x, y, w, h, fill in shapes:
            parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" stroke="#bbbbbb"/>')
        for x, y, text, size, anchor in texts:
            text = text.replace("&", "&amp;").replace("<", "&lt;")
            parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">{text}</text>')
        return "\n".join([*parts, "</svg>", ""])

    def save(self, path: str | os.PathLike[str], line: int | None = None, **choice: Any) -> Path:
        """Draw one request (see svg) to a .svg or .png file; PNG needs matplotlib."""
        path = Path(path)
        if path.suffix == ".svg":
            path.write_text(self.svg(line, **choice))
        elif path.suffix == ".png":
            try:
                from matplotlib.backends.backend_agg import FigureCanvasAgg
                from matplotlib.figure import Figure
                from matplotlib.patches import Rectangle
            except ImportError:
                raise ImportError("Trace.save: PNG needs matplotlib (pip install matplotlib); SVG needs nothing") from None
            width, height, shapes, texts = self._draw(
                line, choice.pop("space", None), choice.pop("op", None), choice.pop("array", None), choice.pop("turn", 0)
            )
            figure = Figure(figsize=(width / 72, height / 72), dpi=144)
            FigureCanvasAgg(figure)
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set_xlim(0, width), axes.set_ylim(height, 0)
            axes.axis("off")
            for x, y, w, h, fill in shapes:
                axes.add_patch(Rectangle((x, y), w, h, facecolor=fill, edgecolor="#bbbbbb", linewidth=0.5))
            for x, y, text, size, anchor in texts:
                axes.text(x, y, text, fontsize=size * 0.8, ha={"start": "left", "middle": "center", "end": "right"}[anchor])
            figure.savefig(path)
        else:
            raise ValueError(f"Trace.save: {path.name} must end in .svg or .png")
        return path

    def _draw(
        self, line: int | None, space: str | None, op: str | None, array: str | None, turn: int
    ) -> tuple[int, int, list[Any], list[Any]]:
        chosen = [(key, group) for key, group in self.requests(line).items()
                  if key[5] == turn and space in (None, key[2]) and op in (None, key[3]) and array in (None, key[4])]  # fmt: skip
        if not chosen:
            have = sorted({f"line {k[1]} ({k[2]} {k[3]} {k[4]})" for k in self.requests()})
            raise ValueError(f"trace of {self.kernel}: no such request; there are {', '.join(have) or 'none'}")
        (file, number, where, what, name, _), group = chosen[0]
        words: dict[int, list[int]] = {}
        for a in group:
            for word in range(a.address // 4, (a.address + a.size - 1) // 4 + 1):
                words.setdefault(word, []).append(a.lane)
        rows = sorted({w // 32 for w in words})
        shown = rows[:MOST_ROWS]
        colour = lambda lane: "#" + "".join(f"{int(255 * c):02x}" for c in colorsys.hls_to_rgb(lane / 32, 0.72, 0.75))
        shapes: list[Any] = []
        texts: list[Any] = []
        for lane in range(32):
            shapes.append((LEFT + lane * CELL, 34, CELL, CELL, colour(lane) if any(a.lane == lane for a in group) else "#ffffff"))
            texts.append((LEFT + (lane + 0.5) * CELL, 49, str(lane), 11, "middle"))
        texts.append((LEFT - 8, 49, "lane", 11, "end"))
        texts.append((LEFT - 8, TOP - 8, "bank" if where == "shared" else "word", 11, "end"))
        for column in range(32):
            texts.append((LEFT + (column + 0.5) * CELL, TOP - 8, str(column), 9, "middle"))
        first = min(a.address for a in group)
        for k, row in enumerate(shown):
            y = TOP + k * CELL
            offset = row * 128 if where == "shared" else row * 128 - first // 128 * 128
            texts.append((LEFT - 8, y + 15, f"+{offset} B", 11, "end"))
            for column in range(32):
                lanes = words.get(row * 32 + column, [])
                shapes.append((LEFT + column * CELL, y, CELL, CELL, colour(lanes[0]) if lanes else "#f4f4f4"))
                if lanes:
                    texts.append(
                        (
                            LEFT + (column + 0.5) * CELL,
                            y + 15,
                            str(lanes[0]) if len(lanes) == 1 else f"{lanes[0]}+",
                            10 if len(lanes) == 1 else 9,
                            "middle",
                        )
                    )
        if where == "shared":
            fact = f"{_wavefronts(words)} wavefront(s), {-(-len(words) // 32)} without conflicts"
        else:
            fact = f"{len({w // 8 for w in words})} sectors of 32 bytes, {-(-len(words) // 8)} if packed"
        texts.append((LEFT, 20, f"{self.kernel}, {Path(file).name}:{number}: {where} {what} of {name or 'memory'}: {fact}", 13, "start"))
        if len(rows) > len(shown):
            texts.append((LEFT, TOP + len(shown) * CELL + 16, f"and {len(rows) - len(shown)} more rows of 128 bytes", 11, "start"))
        return LEFT + 32 * CELL + 20, TOP + len(shown) * CELL + 26, shapes, texts


def _wavefronts(words: dict[int, list[int]]) -> int:
    banks = [0] * 32
    for word in words:
        banks[word % 32] += 1
    return max(banks)


def trace(
    function: Function, grid: Any, block: Any, args: Sequence[Any], shared_mem: int = 0, *, block_index: Any = (0, 0, 0), warp: int = 0
) -> Trace:
    """Launch a kernel and record what one warp of one block touches.

    function: from any module of the emulator (it is compiled again, for profiling, where it was not). block_index: the block, as blockIdx;
    warp: its number in the block. The launch itself is as function(grid, block, args, shared_mem): SanitizerError for faults.
    """
    module = function.module
    if not module.profile:
        names = (function.name,) if "<" in function.name else ()
        function = compile(
            Path(module.sources[0]), module.options, profile=True, order=module.order, seed=module.seed, name_expressions=names
        ).get_function(function.name)
    index = (*([block_index] if isinstance(block_index, int) else block_index), 0, 0)[:3]
    sizes = (*([grid] if isinstance(grid, int) else grid), 1, 1)[:3]
    launch = function._launch
    launch.traced_block, launch.traced_warp = (index[2] * sizes[1] + index[1]) * sizes[0] + index[0], warp
    try:
        function(grid, block, args, shared_mem)
    finally:
        launch.traced_block = 0xFFFFFFFF
    library = runtime()
    count = library.gpudl_emu_trace(None, 0)
    rows = (_profile._TraceRow * max(count, 1))()
    library.gpudl_emu_trace(ctypes.addressof(rows), count)
    pcs = sorted({r.pc for r in rows[:count]})
    frames = (
        dict(zip(pcs, _symbols.resolve(str(function.module.path), [pc - function.module.base for pc in pcs]), strict=False)) if pcs else {}
    )
    places = _symbols.Places(function, [(p.name, function._slots[i], args[i]) for i, p in enumerate(function.parameters)
                                        if p.kind == "pointer" and isinstance(args[i], np.ndarray)])  # fmt: skip
    accesses = []
    for r in rows[:count]:
        file, line = frames[r.pc][0] if frames.get(r.pc) else ("?", 0)
        array, index_, _ = places.name(r.address, r.size, r.space, 0)
        accesses.append(
            Access(
                file,
                line,
                _profile.SPACES.get(r.space, "global"),
                _profile.OPS.get(r.access, "load"),
                r.lane,
                r.turn,
                r.address,
                r.size,
                array,
                index_,
            )
        )
    return Trace(function.name, accesses)
