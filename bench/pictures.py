"""Rooflines and bars as SVG (into the page) and PNG (into a folder), by matplotlib."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import stats

# Okabe & Ito 2008: colours that readers who do not see red and green apart can tell apart; each contestant has a form of its own as well.
STYLES = [("gpudl", "#0072B2", "o"), ("torch channels_last", "#56B4E9", "D"), ("torch graph", "#CC79A7", "P"), ("torch compile", "#E69F00", "X"),
          ("torch", "#D55E00", "s"), ("numpy", "#777777", "^"), ("jax", "#009E73", "v"), ("cupy", "#009E73", "v")]  # fmt: skip


def style(contestant: str) -> tuple[str, str]:
    return next(((c, m) for name, c, m in STYLES if contestant.startswith(name)), ("#000000", "."))


def available() -> str:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return "matplotlib is not installed: no pictures (pip install 'gpudl[bench]')"
    return ""


def draw(name: str, paint: Callable[[Any], None], folder: Path | None = None, size: tuple[float, float] = (7.2, 4.2)) -> str:
    """The picture as SVG text; as NAME.svg and NAME.png in the folder too. The same data gives the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9, "font.family": "DejaVu Sans", "axes.spines.top": False,
                                "axes.spines.right": False}):  # fmt: skip
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.add_subplot())
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        text = out.getvalue().decode()
        text = text[text.index("<svg") :].replace("'DejaVu Sans'", "system-ui, sans-serif")
        text = re.sub(r'(<svg [^>]*?)(?: width| height)="[^"]*"', r"\1", re.sub(r'(<svg [^>]*?)(?: width| height)="[^"]*"', r"\1", text, count=1), count=1)
        text = text.replace("<svg", f'<svg role="img" aria-label="{name}" class="picture"', 1)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            figure.savefig(folder / f"{name}.png", dpi=140)
    return text


def roofline(rows: list[dict[str, Any]], ceilings: dict[str, Any], family: str, folder: Path | None = None, rate: str = "") -> str:
    """Every measured contestant of a family on the machine's roofline: intensity by the op's own cost, speed as measured."""
    copy, peak = ceilings["copy_gb_s"], ceilings["fma_tflop_s"]
    points = [(r["contestant"], r["flops"] / r["bytes"], r["tflop_s"]) for r in rows if r["status"] == "ok" and r["bytes"] and r["flops"]]
    if len({p[1] for p in points}) < 2 or sum(p[0].startswith("gpudl") for p in points) < 4:
        return ""  # too little for a picture; the table has it

    def paint(ax: Any) -> None:
        xs = [p[1] for p in points]
        low, high = min([0.05, *xs]) / 1.5, max([2 * peak * 1e3 / copy, *xs]) * 1.5
        knee = peak * 1e3 / copy
        line = [low, knee, high]
        ax.loglog(line, [min(peak, x * copy / 1e3) for x in line], color="black", lw=1.4)
        ax.annotate(f"copy {copy:.4g} GB/s", (low * 1.2, low * 1.2 * copy / 1e3), xytext=(14, -6), textcoords="offset points", fontsize=8, va="top")
        ax.annotate(f"multiply-adds {peak:.4g} TFLOP/s", (high, peak), xytext=(-4, 5), textcoords="offset points", fontsize=8, ha="right")
        for key in ("wgmma_bf16_tflop_s", "wgmma_tf32_tflop_s", "mma_bf16_tflop_s", "mma_tf32_tflop_s") if family in ("matmul", "convolution") else ():
            if ceilings.get(key):
                line = [knee, ceilings[key] * 1e3 / copy, high]
                ax.loglog(line, [min(ceilings[key], x * copy / 1e3) for x in line], color="black", lw=0.8, ls="--")
                label = f"{key.removesuffix('_tflop_s').replace('_', ' ')} {ceilings[key]:.4g}"
                ax.annotate(label, (high, ceilings[key]), xytext=(-4, 3), textcoords="offset points", fontsize=7, ha="right")
        for name in dict.fromkeys(p[0] for p in sorted(points, key=lambda p: (p[0].startswith("gpudl"), p[0]))):
            colour, marker = style(name)
            mine = [p for p in points if p[0] == name]
            ours = name.startswith("gpudl")
            look = dict(ms=6, mfc=colour, zorder=3) if ours else dict(ms=5, mfc="none", zorder=2)
            ax.loglog([p[1] for p in mine], [p[2] for p in mine], marker, color=colour, alpha=0.9, label=name, **look)
        speeds = [p[2] for p in points]
        ax.set_ylim(min(speeds) / 2, max(peak, *speeds, *(ceilings.get(f"{k}_bf16_tflop_s") or 0 for k in ("mma", "wgmma"))) * 2.5)
        ax.set_xlabel("FLOP per byte (the least the op must do)")
        ax.set_ylabel("TFLOP/s")
        ax.set_title(f"{family}: roofline", loc="left", fontsize=10, fontweight="bold")
        ax.grid(True, which="major", lw=0.3, color="#cccccc")
        ax.legend(fontsize=7.5, frameon=False, loc="upper left")

    return draw(f"roofline-{family}", paint, folder) if points else ""


