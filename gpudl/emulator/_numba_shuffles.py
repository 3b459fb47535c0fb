"""Warp shuffles for Numba's simulator, which has none: each thread lays its value down, waits for its block, and takes another lane's.

They wait for the whole block, so they are right where every thread that has not left the kernel shuffles; a warp alone would wait for ever.
"""

from __future__ import annotations

import threading
from typing import Any


def exchange(value: Any, lane_of: Any) -> Any:
    """The value of another lane of this warp, lane_of(own lane); one's own where that lane has left or there is none."""
    thread: Any = threading.current_thread()
    laid: dict[int, Any] = thread._manager.__dict__.setdefault("laid", {})
    laid[thread.thread_id] = value
    thread.syncthreads()
    lane = thread.thread_id % 32
    other = lane_of(lane)
    taken = laid.get(thread.thread_id - lane + other, value) if 0 <= other < 32 else value
    thread.syncthreads()  # nobody lays the next value down before all have taken this one
    return taken


def install() -> None:
    """Give the simulator's `cuda` module the shuffles; nothing where it has its own."""
    from numba.cuda.simulator import kernelapi

    module: Any = kernelapi.FakeCUDAModule
    if not hasattr(module, "shfl_xor_sync"):
        module.shfl_xor_sync = lambda self, mask, value, lane_mask: exchange(value, lambda lane: lane ^ lane_mask)
        module.shfl_down_sync = lambda self, mask, value, delta: exchange(value, lambda lane: lane + delta)
