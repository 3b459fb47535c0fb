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
    """Copy bandwidth (read and write counted) from memory, and multiply-adds: the larger of a Numba loop in registers and of SGEMM."""
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
        copy, fma = _numba()
        copies["numba, all threads"] = 2 * a.nbytes / best(lambda: copy(a, b)) / 1e9
        rates["numba registers"] = 2 * 64 * 4_000_000 * threads / best(lambda: fma(4_000_000, threads)) / 1e12
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


def _numba() -> Any:
    import numba

    @numba.njit(parallel=True)
    def copy(a: Any, b: Any) -> None:
        for i in numba.prange(a.size):
            b[i] = a[i]

    # 64 sums, so that the multiply-adds of one do not wait for each other; as scalars, which LLVM packs into vector registers.
    names = [f"s{i}" for i in range(64)]
    body = "\n".join(f"            {n} = {n} * x + y" for n in names)
    text = "import numpy as np\nfrom numba import prange\ndef fma(n, threads):\n    total = np.zeros(threads, np.float32)\n    for t in prange(threads):\n"
    text += "        x = np.float32(0.999) + np.float32(1e-7) * np.float32(t)\n        y = np.float32(1e-3)\n"
    text += "\n".join(f"        {n} = np.float32({i} * 0.01)" for i, n in enumerate(names))
    text += f"\n        for i in range(n):\n{body}\n        total[t] = {' + '.join(names)}\n    return total.sum()\n"
    scope: dict[str, Any] = {}
    exec(text, scope)
    return copy, numba.njit(parallel=True, fastmath={"contract"})(scope["fma"])


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