def ratio_bars(rows: list[dict[str, Any]], opponent: str, folder: Path | None = None) -> str:
    """Geometric mean of the opponent's time over ours, for each headline op and direction; the thin line spans the worst and the best size."""
    from bench.ops import HEADLINE

    groups: dict[str, list[float]] = {}
    for r in rows:
        if r["status"] == "ok" and r["contestant"] == "gpudl" and r["op"] in HEADLINE and opponent in r.get("against", {}):
            groups.setdefault(f"{r['op']} {r['way']}", []).append(r["against"][opponent]["ratio"])
    if not groups:
        return ""
    ordered = sorted(groups.items(), key=lambda g: stats.geometric_mean(g[1]))

    def paint(ax: Any) -> None:
        names = [name for name, _ in ordered]
        means = [stats.geometric_mean(v) for _, v in ordered]
        ax.barh(names, [math.log2(m) for m in means], color=["#0072B2" if m >= 1 else "#D55E00" for m in means], height=0.62)
        for i, (_, v) in enumerate(ordered):
            ax.plot([math.log2(min(v)), math.log2(max(v))], [i, i], color="black", lw=0.8)
        low, high = min(math.log2(min(v)) for _, v in ordered), max(math.log2(max(v)) for _, v in ordered)
        ticks = range(min(-1, math.floor(low)), max(1, math.ceil(high)) + 1)
        ax.set_xticks(list(ticks), [f"{2.0**t:g}x" for t in ticks])
        ax.axvline(0, color="black", lw=0.8)
        ax.tick_params(axis="y", labelsize=7.5)
        ax.set_ylim(-0.7, len(ordered) - 0.3)
        ax.set_xlabel(f"time of {opponent} / time of gpudl: right of 1x gpudl is faster")
        ax.set_title(f"against {opponent}", loc="left", fontsize=10, fontweight="bold")

    return draw(f"against-{opponent}", paint, folder, (7.2, 1.2 + 0.19 * len(ordered)))


def ladder_bars(rows: list[dict[str, Any]], ladder: str, folder: Path | None = None) -> str:
    """The rungs of one ladder and the opponents at one size: the largest at which every rung was measured."""
    mine = [r for r in rows if r["status"] == "ok" and r.get("ladder") == ladder]
    if not mine:
        return ""
    sizes: dict[tuple[str, str, str], set[str]] = {}
    for r in mine:
        sizes.setdefault((r["op"], r["way"], r["shape"]), set()).add(r["rung"])
    most = max(len(s) for s in sizes.values())
    work = {(r["op"], r["way"], r["shape"]): r["flops"] + r["bytes"] for r in mine}
    op, way, shape = max((k for k, s in sizes.items() if len(s) == most), key=lambda k: work[k])
    mode = "cold" if any(r.get("cache") == "cold" for r in mine if r["shape"] == shape) else "warm"
    at = [r for r in rows if r["status"] == "ok" and (r["op"], r["way"], r["shape"]) == (op, way, shape) and r.get("cache") == mode
          and (r.get("ladder") == ladder or r["opponent"])]  # fmt: skip

    def paint(ax: Any) -> None:
        names = [r.get("rung") or r["contestant"] for r in at]
        speed = [r["tflop_s"] if r.get("bound") == "compute" else r["gb_s"] for r in at]
        unit = "TFLOP/s" if at[0].get("bound") == "compute" else "GB/s"
        bars = ax.barh(names[::-1], speed[::-1], color=["#D55E00" if r["opponent"] else "#0072B2" for r in at][::-1], height=0.62)
        ax.bar_label(bars, [f"{s:.3g} {unit}  {r['ms']['median'] * 1e3:.3g} us" for s, r in zip(speed[::-1], at[::-1])], fontsize=8, padding=3)
        ax.set_xlim(0, max(speed) * 1.35)
        ax.set_xlabel(unit)
        ax.set_title(f"{ladder} at {shape} ({mode} L2)", loc="left", fontsize=10, fontweight="bold")

    return draw(f"ladder-{ladder}", paint, folder, (7.2, 1.0 + 0.3 * len(at)))
