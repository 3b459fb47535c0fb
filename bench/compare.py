"""python -m bench compare A.json B.json: what got faster from A to B, what slower, and what is noise.

The two were not measured in turns, so their samples are no pairs: a change counts when it exceeds the noise floors of both runs and the middle
60% of the samples (p20 to p80) do not overlap. Records of different machines or precisions are not compared.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, NamedTuple

from bench import ops, records, stats


class Change(NamedTuple):
    case: str
    before: float
    after: float
    word: str


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(k, "") for k in ("op", "way", "shape", "dtype", "precision", "contestant", "cache", "device"))


def machine(data: dict[str, Any]) -> str:
    env = data["environment"]
    return f"{env.get('gpu', {}).get('name') or env.get('cpu')}, {env.get('threads')} thread(s)"


def judge(a: dict[str, Any], b: dict[str, Any]) -> str:
    """The word for going from row a to row b."""
    ratio = a["ms"]["median"] / b["ms"]["median"]
    floor = max(stats.LEAST_FLOOR, *(r.get("noise_floor") if r.get("noise_floor") is not None else 1.0 for r in (a, b)))
    apart = a["ms"]["p20"] > b["ms"]["p80"] or b["ms"]["p20"] > a["ms"]["p80"]
    if not apart or abs(1 - ratio) <= floor or abs(1 - 1 / ratio) <= floor:
        return "noise"
    return "faster" if ratio > 1 else "slower"


def changes(old: dict[str, Any], new: dict[str, Any], opponents: bool = False) -> tuple[list[Change], list[str], list[str]]:
    """Changes of the rows that both have; cases that only one has; and rows that were right and are wrong or fail now."""
    before, after = ({key(r): r for r in d["rows"] if opponents or not r.get("opponent")} for d in (old, new))
    found, lost, broken = [], [], []
    for k in before:
        name = " ".join(str(p) for p in k[:4] if p) + f" [{k[5]}{' ' + k[6] if k[6] else ''}]"
        a, b = before[k], after.get(k)
        if b is not None and a["status"] == b["status"] == "ok":
            found.append(Change(name, a["ms"]["median"], b["ms"]["median"], judge(a, b)))
    good = lambda rows: {k[:6]: r for k, r in rows.items() if r["status"] in ("ok", "checked")}  # noqa: E731
    bad = {k[:6]: r for k, r in after.items() if r["status"] in ("wrong", "failed")}
    for k in good(before):
        name = " ".join(str(p) for p in k[:4]) + f" [{k[5]}]"
        if k in bad:
            broken.append(f"{name}: {bad[k]['status']}: {bad[k]['reason']}")
        elif k not in good(after):
            lost.append(name)
    return found, lost, broken


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("before")
    p.add_argument("after")
    p.add_argument("--opponents", action="store_true", help="opponents' rows too: a change there is a change of the machine")
    p.add_argument("--fail", action="store_true", help="exit code 1 when something got slower")
    options = p.parse_args(arguments)
    try:
        old, new = records.load(options.before), records.load(options.after)
    except (OSError, ValueError) as error:
        print(f"bench compare: {error}", file=sys.stderr)
        return 2
    if machine(old) != machine(new):
        print(f"bench compare: different machines: {machine(old)} and {machine(new)}; times of two machines are no change", file=sys.stderr)
        return 2
    found, lost, broken = changes(old, new, options.opponents)
    for word in ("slower", "faster"):
        for c in sorted((c for c in found if c.word == word), key=lambda c: c.before / c.after):
            print(f"{word:7} {c.case:80} {ops.human(c.before):>11} -> {ops.human(c.after):>11}   {c.before / c.after:.2f}x")
    for text in broken:
        print(f"BROKEN  {text}")
    if lost:
        print(f"only in the first: {len(lost)} case(s), such as {lost[0]}")
    count = {w: sum(c.word == w for c in found) for w in ("faster", "slower", "noise")}
    print(f"{len(found)} cases in both: {count['faster']} faster, {count['slower']} slower, {count['noise']} within the noise")
    return int(bool(broken) or (options.fail and count["slower"] > 0))
