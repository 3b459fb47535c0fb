"""Clocks: how long one call takes, in samples that contestants take in turns.

On a CPU a sample is a loop of calls between two readings of perf_counter. On a GPU it is a CUDA graph of many calls between two events: events
cannot resolve a kernel of 2 microseconds, and a graph holds no host time. Buffers rotate through more than the L2 holds (cold), or stay (warm).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

SAMPLE_MS = 2.0  # a sample takes at least this long, so that the clock's own cost vanishes
REHEARSAL = False  # the GPU's path without a GPU (bench/rehearsal.py): everything runs, and no time that is read goes into a record
LEAST_ROUNDS, MOST_ROUNDS = 8, 60  # 8: the fewest pairs whose confidence interval at 99% is finite


class Timed:
    """Something that a clock can run: `once()` makes `count` calls. `outputs` are the raw results of those calls, `how` says how they are launched."""

    def __init__(self, once: Callable[[], Any], count: int, outputs: Any = None, how: str = "calls"):
        self.once, self.count, self.outputs, self.how = once, count, outputs, how


class HostClock:
    device = "cpu"
    unit = "loop of calls between two readings of perf_counter"

    def timed(self, runner: Any) -> Timed:
        calls = runner.calls

        def once() -> None:
            for call in calls:
                call()

        return Timed(once if len(calls) > 1 else calls[0], len(calls))

    def sample(self, timed: Timed, repeats: int) -> float:
        """Milliseconds per call."""
        once = timed.once
        start = time.perf_counter_ns()
        for _ in range(repeats):
            once()
        return (time.perf_counter_ns() - start) / (1e6 * repeats * timed.count)

    def synchronize(self) -> None: ...


class CudaClock(HostClock):
    device = "cuda"
    unit = "CUDA graph of many calls between two events"
    LEAST_CALLS = 100

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        self.start, self.end = cupy.cuda.Event(), cupy.cuda.Event()

    def timed(self, runner: Any) -> Timed:
        """A graph of at least 100 calls where it can be captured, else plain launches (PyTorch eager is what it is)."""
        if not runner.capture:
            return super().timed(runner)
        self.synchronize()
        start = time.perf_counter()
        for call in runner.calls:
            call()
        self.synchronize()
        each = (time.perf_counter() - start) * 1e3 / len(runner.calls)
        wanted = min(self.LEAST_CALLS, max(len(runner.calls), round(SAMPLE_MS / max(each, 1e-4))))
        calls = (list(runner.calls) * -(-wanted // len(runner.calls)))[: max(wanted, len(runner.calls))]
        try:
            launch, outputs = runner.capture(calls)
        except Exception as error:  # a library that cannot be captured is timed as it can be, and the row says so
            made = super().timed(runner)
            made.how = f"calls; not captured: {type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
            return made
        return Timed(launch, len(calls), outputs, "graph")

    def sample(self, timed: Timed, repeats: int) -> float:
        self.start.record()
        for _ in range(repeats):
            timed.once()
        self.end.record()
        self.end.synchronize()
        return self.cupy.cuda.get_elapsed_time(self.start, self.end) / (repeats * timed.count)

    def synchronize(self) -> None:
        self.cupy.cuda.Device().synchronize()


def race(clock: HostClock, entries: Sequence[Timed], budget: float, least: int = LEAST_ROUNDS) -> list[list[float]]:
    """Samples of each contestant, taken in turns: A B C, C B A, A B C, ... in milliseconds per call, within about `budget` seconds."""
    repeats = []
    total = 0.0
    for timed in entries:
        clock.sample(timed, 1)  # warm-up: caches, lazily made state
        once = clock.sample(timed, 1) * timed.count
        n = max(1, min(10000, round(SAMPLE_MS / max(once, 1e-6))))
        if n > 3:  # a first reading of something short is mostly noise
            n = max(1, min(10000, round(SAMPLE_MS / max(clock.sample(timed, 3) * timed.count, 1e-6))))
        repeats.append(n)
        total += once * n / 1e3
    rounds = max(least, min(MOST_ROUNDS, int(budget / max(total, 1e-9))))
    rounds += rounds % 2  # as many forwards as backwards
    samples: list[list[float]] = [[] for _ in entries]
    order = list(range(len(entries)))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            for i in order if turn % 2 == 0 else reversed(order):
                samples[i].append(clock.sample(entries[i], repeats[i]))
    finally:
        if collecting:
            gc.enable()
    return samples


def host_time(call: Callable[[], Any], synchronize: Callable[[], None], calls: int = 50) -> float:
    """Microseconds that the host spends on one call, without waiting for the device: the least of three medians."""
    best = float("inf")
    for _ in range(3):
        synchronize()
        times = []
        for _ in range(calls):
            start = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - start)
        best = min(best, sorted(times)[calls // 2] / 1e3)
    synchronize()
    return best
