"""One LeNet training step on the CPU beside PyTorch: python -m bench lenet [--batch 64 256] [--threads 1] [--steps 40] [--memory 1000]

Both train the same network from the same weights on the same batches, in one process, taking turns; the losses must agree to 1e-5 at every
step. (In a long run they part a little more: now and then a ReLU's input lies within rounding of zero, and either choice of gradient is right.)
Warm-up (the first compilation of the Numba helpers among it) is reported apart. Times are medians with the middle 60% of the samples.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import stats

LIMITS = {64: 2.0, 256: 2.5}  # times PyTorch's default at one thread, by batch size
TOLERANCE = 1e-5


def threads(count: int) -> Any:
    """Limit BLAS to so many threads inside a `with`; PyTorch has a setting of its own."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        print("threadpoolctl is not installed: BLAS keeps the threads of OMP_NUM_THREADS (pip install 'gpudl[bench]')")
        return contextlib.nullcontext()
    return threadpool_limits(count)


def batches(size: int, count: int = 8) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((size, 1, 28, 28), np.float32), rng.integers(0, 10, size)) for _ in range(count)]


def lenet(nn: Any) -> Any:
    """LeCun et al. 1998, with ReLU and max pooling, in either library's layers."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def weights() -> list[np.ndarray]:
    """Uniform in 1/sqrt(fan_in), as both libraries start their layers."""
    rng = np.random.default_rng(1)
    out = []
    for shape in [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]:
        bound = float(np.prod(shape[1:])) ** -0.5
        out += [rng.uniform(-bound, bound, s).astype(np.float32) for s in (shape, shape[:1])]
    return out


def gpudl_step(size: int, device: str = "cpu") -> Callable[[int], float]:
    import gpudl
    from gpudl import nn, optim

    model = lenet(nn).to(device)
    with gpudl.no_grad():
        for p, w in zip(model.parameters(), weights(), strict=True):
            p.copy_(gpudl.tensor(w))
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    data = [(gpudl.tensor(x, device=device), gpudl.tensor(t, device=device)) for x, t in batches(size)]

    def step(i: int) -> float:
        x, target = data[i % len(data)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def torch_step(size: int, channels_last: bool = False) -> Callable[[int], float]:
    import torch
    from torch import nn

    model = lenet(nn)
    with torch.no_grad():
        for p, w in zip(model.parameters(), weights(), strict=True):
            p.copy_(torch.from_numpy(w))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data = [(torch.from_numpy(x).to(memory_format=layout), torch.from_numpy(t)) for x, t in batches(size)]

    def step(i: int) -> float:
        x, target = data[i % len(data)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def measure(size: int, count: int, steps: int, warmup: int = 5) -> dict[str, Any]:
    """Times of `steps` turns of each contestant, and the largest difference of their losses. {} for a contestant that is not installed."""
    contestants: dict[str, Callable[[int], float]] = {}
    with threads(count):
        contestants["gpudl"] = gpudl_step(size)
        with contextlib.suppress(ImportError):
            import torch

            torch.set_num_threads(count)
            contestants["torch"] = torch_step(size)
            contestants["torch channels_last"] = torch_step(size, channels_last=True)
        first: dict[str, float] = {}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        losses: dict[str, list[float]] = {name: [] for name in contestants}
        for i in range(warmup + steps):
            order = list(contestants.items())
            for name, step in order if i % 2 else reversed(order):  # A B, B A, A B, ...
                start = time.perf_counter()
                losses[name].append(step(i))
                spent = time.perf_counter() - start
                first.setdefault(name, spent)
                if i >= warmup:
                    times[name].append(1e3 * spent)
    worst = max((abs(a - b) for a, b in zip(losses["gpudl"], losses["torch"], strict=True)), default=0.0) if "torch" in losses else None
    return {"batch": size, "threads": count, "first_s": first, "ms": times, "loss_difference": worst}


def report(found: dict[str, Any]) -> bool:
    """Print one measurement; whether it keeps the limits (True where there is nothing to compare with)."""
    print(f"\nLeNet training step, batch {found['batch']}, {found['threads']} thread(s), {len(found['ms']['gpudl'])} steps each, taking turns")
    own, good = found["ms"]["gpudl"], True
    for name, ms in found["ms"].items():
        s = stats.summary(ms)
        ratio = f"   gpudl takes {stats.summary([a / b for a, b in zip(own, ms, strict=True)]).median:.2f} times as long" if name != "gpudl" else ""
        print(f"  {name:20} {s.median:8.2f} ms  (middle 60%: {s.p20:.2f} to {s.p80:.2f}; first step {1e3 * found['first_s'][name]:.0f} ms){ratio}")
    if "torch" not in found["ms"]:
        print("  torch is not installed: nothing to compare with")
        return True
    if found["threads"] == 1 and found["batch"] in LIMITS:
        ratio = stats.summary([a / b for a, b in zip(own, found["ms"]["torch"], strict=True)]).median
        good = ratio <= LIMITS[found["batch"]]
        print(f"  limit: {LIMITS[found['batch']]} times torch: {'kept' if good else 'MISSED'}")
    agree = found["loss_difference"] <= TOLERANCE
    print(f"  losses differ by at most {found['loss_difference']:.1e} over all steps: {'equal' if agree else 'NOT EQUAL'} to {TOLERANCE:.0e}")
    return good and agree


def peak() -> float:
    """The largest resident set of this process so far, MiB. (Linux's ru_maxrss starts at what the parent process had.)"""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)


def memory(size: int, steps: int) -> bool:
    """Peak memory of this process over many training steps: whether it stays where the first fifty left it (within a MiB)."""
    step = gpudl_step(size)
    peaks = []
    with threads(1):
        for i in range(steps):
            step(i)
            if i == 49 or (i + 1) % 250 == 0 or i == steps - 1:
                peaks.append((i + 1, peak()))
    print(f"\nPeak memory of the process, batch {size}: " + ", ".join(f"{mib:.1f} MiB after {i} steps" for i, mib in peaks))
    flat = peaks[-1][1] - peaks[0][1] <= 1
    print(f"  {'flat' if flat else 'GROWS'}: {peaks[-1][1] - peaks[0][1]:+.2f} MiB since step {peaks[0][0]}")
    return flat


def memory_apart(size: int, steps: int) -> bool:
    """`memory` in a process of its own, whose peak nothing else has raised."""
    command = [sys.executable, "-m", "bench", "lenet", "--batch", "--memory", str(steps), "--memory-batch", str(size)]
    sys.stdout.flush()
    return subprocess.run(command, cwd=Path(__file__).parent.parent).returncode == 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench lenet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="*", default=[64, 256], help="none: the memory test alone")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--memory", type=int, default=1000, help="steps of the memory test; 0 leaves it out")
    parser.add_argument("--memory-batch", type=int, default=64)
    options = parser.parse_args(arguments)
    good = True
    for count in options.threads:
        for size in options.batch:
            good &= report(measure(size, count, options.steps))
    if options.memory:
        good &= (memory_apart if options.batch else memory)(options.memory_batch, options.memory)
    return 0 if good else 1
