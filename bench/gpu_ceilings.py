"""The ceilings of a GPU, by small kernels of our own: copy bandwidth, FP32 multiply-adds, tensor cores, launches. Nothing is set, all is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import records, stats

HERE = Path(__file__).parent / "kernels"
REHEARSAL = False  # tiny sizes, no figures


def module(name: str, *options: str, arch: str = "") -> Any:
    """A source of bench/kernels, compiled as the library compiles its own."""
    import cupy

    from gpudl import kernels

    given = ("-std=c++17", f"-I{kernels.FOLDER}", *options, *((f"-arch={arch}",) if arch else ()))
    return cupy.RawModule(path=str(kernels.cuda_code(cupy, *kernels.cuda_source(HERE / name, given))))


def milliseconds(launch: Callable[[], Any], repeats: int = 20, rounds: int = 7) -> list[float]:
    """Samples: each the mean of some launches between two events."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    for _ in range(3):
        launch()
    found = []
    for _ in range(rounds):
        start.record()
        for _ in range(repeats):
            launch()
        end.record()
        end.synchronize()
        found.append(cupy.cuda.get_elapsed_time(start, end) / repeats)
    return found


def wgmma_source(kind: str = "bf16") -> str:
    """Back-to-back wgmma m64n256 from shared memory: the rate of Hopper's tensor cores, which mma.sync does not reach. What it computes is not
    looked at; the operands are not zero. PTX ISA, section "wgmma.mma_async"."""
    k, name = (16, "bf16.bf16") if kind == "bf16" else (8, "tf32.tf32")
    registers = ", ".join(f"%{i}" for i in range(128))
    operands = ", ".join(f'"+f"(d[{i}])' for i in range(128))
    instruction = f"wgmma.mma_async.sync.aligned.m64n256k{k}.f32.{name} {{{registers}}}, %128, %129, p, 1, 1{', 0, 0' if kind == 'bf16' else ''};"
    return f"""
extern "C" __global__ void __launch_bounds__(256) ceiling_wgmma(float* out, int rounds) {{
    __shared__ alignas(1024) unsigned tiles[10240];
    for (int i = threadIdx.x; i < 10240; i += 256) tiles[i] = 0x3f003f80u ^ (i * 0x00090005u & 0x007f007fu);
    asm volatile("fence.proxy.async;" ::: "memory");
    __syncthreads();
    float d[128];
    for (int i = 0; i < 128; ++i) d[i] = 0.0f;
    const unsigned base = (unsigned)__cvta_generic_to_shared(tiles);
    // Core matrices of 8 x 16 bytes without swizzle: leading offset 128 bytes, stride 256 bytes.
    const unsigned long long a = ((unsigned long long)(base & 0x3ffff) >> 4) | (8ull << 16) | (16ull << 32);
    const unsigned long long b = ((unsigned long long)((base + 8192) & 0x3ffff) >> 4) | (8ull << 16) | (16ull << 32);
    for (int i = 0; i < rounds; ++i) {{
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int u = 0; u < 4; ++u)
            asm volatile("{{ .reg .pred p; setp.ne.b32 p, 1, 0; {instruction} }}"
                         : {operands} : "l"(a), "l"(b));
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    }}
    float total = 0;
    for (int i = 0; i < 128; ++i) total += d[i];
    out[blockIdx.x * 256 + threadIdx.x] = total;
}}
"""


def measure() -> dict[str, Any]:
    import cupy

    from gpudl.kernels import cuda_code

    device = cupy.cuda.Device()
    sms = int(device.attributes["MultiProcessorCount"])
    capability = int(str(device.compute_capability))
    found: dict[str, Any] = {"method": "own kernels, events around 20 launches, median of 7; clocks and power read before and after, never set"}
    clocks = {"before": records.gpu_facts()}
    kernels = module("ceilings.cu")
    size = 1 << (12 if REHEARSAL else 31)  # 2 GiB each way: far past any L2
    blocks, rounds = (2, 1) if REHEARSAL else (4 * sms, 2000)

    def rate(name: str, work: float, launch: Callable[[], Any], repeats: int = 20) -> None:
        try:
            s = stats.summary(milliseconds(launch, 1 if REHEARSAL else repeats, 2 if REHEARSAL else 7))
            found[name] = work / s.median / 1e6 if name.endswith("gb_s") else work / s.median / 1e9
        except Exception as error:
            found[name + "_failed"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"

    x = cupy.asarray(np.random.default_rng(0).random(size // 4 if REHEARSAL else 1 << 20, dtype=np.float32))
    if not REHEARSAL:
        x = cupy.concatenate([x] * (size // x.nbytes))
    y = cupy.empty(x.shape, np.float32)
    copy = kernels.get_function("ceiling_copy")
    rate("copy_gb_s", 2 * x.nbytes, lambda: copy((8 * sms,), (256,), (x, y, np.int64(x.nbytes // 16))))
    found["copy_right"] = bool((cupy.asnumpy(x[:: 1 << 10]) == cupy.asnumpy(y[:: 1 << 10])).all())
    out = cupy.empty((blocks * 256,), np.float32)
    fma = kernels.get_function("ceiling_fma")
    rate("fma_tflop_s", 2.0 * 128 * rounds * blocks * 256, lambda: fma((blocks,), (256,), (out, np.float32(0.999), np.float32(0.01), np.int32(rounds))))
    for kind, k in (("bf16", 16), ("tf32", 8)) if capability >= 80 else ():
        mma = kernels.get_function(f"ceiling_mma_{kind}")
        work = 2.0 * 16 * 8 * k * 4 * rounds * blocks * 8  # 8 warps a block, 4 instructions a round
        rate(f"mma_{kind}_tflop_s", work, lambda mma=mma: mma((blocks,), (256,), (out, np.int32(rounds))))  # type: ignore[misc]
        if capability == 90 and not REHEARSAL:
            try:
                wgmma = cupy.RawModule(path=str(cuda_code(cupy, wgmma_source(kind), ("-std=c++17", "-arch=sm_90a")))).get_function("ceiling_wgmma")
                work = 2.0 * 64 * 256 * k * 4 * rounds * sms * 2  # 2 warpgroups a block, one block an SM
                rate(f"wgmma_{kind}_tflop_s", work, lambda f=wgmma: f((sms,), (256,), (out, np.int32(rounds))))  # type: ignore[misc]
            except Exception as error:
                found[f"wgmma_{kind}_failed"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    found |= launches(kernels.get_function("ceiling_empty"))
    clocks["after"] = records.gpu_facts()
    found["clocks"] = clocks
    found["l2_bytes"] = int(device.attributes.get("L2CacheSize", 0))
    found["sms"] = sms
    cupy.get_default_memory_pool().free_all_blocks()
    return found


def launches(empty: Any, count: int = 1000) -> dict[str, float]:
    """Cost of a launch: on the host, on a stream, and of one kernel within a CUDA graph; kernels that depend on each other."""
    import cupy

    count = 10 if REHEARSAL else count
    cell = cupy.asarray(np.zeros(1, np.int32))

    def once() -> None:
        empty((1,), (32,), (cell,))

    def many() -> None:
        for _ in range(count):
            once()

    stream_ms = stats.summary(milliseconds(many, 1, 5)).median / count
    cupy.cuda.Device().synchronize()
    start = time.perf_counter()
    many()
    host = (time.perf_counter() - start) * 1e6 / count
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        many()
        graph = stream.end_capture()
    graph_ms = stats.summary(milliseconds(graph.launch, 5, 5)).median / count
    return {"launch_host_us": host, "launch_stream_us": 1e3 * stream_ms, "launch_graph_us": 1e3 * graph_ms}
