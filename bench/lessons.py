"""Tables of the lesson pages, filled from a record: python -m bench lessons RECORD.json; --check says which are stale and changes nothing.

A lesson page (kernels/<op>/README.md) marks where a ladder's table belongs:

    <!-- bench: softmax.forward -->
    ...
    <!-- /bench -->

What stands between the marks is written by this command alone; --mark adds a section with marks to pages that have none. Without a record of a GPU
it says so.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from bench import ops, records
from gpudl import kernels

MARK = re.compile(r"(<!-- bench: ([\w.]+) -->\n)(.*?)(<!-- /bench -->)", re.S)


def newest(kind: str = "cuda") -> dict[str, Any] | None:
    """The newest complete record of a GPU among bench/results, or None."""
    found = []
    for path in records.RESULTS.glob("*/*.json"):
        try:
            data = records.load(path)
        except ValueError:
            continue
        if data["environment"].get("device") == kind and not data.get("rehearsal"):
            found.append((data["started"], data))
    return max(found, key=lambda f: f[0])[1] if found else None


def table(ladder: str, data: dict[str, Any] | None) -> str:
    """The ladder's rungs at the largest size that all of them were measured at."""
    rows = [r for r in (data or {}).get("rows", []) if r.get("ladder") == ladder and r["status"] == "ok" and r.get("cache") != "warm"]
    by_size: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for r in rows:
        by_size.setdefault((r["op"], r["way"], r["shape"]), []).append(r)
    rungs = [k for k in kernels.ladder(ladder) if k.backend == "cuda"]
    if not by_size:
        return "Not yet measured on a GPU.\n"
    assert data is not None
    most = max(len(v) for v in by_size.values())
    size = max((k for k, v in by_size.items() if len(v) == most), key=lambda k: by_size[k][0]["bytes"] + by_size[k][0]["flops"])
    at = {r["rung"]: r for r in by_size[size]}
    env = data["environment"]
    lines = [f"{size[0]} {size[1]} at {size[2]}, float32, cold L2, on {env.get('gpu', {}).get('name', env.get('cpu'))} (commit {env.get('commit')}):", "",
             "| rung | idea | time | speed | of the roofline |", "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for k in rungs:
        idea, r = k.header.get("Title", "").partition(": ")[2].rstrip("."), at.get(k.name)
        share = f"{100 * r['share']:.0f}%" if r and r.get("share") else ""
        lines.append(f"| {k.name} | {idea} | {ops.human(r['ms']['median']) if r else 'not measured'} | {ops.speed(r) if r else 'not measured'} | {share} |")
    others = [r for r in data["rows"] if r["status"] == "ok" and r["opponent"] and (r["op"], r["way"], r["shape"]) == size and r.get("cache") != "warm"]
    for r in others:
        lines.append(f"| {r['contestant']} | {r['precision']} | {ops.human(r['ms']['median'])} | {ops.speed(r)} | {100 * r.get('share', 0):.0f}% |")
    return "\n".join(lines) + "\n"


def fill(text: str, data: dict[str, Any] | None) -> str:
    """The page with every marked table rewritten; KeyError for a mark that names no ladder."""
    return MARK.sub(lambda m: m[1] + table(m[2], data) + m[4], text)


def stale(data: dict[str, Any] | None, folder: Path = kernels.FOLDER) -> list[Path]:
    """Lesson pages whose tables are not what the record says."""
    return [p for p in sorted(folder.glob("*/README.md")) if fill(p.read_text(encoding="utf-8"), data) != p.read_text(encoding="utf-8")]


def mark(text: str, ladders: list[str]) -> str:
    """The page with a section at its end for the ladders that it has no table of."""
    new = [name for name in ladders if f"<!-- bench: {name} -->" not in text]
    if not new:
        return text
    title = "" if "\n## Measured\n" in text else "\n## Measured\n"
    return text.rstrip("\n") + "\n" + title + "".join(f"\n`{name}`\n\n<!-- bench: {name} -->\n<!-- /bench -->\n" for name in new)


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench lessons", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("record", nargs="?", default="", help="default: the newest record of a GPU in bench/results")
    p.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a table is stale")
    p.add_argument("--mark", action="store_true", help="first give every lesson page a section for the ladders that it has no table of")
    options = p.parse_args(arguments)
    import gpudl.optim  # noqa: F401  (its ladders)

    if options.mark:
        for path in sorted(kernels.FOLDER.glob("*/README.md")):
            path.write_text(mark(path.read_text(encoding="utf-8"), [n for n in kernels.ladders() if n.split(".")[0] == path.parent.name]), encoding="utf-8")
    try:
        data = records.load(options.record) if options.record else newest()
    except (OSError, ValueError) as error:
        print(f"bench lessons: {error}", file=sys.stderr)
        return 2
    found = stale(data)
    for path in found:
        print(f"{'stale' if options.check else 'filled'}: {path.relative_to(kernels.FOLDER.parent)}")
        if not options.check:
            path.write_text(fill(path.read_text(encoding="utf-8"), data), encoding="utf-8")
    if not found:
        print("every table is what the record says" if data else "no record of a GPU yet; every table says so")
    return int(options.check and bool(found))
