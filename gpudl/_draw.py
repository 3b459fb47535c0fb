"""The graph behind a tensor as a picture: Graphviz DOT, and SVG without Graphviz."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from gpudl._tensor import Tensor
from gpudl.autograd import Leaf, nodes

_FILL = {"leaf": "#dbe9f6", "op": "#f2f2f2", "root": "#fde7c8"}
_LINE, _CHAR, _GAP_X, _GAP_Y = 16, 7.2, 24, 44  # pixels


class Drawing:
    """`.dot` and `.svg` are the texts; `.save(path)` writes by the suffix (.dot, .gv, .svg); notebooks show the SVG."""

    def __init__(self, labels: dict[int, tuple[str, list[str]]], edges: list[tuple[int, int, str]]):
        self._labels, self._edges = labels, edges

    @property
    def dot(self) -> str:
        lines = [
            "digraph gpudl {",
            '  rankdir="TB"; node [shape=box, style="filled,rounded", fontname="monospace", fontsize=10];',
            '  edge [fontname="monospace", fontsize=9];',
        ]
        for key, (kind, text) in self._labels.items():
            label = "\\n".join(t.replace("\\", "\\\\").replace('"', '\\"') for t in text)
            lines.append(f'  n{key} [label="{label}", fillcolor="{_FILL[kind]}"];')
        lines += [f'  n{a} -> n{b} [label="{text}"];' for a, b, text in self._edges]
        return "\n".join([*lines, "}"]) + "\n"

    @property
    def svg(self) -> str:
        """Layers by the longest path from the leaves, each ordered by the mean place of what it consumes (Sugiyama et al. 1981)."""
        layer: dict[int, int] = {}
        sources: dict[int, list[int]] = {key: [] for key in self._labels}
        sinks: dict[int, list[int]] = {key: [] for key in self._labels}
        for a, b, _ in self._edges:
            sources[b].append(a)
            sinks[a].append(b)
        for key in reversed(self._labels):  # oldest first: every source comes before what consumes it
            layer[key] = max((layer[s] + 1 for s in sources[key]), default=0)
        for key in self._labels:  # a leaf sits right above its first use
            if not sources[key] and sinks[key]:
                layer[key] = min(layer[s] for s in sinks[key]) - 1
        rows: dict[int, list[int]] = {}
        for key in reversed(self._labels):
            rows.setdefault(layer[key], []).append(key)
        place: dict[int, float] = {}
        for depth in sorted(rows):
            order = sorted(rows[depth], key=lambda k: sum(place[s] for s in sources[k]) / len(sources[k]) if sources[k] else 1e9)
            for i, key in enumerate(order):
                place[key] = i - len(order) / 2
            rows[depth] = order
        width = {k: max(len(t) for t in text) * _CHAR + 16 for k, (_, text) in self._labels.items()}
        height = {k: len(text) * _LINE + 10 for k, (_, text) in self._labels.items()}
        total = max((sum(width[k] + _GAP_X for k in row) for row in rows.values()), default=0) + 2 * _GAP_X
        x: dict[int, float] = {}
        y: dict[int, float] = {}
        top = 20.0
        for depth in sorted(rows):
            left = (total - sum(width[k] + _GAP_X for k in rows[depth]) + _GAP_X) / 2
            for key in rows[depth]:
                x[key], y[key] = left + width[key] / 2, top
                left += width[key] + _GAP_X
            top += max(height[k] for k in rows[depth]) + _GAP_Y
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{total:.0f}" height="{top:.0f}" font-family="monospace" font-size="12">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
            f'<rect width="{total:.0f}" height="{top:.0f}" fill="white"/>',
        ]
        for a, b, text in self._edges:
            y0, y1 = y[a] + height[a], y[b]
            middle = (y0 + y1) / 2
            parts.append(
                f'<path d="M{x[a]:.0f} {y0:.0f}C{x[a]:.0f} {middle:.0f} {x[b]:.0f} {middle:.0f} {x[b]:.0f} {y1:.0f}" '
                'fill="none" stroke="#666" marker-end="url(#tip)"/>'
            )
            if text:
                parts.append(
                    f'<text x="{(x[a] + x[b]) / 2 + 4:.0f}" y="{middle:.0f}" font-size="10" fill="#666">{html.escape(text)}</text>'
                )
        for key, (kind, lines) in self._labels.items():
            parts.append(
                f'<rect x="{x[key] - width[key] / 2:.0f}" y="{y[key]:.0f}" width="{width[key]:.0f}" height="{height[key]}" rx="5" '
                f'fill="{_FILL[kind]}" stroke="#888"/>'
            )
            for i, line in enumerate(lines):
                weight = ' font-weight="bold"' if i == 0 else ""
                parts.append(
                    f'<text x="{x[key]:.0f}" y="{y[key] + 16 + i * _LINE:.0f}" text-anchor="middle"{weight}>{html.escape(line)}</text>'
                )
        return "\n".join([*parts, "</svg>"]) + "\n"

    def save(self, path: Any) -> Path:
        path = Path(path)
        if path.suffix not in (".dot", ".gv", ".svg"):
            raise ValueError(f"draw: {path.name}: the suffix says what to write, .dot, .gv or .svg")
        path.write_text(self.svg if path.suffix == ".svg" else self.dot)
        return path

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing of {len(self._labels)} nodes; .dot, .svg, .save('graph.svg')>"


def draw(tensor: Tensor, names: dict[str, Tensor] | None = None) -> Drawing:
    """A picture of the graph behind `tensor`: each op with its output's shape and dtype and the kernel rung that ran, each leaf with its name.

    names: leaf names, for instance dict(model.named_parameters()). RuntimeError where the tensor has no graph.
    """
    if not tensor.requires_grad:
        raise RuntimeError("draw: the tensor does not require a gradient, so no graph was recorded")
    called = {id(t): name for name, t in (names or {}).items()}
    labels: dict[int, tuple[str, list[str]]] = {}
    edges: list[tuple[int, int, str]] = []
    numbers: dict[int, int] = {}
    walk = list(nodes(tensor))
    for node in walk:
        numbers[id(node)] = len(numbers)
    for node in walk:
        if isinstance(node, Leaf):
            leaf = node.tensor()
            if leaf is None:
                labels[numbers[id(node)]] = ("leaf", ["leaf"])
                continue
            labels[numbers[id(node)]] = ("leaf", [called.get(id(leaf), "leaf"), f"{list(leaf.shape)} {leaf.dtype}"])
            continue
        shape, dtype = node.out_meta[0]  # type: ignore[attr-defined]
        ran = [f"{name.partition('.')[2] or name}: {rung.name}" for name, rung in node.rungs.items()]
        kind = "root" if node is tensor._node else "op"
        labels[numbers[id(node)]] = (
            kind,
            [node.name, f"{list(shape)} {dtype}", *(ran or [f"NumPy on {node.device}"] if node.device.type == "cpu" else ran)],
        )
        edges += [(numbers[id(e[0])], numbers[id(node)], "") for e in node.edges if e is not None]
    return Drawing(labels, edges)
