"""What this machine can do at most, measured by small kernels of our own in the same run as everything that is compared with it."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import numpy as np

from bench import records


def measure(device: str = "cpu") -> dict[str, Any]:
    return _cuda() if device == "cuda" else _cpu()


def best(function: Any, seconds: float = 0.3) -> float:
    """Seconds of the fastest of many calls: a ceiling is what can be reached, not what usually is."""
    function()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def _cpu() -> dict[str, Any]:
    """Copy bandwidth (read and write counted) from memory, and multiply-adds: in registers, or the largest product where that is faster."""
    found: dict[str, Any] = {
        "method": "fastest of many runs; a copy of 128 MiB, read and write counted; multiply-adds in registers, or SGEMM where that is faster"
    }
    threads = len(records.affinity())
    a, b = np.ones(1 << 25, np.float32), np.zeros(1 << 25, np.float32)
    copies = {"numpy": 2 * a.nbytes / best(lambda: np.copyto(b, a)) / 1e9}
    rates = {}
    m = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    out = np.empty_like(m)
    rates["numpy sgemm"] = 2 * 1024**3 / best(lambda: np.matmul(m, m, out=out)) / 1e12
    with contextlib.suppress(Exception):
        rates["registers"] = _registers(threads)
    with contextlib.suppress(ImportError):
        import torch

        x, y = torch.from_numpy(a), torch.from_numpy(b)
        copies["torch"] = 2 * a.nbytes / best(lambda: y.copy_(x)) / 1e9
        t = torch.from_numpy(m)
        rates["torch sgemm"] = 2 * 1024**3 / best(lambda: torch.mm(t, t)) / 1e12
    found |= {"copy_gb_s": max(copies.values()), "copies": copies, "fma_tflop_s": max(rates.values()), "rates": rates, "threads": threads}
    empty = lambda: None  # noqa: E731
    found["call_us"] = best(lambda: [empty() for _ in range(1000)], 0.05) * 1e3
    return found


def _registers(threads: int, rounds: int = 200_000) -> float:
    """TFLOP/s of multiply-adds that touch no memory: 128 sums that do not wait for each other, which LLVM packs into vector registers."""
    from concurrent.futures import ThreadPoolExecutor

    import numba

    names = [f"s{i}" for i in range(128)]
    lines = ["import numpy as np", "def fma(n, out):", "    x, y = np.float32(0.999), np.float32(1e-3)", *(f"    {s} = out[{i}]" for i, s in enumerate(names)),
             "    for _ in range(n):", *(f"        {s} = {s} * x + y" for s in names), *(f"    out[{i}] = {s}" for i, s in enumerate(names))]  # fmt: skip
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)
    before = numba.config.SLP_VECTORIZE
    numba.config.SLP_VECTORIZE = 1  # else LLVM leaves the sums as they are: scalars
    try:
        fma = numba.njit(nogil=True, fastmath={"contract"})(scope["fma"])
        outs = [np.linspace(0, 1, 128).astype(np.float32) for _ in range(threads)]
        fma(1, outs[0])
    finally:
        numba.config.SLP_VECTORIZE = before
    with ThreadPoolExecutor(threads) as pool:
        return 2 * 128 * rounds * threads / best(lambda: list(pool.map(lambda out: fma(rounds, out), outs))) / 1e12


def _cuda() -> dict[str, Any]:
    from bench import gpu_ceilings

    found = gpu_ceilings.measure()
    return {"method": "a rehearsal without a GPU: not measured"} if gpu_ceilings.REHEARSAL else found


def main(arguments: list[str]) -> int:
    device = arguments[0] if arguments else "cpu"
    if device not in ("cpu", "cuda"):
        print(f"bench ceilings: no device {device!r}; there are cpu and cuda", file=sys.stderr)
        return 2
    if device == "cuda":
        from bench.ops import have_gpu

        if problem := have_gpu():
            print(f"bench: {problem}", file=sys.stderr)
            return 2
    print(json.dumps(records.plain(measure(device)), indent=2))
    return 0
