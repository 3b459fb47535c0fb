"""The HTML page of one or more records: self-contained, no scripts from elsewhere, opens from a file."""

from __future__ import annotations

import argparse
import html
import sys
from pathlib import Path
from typing import Any

from bench import ops, pictures, records, stats
from bench.accumulate import INSTRUCTION

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; color: #1a1a1a; background: #fff; max-width: 1180px; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; border-bottom: 2px solid #0072B2; padding-bottom: .2rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .3rem; } p { max-width: 54rem; } .quiet { color: #595959; }
table { border-collapse: collapse; font-size: 13px; width: 100%; } .wide { overflow-x: auto; }
th, td { padding: 3px 8px; text-align: left; border-bottom: 1px solid #e2e2e2; vertical-align: top; } th { background: #f3f6f9; position: sticky; top: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } tr.ours td { background: #eef6fc; }
.faster { color: #00613f; font-weight: 600; } .slower { color: #a63c00; font-weight: 600; } .tie { color: #595959; }
.bad { color: #b00020; font-weight: 600; } .cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.card { border: 1px solid #d6dde4; border-radius: 8px; padding: .6rem .9rem; min-width: 11rem; } .card b { display: block; font-size: 1.35rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 1rem; } svg.picture { width: 100%; height: auto; }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0; }
.warn { border-left: 4px solid #E69F00; background: #fff8e8; padding: .5rem .8rem; max-width: 54rem; }
code { background: #f2f2f2; padding: 0 .25em; }
"""


def esc(value: Any) -> str:
    return html.escape(str(value))


def table(head: list[str], rows: list[list[Any]], numbers: set[int], classes: list[str] | None = None) -> str:
    """Cells that are given as ("html", text) pass as they are."""
    if not rows:
        return '<p class="quiet">nothing</p>'

    def cell(i: int, v: Any, tag: str) -> str:
        text = v[1] if isinstance(v, tuple) else esc("" if v is None else v)
        return f"<{tag}{' class=n' if i in numbers else ''}>{text}</{tag}>"

    out = ["<div class=wide><table><thead><tr>", *(cell(i, h, "th") for i, h in enumerate(head)), "</tr></thead><tbody>"]
    for k, row in enumerate(rows):
        out.append(f"<tr{f' class={classes[k]}' if classes and classes[k] else ''}>" + "".join(cell(i, v, "td") for i, v in enumerate(row)) + "</tr>")
    return "".join(out) + "</tbody></table></div>\n"


def ratio(v: dict[str, Any]) -> tuple[str, str]:
    title = f"99% interval {v['low'] if v['low'] is not None else 0:.2f} to {v['high'] if v['high'] is not None else float('inf'):.2f}"
    return "html", f'<span class={v["word"]} title="{title}">{v["ratio"]:.2f}x{" tie" if v["word"] == "tie" else ""}</span>'


def unfit(data: dict[str, Any]) -> bool:
    """Whether no ratio of this run may be quoted: threads on every CPU of a machine that others used, where each thread waits for the slowest."""
    env = data["environment"]
    return (data.get("shared") or 0) > 0.1 and (env.get("threads") or 1) > 1 and env["threads"] >= env["cores"]


# --------------------------------------------------------------------------------------------------------------------------- sections
def head(data: dict[str, Any]) -> str:
    env = data["environment"]
    gpu = env.get("gpu", {}).get("name")
    machine = gpu or f"{env['cpu']}, {env['threads']} thread(s) of {env['cores']} cores"
    rows = data["rows"]
    count = {s: sum(r["status"] == s for r in rows) for s in ("ok", "checked", "wrong", "failed", "not measured")}
    cards = [("measured rows", count["ok"]), ("checked, not timed", count["checked"]), ("wrong: no speed", count["wrong"]), ("failed", count["failed"]),
             ("not reached", count["not measured"])]  # fmt: skip
    for name, m in ({} if unfit(data) else ops.means(rows)).items():
        cards.append((f"geometric mean against {name}, {m['count']} cases", f"{m['mean']:.2f}x"))
    parts = [f"<h1>gpudl on {esc(machine)}</h1><p class=quiet>{esc(data['started'])} · commit {esc(env.get('commit') or 'none')}"
             f"{' with local changes' if env.get('dirty') else ''} · <code>{esc(env.get('command', ''))}</code></p>"]  # fmt: skip
    if not data["complete"]:
        parts.append(f"<p class=warn>This run did not end by itself ({esc(data.get('ended_by', 'still running or killed'))}): what follows is what it had.</p>")
    if data.get("shared", 0) and data["shared"] > 0.05:
        parts.append(
            f"<p class=warn>The machine was shared: {100 * data['shared']:.0f}% of its CPU time went to other processes while this ran, and whoever uses two "
            "threads suffers most. Times are too long, ratios uncertain; the spread and the noise floor of each row say how much.</p>"
        )
    if unfit(data):
        parts.append("<p class=warn><b>No ratio of this run may be quoted</b>: every CPU had a thread of ours and others used the machine, so that each "
                     "parallel region waited for its slowest thread. Run it again on a quiet machine, or with --threads 1.</p>")  # fmt: skip
    if env.get("device") != "cuda" or data.get("rehearsal"):
        parts.append("<p class=warn>No GPU took part. Every GPU column says <b>not measured</b>; no figure here is of a GPU.</p>")
    parts.append('<div class=cards>' + "".join(f"<div class=card>{esc(n)}<b>{esc(v)}</b></div>" for n, v in cards) + "</div>")
    return "".join(parts)


def overall(rows: list[dict[str, Any]]) -> str:
    out = ["<h2>Who is faster</h2><p>Ratio = time of the opponent over time of gpudl: above 1x gpudl is faster. Geometric means over the whole grid of "
           "sizes; a difference within the noise floor, or whose 99% interval holds 1x, counts as a tie.</p>"]  # fmt: skip
    body: list[list[Any]] = []
    for family in dict.fromkeys(r["family"] for r in rows):
        for way in ("forward", "backward", "step"):
            mine = [r for r in rows if r["family"] == family and r["way"] == way]
            for name, m in ops.means(mine).items():
                word = "tie" if m["faster"] == m["slower"] else "faster" if m["faster"] > m["slower"] else "slower"
                body.append([family, way, name, m["count"], ("html", f"<span class={word}>{m['mean']:.2f}x</span>"), m["faster"], m["tie"], m["slower"],
                             f"{m['worst']:.2f}x {m['worst_case']}", f"{m['best']:.2f}x {m['best_case']}"])  # fmt: skip
    out.append(table(["family", "pass", "against", "cases", "mean", "faster", "tie", "slower", "worst case", "best case"], body, {3, 4, 5, 6, 7}))
    return "".join(out)


def drawn(data: dict[str, Any], folder: Path | None) -> str:
    if problem := pictures.available():
        return f"<h2>Pictures</h2><p class=quiet>{esc(problem)}</p>"
    gpu, ceilings = data["environment"].get("device") == "cuda", data.get("ceilings") or {}
    rows = [r for r in data["rows"] if not gpu or r.get("cache", "warm") != "warm"]  # a warm L2 is no roofline of the memory
    found = []
    if ceilings.get("copy_gb_s"):
        for family in dict.fromkeys(r["family"] for r in rows):
            found.append(pictures.roofline([r for r in rows if r["family"] == family and r["way"] != "backward"], ceilings, family, folder))
    bars = [pictures.ratio_bars(rows, name, folder) for name in ("torch", "torch channels_last", "torch graph", "numpy", "jax") if name in ops.means(rows)]
    ladders = [pictures.ladder_bars(data["rows"], name, folder) for name in dict.fromkeys(r["ladder"] for r in rows if r.get("ladder"))]
    out = "<h2>Rooflines</h2><p>Each point is one size, forward, or a step of an optimiser. Lines: what this machine reached in the same run. "
    out += "Points above the slanted line are sizes that fit in a cache.</p><div class=pictures>" + "".join(f"<div>{p}</div>" for p in found if p) + "</div>"
    out += "<h2>Bars</h2><p>The ops that make up most of a training step: geometric mean over their sizes; the thin line spans the worst and the "
    out += "best size.</p><div class=pictures>" + "".join(f"<div>{p}</div>" for p in [*bars, *ladders] if p) + "</div>"
    return out


def measurements(rows: list[dict[str, Any]], device: str) -> str:
    out = ["<h2>Every measurement</h2><p>Time: median, with the 20th and 80th percentile. Speed from the op's own cost (inputs and outputs once, FLOPs). "
           "Share: of what the measured ceilings allow for that cost; above 100% where the data stays in a cache. Error: norm of the difference to "
           "float64 over its norm. Noise: how far the first row of a case lay from itself.</p>"]  # fmt: skip
    for family in dict.fromkeys(r["family"] for r in rows):
        body, classes = [], []
        for r in [r for r in rows if r["family"] == family and r["status"] == "ok"]:
            ms = r["ms"]
            versus = "  ".join(f"{ratio(v)[1]} {esc(n)}" for n, v in r.get("against", {}).items())
            body.append([
                f"{r['op']} {r['way']}", r["shape"], r["contestant"] + (f" ({r['cache']})" if device == "cuda" else ""), f"{r['dtype']} {r['precision']}",
                f"{ops.human(ms['median'])}", f"{ops.human(ms['p20'])} to {ops.human(ms['p80'])}", ops.speed(r),
                f"{100 * r['share']:.0f}%" if r.get("share") else "", f"{r['error']['relative']:.1e}",
                f"{100 * r['noise_floor']:.1f}%" if r.get("noise_floor") is not None and not r["opponent"] else "", ("html", versus),
            ])  # fmt: skip
            classes.append("" if r["opponent"] else "ours")
        if body:
            names = ["op", "size", "who", "precision", "time", "spread", "speed", "share", "error", "noise", "ratio"]
            out.append(f"<details{' open' if family in ('matmul', 'convolution') else ''}><summary>{esc(family)}: {len(body)} rows</summary>")
            out.append(table(names, body, {4, 5, 6, 7, 8, 9}, classes) + "</details>")
    return "".join(out)


def steps(found: list[dict[str, Any]], flat: bool | None = None) -> str:
    if not found:
        return ""
    body: list[list[Any]] = []
    for f in found:
        for name, ms in f["ms"].items():
            if not ms:
                continue
            s = stats.summary(ms)
            versus = stats.compare(f["ms"]["gpudl"], ms)._asdict() if name != "gpudl" else None
            body.append([f"{f['model']} B={f['batch']}", f["threads"], name, f"{s.median:.2f} ms", f"{s.p20:.2f} to {s.p80:.2f} ms",
                         ratio(versus) if versus else "", f"{f['loss_difference']:.1e}" if f.get("loss_difference") is not None else ""])  # fmt: skip
    out = "<h2>Training steps</h2><p>Forward, loss, backward and SGD with momentum, same weights and batches for everybody, in turns in one process. "
    out += "The last column is the largest difference of the losses over all steps."
    if flat is not None:
        out += f" Peak memory of the process over 1,000 steps: {'flat, within a MiB' if flat else '<span class=bad>it grows</span>'}."
    out += "</p>"
    return out + table(["model", "threads", "who", "step", "spread", "torch / gpudl", "losses differ by"], body, {1, 3, 4, 5, 6})


def emulator(data: dict[str, Any]) -> str:
    """The record of `python -m bench emulator`."""
    if not data:
        return ""
    body = [[name, f"{value:.2f}", f"{sense} {goal:g}"] for name, value, sense, goal in data["rows"]]
    times = "; ".join(f"{name} {ms:.1f} ms" for name, ms in data["ms"].items())
    text = f"A 256 x 256 x 256 matmul with a shared tile, CPU time: {esc(times)}. The emulator's time says nothing about a GPU's."
    return f"<h2>The emulator</h2><p>{text}</p>" + table(["ratio", "value", "goal"], body, {1, 2})


def kernel_table(rows: list[dict[str, Any]], measured: dict[tuple[str, str], dict[str, Any]]) -> str:
    if not rows:
        return ""
    out = ["<h2>Kernels</h2><p>What needs no hardware counter: the launch, the bytes that the header's formula asks for over the op's floor, registers, "
           "shared memory and spills from the compiler (sm_90a), the occupancy that follows; from the emulator at a small size, "
           "memory sectors and shared-memory passes over the least there could be. GPU columns come from a record made on one.</p>"]  # fmt: skip
    body = []
    for r in rows:
        m = measured.get((r["ladder"], r["rung"]))
        over = f"{r['traffic'] / r['floor']:.2f}x" if r.get("traffic") and r.get("floor") else ""
        profile = r.get("profile") or {}
        body.append([
            f"{r['ladder']}/{r['rung']}", r["shape"], f"{r['launches']}x grid {r['grid']} block {r['block']}", over, r.get("registers", ""),
            r.get("shared", ""), r.get("spills", ""), f"{100 * r['occupancy']:.0f}%" if r.get("occupancy") is not None else "",
            f"{profile['sectors_over_ideal']:.2f}x" if profile.get("sectors_over_ideal") else "",
            f"{profile['conflicts']:.2f}x" if profile.get("conflicts") else "",
            ops.human(m["ms"]["median"]) if m else "not measured", ops.speed(m) if m else "not measured",
        ])  # fmt: skip
    names = ["rung", "size", "launch", "requested / floor", "registers", "shared B", "spills B", "occupancy", "sectors / least", "shared passes / least",
             "GPU time", "GPU speed"]  # fmt: skip
    return "".join(out) + "<details><summary>" + f"{len(body)} rungs</summary>" + table(names, body, {3, 4, 5, 6, 7, 8, 9, 10, 11}) + "</details>"


def models(rows: list[dict[str, Any]]) -> str:
    """Whole models: the record of `python -m bench train`."""
    if not rows:
        return ""
    body: list[list[Any]] = []
    for r in rows:
        head = [f"{r['op']} B={r['batch']}", r["contestant"]]
        if r["status"] != "ok":
            body.append([*head, ("html", f"<span class=quiet>{esc(r['status'])}: {esc(r.get('reason', ''))}</span>"), "", "", "", "", ""])
        elif r["op"] == "mnist":
            body.append([*head, f"{r['seconds']:.2f} s to {r['accuracy'][-1]:.2%}", f"{r['epochs']} epochs", "", "", "", ""])
        else:
            versus = ("html", "  ".join(f"{ratio(v)[1]} {esc(n)}" for n, v in r.get("against", {}).items()))
            body.append([*head, ops.human(r["ms"]["median"]), f"{ops.human(r['ms']['p20'])} to {ops.human(r['ms']['p80'])}", f"{r['launches_per_step']:.0f}"
                         if r.get("launches_per_step") else "", f"{r['host_us_per_launch']:.1f} us" if r.get("host_us_per_launch") else "",
                         f"{r['peak_bytes'] / 2**20:.1f} MiB" if r.get("peak_bytes") else "", versus])  # fmt: skip
    names = ["model", "who", "step", "spread", "launches", "host time a launch", "peak memory", "ratio"]
    return "<h2>Models</h2><p>One training step: forward, loss, backward, SGD with momentum. Losses of three steps agreed before the clock ran.</p>" + table(
        names, body, {2, 3, 4, 5, 6}
    )


def accumulation(rows: list[dict[str, Any]]) -> str:
    """The record of `python -m bench accumulate`: the worst distribution of each scheme."""
    worst: dict[tuple[str, Any], dict[int, tuple[float, str]]] = {}
    for r in rows:
        if r.get("distribution") and r["op"] != "sgemm in order":
            at = worst.setdefault((r["op"], r["promote"]), {})
            value = float("inf") if r["ratio"] is None else r["ratio"]
            at[r["K"]] = max(at.get(r["K"], (0.0, "")), (value, r["distribution"]))
    if not worst:
        return ""
    source = "; ".join(sorted({r["source"] for r in rows if r.get("distribution") and r["op"] != "sgemm in order"}))
    Ks = sorted({K for v in worst.values() for K in v})
    body = [[op, "" if promote is None else "over all of K" if promote == 0 else f"every {promote}", *(
        f"{v[K][0]:.2f}x ({v[K][1]})" if K in v else "" for K in Ks)] for (op, promote), v in worst.items()]  # fmt: skip
    return (f"<h2>Accumulation on tensor cores: {esc(source)}</h2><p>Error of the product over the error of in-order float32, the worst of five distributions. "
            f"1x and below is as accurate as a plain float32 matmul. {esc(INSTRUCTION.capitalize())}.</p>"
             + table(["scheme", "promoted", *(f"K = {K}" for K in Ks)], body, set()))  # fmt: skip


def agreement(rows: list[dict[str, Any]]) -> str:
    """The record of `python -m bench small --agree`."""
    if not rows:
        return ""
    body = [[f"{r['ladder']}/{r['rung']}", r["op"], r["shape"], r["status"], f"{100 * r['equal']:.1f}%" if "equal" in r else "",
             f"{r['worst']:.1e}" if r.get("worst") is not None else "", r.get("reason", "")] for r in rows]  # fmt: skip
    bad = sum(r["status"] in ("differs", "failed") for r in rows)
    return (f"<h2>Emulator and GPU</h2><details{' open' if bad else ''}><summary>{len(rows)} comparisons, {bad} that differ or failed</summary>"
            + table(["rung", "op", "size", "status", "equal bits", "largest difference", "why"], body, {4, 5}) + "</details>")  # fmt: skip


def sections(found: list[dict[str, Any]]) -> str:
    """The parts of a long run (make gpu): what ended how."""
    if not found:
        return ""
    body = [[s["name"], s["status"], f"{s.get('seconds', 0):.0f} s", s.get("what", ""), s.get("log", "")] for s in found]
    return "<h2>Parts of the run</h2>" + table(["part", "status", "time", "what", "log"], body, {2})


def missing(data: dict[str, Any]) -> str:
    rows = data["rows"]
    out = ["<h2>What was not measured</h2>"]
    if data.get("missing"):
        out.append("<p>" + "; ".join(map(esc, data["missing"])) + ".</p>")
    for status, text in [("wrong", "Wrong results, which have no speed"), ("failed", "Failed"), ("not measured", "Not reached within the time budget")]:
        found = [r for r in rows if r["status"] == status]
        if found:
            body = [[f"{r['op']} {r['way']}", r["shape"], r["contestant"], r["reason"]] for r in found]
            out.append(f"<h3>{text}: {len(found)}</h3>" + table(["op", "size", "who", "why"], body[:200], set()))
    skipped: dict[str, set[str]] = {}
    for r in rows:
        if r["status"] == "skipped":
            skipped.setdefault(f"{r['contestant']}: {r['reason']}", set()).add(r["op"])
    if skipped:
        body = [[k, ", ".join(sorted(v))] for k, v in sorted(skipped.items())]
        out.append("<details><summary>Skipped, by reason</summary>" + table(["reason", "ops"], body, set()) + "</details>")
    return "".join(out)


def setting(data: dict[str, Any]) -> str:
    env, ceilings = data["environment"], data.get("ceilings") or {}

    def show(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{k} {show(v)}" for k, v in value.items())
        if isinstance(value, list):
            return ", ".join(map(show, value))
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    out = []
    for title, found in (("Ceilings of this machine, measured in this run", ceilings), ("Method", data.get("method", {})), ("Environment", env)):
        out.append(f"<h2>{title}</h2>" + table(["what", ""], [[k.replace("_", " "), show(v)] for k, v in found.items()], set()))
    return "".join(out)


def page(data: dict[str, Any], folder: Path | None = None) -> str:
    rows = data["rows"]
    device = data["environment"].get("device", "cpu")
    measured = {}
    for r in rows:
        if r["status"] == "ok" and r.get("ladder") and r.get("device") == "cuda":
            measured.setdefault((r["ladder"], r["rung"]), r)
    env = data["environment"]
    title = f"gpudl on {env.get('gpu', {}).get('name') or env['cpu']}"
    body = [
        head(data), sections(data.get("sections", [])), overall(rows), steps(data.get("steps", []), data.get("memory_flat")), models(data.get("models", [])),
        accumulation(data.get("accumulate", [])), agreement(data.get("agreement", [])), drawn(data, folder), measurements(rows, device),
        kernel_table(data.get("kernels", []), measured), emulator(data.get("emulator", {})), missing(data), setting(data),
    ]  # fmt: skip
    start = '<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1">'
    return f"{start}<title>{esc(title)}</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(b for b in body if b) + "\n</body></html>\n"


def write(data: dict[str, Any], path: Path, folder: Path | None = None) -> None:
    from gpudl._files import atomic_write

    path.parent.mkdir(parents=True, exist_ok=True)
    text = page(records.plain(data), folder)
    with atomic_write(path) as file:
        file.write(text.encode())


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench report", description=__doc__)
    p.add_argument("record", help="a JSON file that python -m bench wrote")
    p.add_argument("--out", default="", help="the page (default: beside the record, .html)")
    p.add_argument("--pictures", default="", metavar="FOLDER", help="write each picture there too, as SVG and PNG")
    options = p.parse_args(arguments)
    try:
        data = records.load(options.record)
    except (OSError, ValueError) as error:
        print(f"bench report: {error}", file=sys.stderr)
        return 2
    out = Path(options.out or Path(options.record).with_suffix(".html"))
    write(data, out, Path(options.pictures) if options.pictures else None)
    print(f"page: {out}")
    return 0
