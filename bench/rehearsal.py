"""The GPU's path without a GPU: a stand-in for CuPy whose kernels run in the emulator, with events, streams and graphs.

`python -m bench gpu --rehearse` runs everything that `make gpu` runs, at tiny sizes, so that an hour on a GPU is not spent on a misspelt name. It
says nothing about a GPU: no time is kept, and every row says that it was not measured.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
import types
from typing import Any

import numpy as np

from bench import clocks, gpu_ceilings
from bench.records import ROOT


class Event:
    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None: ...


class Graph:
    """The launches of a capture: they ran not when they were captured, and run at each launch of the graph."""

    def __init__(self, calls: list[Any]):
        self.calls = calls

    def launch(self, stream: Any = None) -> None:
        for call in self.calls:
            call()


class Stream:
    capturing: list[Any] | None = None
    ptr = 0

    def __init__(self, non_blocking: bool = False):
        pass

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None: ...

    def synchronize(self) -> None:
        assert Stream.capturing is None, "a stream that is captured cannot be waited for"

    def begin_capture(self) -> None:
        assert Stream.capturing is None
        Stream.capturing = []

    def end_capture(self) -> Graph:
        calls, Stream.capturing = Stream.capturing, None
        assert calls is not None
        return Graph(calls)


def install() -> None:
    """Put the stand-in where `import cupy` finds it."""
    if getattr(sys.modules.get("cupy"), "__version__", "") == "0-fake":
        return
    spec = importlib.util.spec_from_file_location("fake_cupy", ROOT / "tests" / "fake_cupy.py")
    assert spec and spec.loader
    stand_in = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stand_in)

    class Function(stand_in.Function):  # type: ignore[name-defined]
        def __call__(self, *args: Any, **kwargs: Any) -> None:
            if Stream.capturing is not None:
                Stream.capturing.append(lambda: stand_in.Function.__call__(self, *args, **kwargs))
            else:
                super().__call__(*args, **kwargs)

    class RawModule(stand_in.RawModule):  # type: ignore[name-defined]
        def get_function(self, name: str) -> Any:
            return Function(self.module.get_function(name))

    class Device(stand_in.Device):  # type: ignore[name-defined]
        def __init__(self, index: int = 0):
            super().__init__(index)
            self.attributes = {"MultiProcessorCount": 4, "L2CacheSize": 4096}

    pool = types.SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None, used_bytes=lambda: 0, total_bytes=lambda: 0)
    fake = stand_in.module()
    fake.RawModule = RawModule
    fake.get_default_memory_pool = lambda: pool
    fake.asarray = lambda a, order=None: np.array(a, copy=True, order=order or "C").view(stand_in.ndarray)
    fake.cuda = types.SimpleNamespace(
        Device=Device, Event=Event, Stream=Stream, get_elapsed_time=lambda a, b: 1e3 * (b.at - a.at), get_current_stream=lambda: Stream(),
        runtime=types.SimpleNamespace(getDeviceCount=lambda: 1, memGetInfo=lambda: (1 << 33, 1 << 33), runtimeGetVersion=lambda: 0),
        MemoryPool=lambda: types.SimpleNamespace(malloc=None), using_allocator=lambda allocator: contextlib.nullcontext(),
        set_allocator=lambda allocator=None: None, **stand_in.COMPILER,
    )  # fmt: skip
    sys.modules["cupy"] = fake
    clocks.REHEARSAL = gpu_ceilings.REHEARSAL = True
    clocks.SAMPLE_MS = 0.0
    clocks.LEAST_ROUNDS = clocks.MOST_ROUNDS = 2
    clocks.CudaClock.LEAST_CALLS = 3
