"""Seeded faults: each kernel below breaks one rule, and the report must name the fault and the marked line."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpudl import emulator

pytestmark = pytest.mark.emulator

x = np.arange(4096, dtype=np.float32)
y = np.zeros(4096, np.float32)
ints = np.zeros(64, np.int32)


class Seed:
    """source: the kernel's body, in which /*!*/ marks the line of the report. The rest describes the launch and the report."""

    def __init__(self, kind, signature, body, args, grid=1, block=128, smem=0, array=None, other=False, text="", outside=""):
        self.kind, self.args, self.grid, self.block, self.smem, self.array, self.text = kind, args, grid, block, smem, array, text
        self.source = f'{outside}\nextern "C" __global__ void kernel({signature}) {{\n{body}\n}}\n'
        lines = self.source.splitlines()
        self.lines = [i + 1 for i, line in enumerate(lines) if "/*!*/" in line]
        self.others = [i + 1 for i, line in enumerate(lines) if "/*?*/" in line] if other else []


PTX = '#include "ptx.cuh"'
KERNELS = Path(__file__).resolve().parents[2] / "kernels"
XY = "const float* x, float* y"
SEEDS = {
    "missing __syncthreads": Seed(
        "race", XY, """__shared__ float s[128]; int t = threadIdx.x; s[t] = 0; __syncthreads();
        s[t] = x[t]; /*!*/
        y[t] = s[127 - t]; /*!*/""", (x, y), array="s", other=True),
    "missing second __syncthreads": Seed(
        "race", XY, """__shared__ float s[128]; int t = threadIdx.x;
        for (int k = 0; k < 2; k++) {
          s[t] = x[t + k]; /*!*/
          __syncthreads();
          y[t] += s[127 - t]; /*!*/
        }""", (x, y), array="s"),
    "plain read of what others update": Seed(
        "race", "int* c, int* y", """atomicCAS(c, 0, 1); /*!*/
        int v = c[0]; /*!*/
        y[threadIdx.x] = v;""", (ints[:1], np.zeros(128, np.int32)), array="c", other=False),
    "null pointer": Seed(
        "out_of_bounds", "float* y", """
        y[0] = 1; /*!*/""", (None,), text="a null pointer"),
    "past a local array": Seed(
        "out_of_bounds", "float* y, int n", """float a[4]; for (int i = 0; i < 4; i++) a[i] = i;
        y[0] = a[n]; /*!*/""", (y, 6), array="a", text="index 6 of a, "),
    "too few threads at a named barrier": Seed(
        "barrier", "float* y", """
        named_barrier_sync(1, 160); /*!*/
        y[threadIdx.x] = 1;""", (y,), outside=PTX),
    "a counter set by one thread and counted by all": Seed(
        "race", "int* y", """__shared__ int c; if (threadIdx.x == 0)
        c = 0; /*!*/
        atomicAdd(&c, 1); /*!*/
        __syncthreads(); y[threadIdx.x] = c;""", (np.zeros(128, np.int32),), array="c"),
    "a counter set by one block and counted by all": Seed(
        "race", "int* y", """if (threadIdx.x == 0 && blockIdx.x == 0)
        y[0] = 0; /*!*/
        __syncthreads();
        atomicAdd(y, 1); /*!*/""", (np.zeros(128, np.int32),), grid=2, array="y"),
    "a local array that jumps over the guard page": Seed(
        "stack_overflow", "float* y, int n", """volatile float a[60000]; a[n] = 1;
        y[0] = a[n];""", (y, 5)),
    "off-by-one read": Seed(
        "out_of_bounds", XY + ", int n", """int i = threadIdx.x; if (i <= n)
        y[i] = x[i]; /*!*/""", (x[:100], y, 100), array="x", text="x has 100 elements"),
    "off-by-one write": Seed(
        "out_of_bounds", XY + ", int n", """int i = threadIdx.x;
        if (i <= n) y[i] = x[i]; /*!*/""", (x, y[:100], 100), array="y"),
    "read before the start": Seed(
        "out_of_bounds", XY, """int i = threadIdx.x;
        y[i] = x[i - 1]; /*!*/""", (x, y), array="x"),
    "early return before a barrier": Seed(
        "barrier", XY + ", int n", """int i = threadIdx.x; if (i >= n) return;
        __syncthreads(); /*!*/
        y[i] = x[i];""", (x, y, 100)),
    "divergent barrier": Seed(
        "barrier", XY, """if (threadIdx.x & 1) { y[threadIdx.x] = 1;
          __syncthreads(); /*!*/
        } else {
          __syncthreads(); /*!*/
        }""", (x, y)),
    "__syncwarp against __syncthreads": Seed(
        "deadlock", XY, """if (threadIdx.x < 3)
          __syncthreads(); /*!*/
        else
          __syncwarp(); /*!*/
        __syncthreads();""", (x, y)),
    "uninitialised shared": Seed(
        "uninitialised", XY, """__shared__ float s[128]; int t = threadIdx.x; if (t < 64) s[t] = x[t]; __syncthreads();
        y[t] = s[t]; /*!*/""", (x, y), array="s"),
    "static index past a shared array": Seed(
        "out_of_bounds", XY + ", int n", """__shared__ float s[32]; s[threadIdx.x & 31] = 0; __syncthreads(); if (threadIdx.x == 0)
        s[n] = 1; /*!*/""", (x, y, 32)),
    "warp-synchronous reduction": Seed(
        "race", XY, """__shared__ float s[128]; int t = threadIdx.x; s[t] = x[t]; __syncthreads();
        if (t < 32) { volatile float* v = s;
          v[t] += v[t + 32];  /*!*/
          v[t] += v[t + 16];  /*!*/
        }""", (x, y), array="s"),
    "+= from several blocks": Seed(
        "race", XY, """if (threadIdx.x == 0)
        y[0] += x[0]; /*!*/""", (x, y), grid=3, array="y", other=True, text="block"),
    "dynamic shared memory too small": Seed(
        "out_of_bounds", XY, """extern __shared__ float s[];
        s[threadIdx.x] = x[threadIdx.x]; /*!*/
        y[threadIdx.x] = s[threadIdx.x];""", (x, y), smem=256, array="s"),
    "reading past a dynamic shared array": Seed(
        "out_of_bounds", XY, """extern __shared__ float s[]; int t = threadIdx.x; s[t] = x[t]; __syncthreads();
        y[t] = s[t + 1]; /*!*/""", (x, y), smem=512, array="s", text="s has 128 elements"),
    "misaligned float4": Seed(
        "misaligned", XY, """
        float4 v = *(const float4*)(x + 1 + 4 * threadIdx.x); /*!*/
        y[threadIdx.x] = v.x + v.w;""", (x, y), array="x"),
    "shuffle with exited lanes": Seed(
        "invalid_shuffle", XY, """if (threadIdx.x >= 100) return;
        y[threadIdx.x] = __shfl_down_sync(0xffffffff, x[threadIdx.x], 1); /*!*/""", (x, y)),
    "shuffle from a lane outside the mask": Seed(
        "invalid_shuffle", XY, """if (threadIdx.x < 16)
        y[threadIdx.x] = __shfl_sync(0xffff, x[threadIdx.x], 20); /*!*/""", (x, y), block=32),
    "a flag in shared memory without a fence": Seed(
        "race", XY, """__shared__ volatile int flag; __shared__ float s[4]; int t = threadIdx.x; if (t == 0) flag = 0; __syncthreads();
        if (t == 0) { s[0] = x[5];
          flag = 1; } /*!*/
        if (t == 64) {
          while (flag == 0); /*!*/
          __threadfence_block(); y[0] = s[0]; }""", (x, y), array="flag"),
    "data behind a flag that is read before the flag": Seed(
        "race", XY, """__shared__ volatile int flag; __shared__ float s[4]; int t = threadIdx.x; if (t == 0) flag = 0; __syncthreads();
        if (t == 0) {
          s[0] = x[5]; /*!*/
          __threadfence_block(); flag = 1; }
        if (t == 64) {
          float early = s[0]; /*!*/
          while (flag == 0); __threadfence_block(); y[0] = early; }""", (x, y), array="s"),
    "data that is written after its flag is raised": Seed(
        "race", XY, """__shared__ volatile int flag; __shared__ float s[4]; int t = threadIdx.x; if (t == 0) flag = 0, s[0] = 0; __syncthreads();
        if (t == 0) { __threadfence_block(); flag = 1;
          s[0] = x[5]; /*!*/
        }
        if (t == 64) { while (flag == 0); __threadfence_block();
          y[0] = s[0]; } /*!*/""", (x, y), array="s"),
    "warp-synchronous reduction, with fences in place of __syncwarp": Seed(
        "race", XY, """__shared__ float s[128]; int t = threadIdx.x; s[t] = x[t]; __syncthreads();
        if (t < 32) { volatile float* v = s;
          __threadfence_block(); v[t] += v[t + 32]; /*!*/
          __threadfence_block(); v[t] += v[t + 16]; /*!*/
        }""", (x, y), array="s"),
    "shuffle of a ragged warp, added unasked": Seed(
        "invalid_shuffle", XY + ", int n", """int t = threadIdx.x; unsigned mask = __ballot_sync(0xffffffffu, t < n);
        if (t < n) { float v = x[t]; for (int o = 16; o; o /= 2)
          v += __shfl_down_sync(mask, v, o); /*!*/
          if (t == 0) y[3] = v; }""", (x, y, 24), block=32, text="the undefined value reaches y[3]"),
    "shuffle whose undefined value decides a branch": Seed(
        "invalid_shuffle", "const int* x, int* y", """int t = threadIdx.x; if (t >= 16) return;
        int v = __shfl_down_sync(0xffffu, x[t], 1); /*!*/
        if (v > 0) y[t] = 1;""", (np.full(64, -3, np.int32), ints), block=32, text="lane 15 reads from lane 16"),
    "shuffle as a fence": Seed(
        "race", XY, """__shared__ float s[128]; int t = threadIdx.x; s[t] = 0; __syncthreads();
        s[t] = x[t]; /*!*/
        __shfl_sync(0xffffffff, 1, 0);
        y[t] = s[t ^ 1]; /*!*/""", (x, y), array="s"),
    "cp.async without a wait": Seed(
        "uninitialised", XY, """__shared__ float s[128]; gpudl_emu_copy_async(&s[threadIdx.x * 4], x + threadIdx.x * 4, 16, 16);
        y[threadIdx.x] = s[threadIdx.x * 4]; /*!*/""", (x, y), block=32, array="s", text="cp.async"),
    "+= on an empty array": Seed(
        "uninitialised", XY, """
        y[threadIdx.x] += x[threadIdx.x]; /*!*/""", (x, "empty"), array="y"),
    "spin lock": Seed(
        "timeout", "int* lock", """
        while (atomicCAS(lock, 1, 2) != 1); /*!*/""", (ints,)),
    "int64 for int": Seed("TypeError", "int* p, int n", "p[0] = n;", (ints, np.int64(3)), text="n is int64"),
    "shift by 32": Seed(
        "shift", "int* p, int n", """if (threadIdx.x == 0)
        p[0] = 1 << n; /*!*/""", (ints, 32)),
    "float to int out of range": Seed(
        "conversion", "const float* x, int* p, float s", """if (threadIdx.x == 0)
        p[0] = (int)(x[1] * s); /*!*/""", (x, ints, 1e10)),
    "NaN to int": Seed(
        "conversion", "const float* x, int* p, float s", """if (threadIdx.x == 0)
        p[0] = (int)(x[1] * s); /*!*/""", (x, ints, float("nan"))),
    "division by zero": Seed(
        "division", "int* p, int n", """if (threadIdx.x == 0)
        p[0] = 7 / n; /*!*/""", (ints, 0)),
    "remainder by zero": Seed(
        "division", "int* p, long long n", """if (threadIdx.x == 0)
        p[0] = (int)(7 % n); /*!*/""", (ints, 0)),
    "never ends": Seed(
        "timeout", "int* p", """if (threadIdx.x == 0)
        while (p[0] == 0) p[1] ^= 1; /*!*/""", (ints,)),
    "write to a constant": Seed(
        "constant_write", XY, """if (threadIdx.x == 0)
        table[1] = 2; /*!*/
        y[0] = table[0];""", (x, y), array="table", outside="__constant__ float table[4];"),
    "missing __threadfence": Seed(
        "race", XY + ", unsigned* c", """__shared__ bool last; int t = threadIdx.x;
        y[blockIdx.x * 128 + t] = x[t]; /*!*/
        __syncthreads(); if (t == 0) last = atomicAdd(c, 1u) == gridDim.x - 1; __syncthreads();
        if (last) { float s = 0; for (int b = 0; b < gridDim.x; b++)
          s += y[b * 128 + t]; /*!*/
          if (t == 0) y[4000] = s; }""", (x, y, np.zeros(1, np.uint32)), grid=4, array="y"),
    "plain read beside atomics": Seed(
        "race", "int* p, int* q", """
        atomicAdd(p, 1); /*!*/
        q[threadIdx.x] = p[0]; /*!*/""", (ints, np.zeros(128, np.int32)), array="p"),
    "wild address": Seed(
        "out_of_bounds", XY + ", long long k", """
        y[threadIdx.x * k] = 1; /*!*/""", (x, y, 10**11)),
    "too much local memory": Seed(
        "stack_overflow", "int* p, int n", """volatile char big[400000];
        for (int i = 0; i < n; i++) big[i] = 1;
        p[0] = big[n / 2];""", (ints, 300000)),
    "assert": Seed("assertion", "int* p, int n", """if (threadIdx.x == 5)
        assert(n == 3); /*!*/""", (ints, 4), text="n == 3"),
    "too many threads": Seed("limit", "int* p", "p[0] = 1;", (ints,), block=(32, 64), text="2048 threads"),
    "too much shared memory": Seed("limit", "int* p", "extern __shared__ int s[]; s[0] = 1; p[0] = s[0];", (ints,), smem=228 * 1024, text="232448"),
    "empty grid": Seed("limit", "int* p", "p[0] = 1;", (ints,), grid=0, text="grid.x = 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEDS)
def test_seeded_fault(name):
    seed = SEEDS[name]
    module = emulator.compile(seed.source, options=[f"-I{KERNELS}"], timeout=2.0)
    function = module.get_function("kernel")
    args = [emulator.empty(4096) if isinstance(a, str) else a.copy() if isinstance(a, np.ndarray) else a for a in seed.args]
    if seed.kind == "TypeError":
        with pytest.raises(TypeError, match=seed.text):
            function(seed.grid, seed.block, args)
        return
    with pytest.raises(emulator.SanitizerError) as caught:
        function(seed.grid, seed.block, args, shared_mem=seed.smem)
    reports = caught.value.reports
    kinds = [r.kind for r in reports]
    assert seed.kind in kinds, str(caught.value)
    report = reports[kinds.index(seed.kind)]
    assert report.kernel == "kernel"
    assert report.message and report.cause
    if seed.lines:
        assert report.line in seed.lines, str(report)
        assert report.file == module.sources[0]
        assert report.block is not None and report.threads
    if seed.array:
        assert report.array == seed.array, str(report)
    if seed.kind == "race":
        assert report.other_line in seed.lines, str(report)
        assert report.block is not None and len(report.threads) == 2
    assert seed.text in str(report)
    assert re.search(re.escape(report.kind), str(caught.value))


def test_a_fault_leaves_the_process_and_the_module_usable():
    module = emulator.compile('extern "C" __global__ void k(float* y, long long i) { y[threadIdx.x + i] = 1; }\n', sanitize=False)
    k, out = module.get_function("k"), np.zeros(32, np.float32)
    for _ in range(3):
        with pytest.raises(emulator.SanitizerError) as caught:
            k(1, 32, (out, 10**13))
        assert caught.value.reports[0].kind == "crash"
        assert caught.value.reports[0].line == 1
        k(1, 32, (out, 0))
        assert (out == 1).all()
        out[:] = 0


def test_endless_loop_in_fast_mode_is_stopped():
    module = emulator.compile('extern "C" __global__ void k(volatile int* p) { while (p[0] == 0); }\n', sanitize=False, timeout=0.3)
    with pytest.raises(emulator.SanitizerError, match="timeout"):
        module.get_function("k")(1, 32, (np.zeros(4, np.int32),))


INTERRUPTED = """
import os, signal, subprocess, time
import numpy as np
from gpudl import emulator
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
source = 'extern "C" __global__ void k(volatile float* y) { for (;;) { y[0] += 1; __syncthreads(); } }\\n'
for sanitize in (True, False):
    k = emulator.compile(source, sanitize=sanitize, timeout=40).get_function("k")
    start = time.monotonic()
    subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -INT {os.getpid()}"])
    try:
        k(1, 64, (np.zeros(1, np.float32),))
    except KeyboardInterrupt:
        print("interrupted" if time.monotonic() - start < 30 else "late")
"""


def test_control_c_ends_a_block_that_never_ends():
    run = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert run.stdout == "interrupted\n" * 2, run.stdout + run.stderr


def test_a_vast_grid_in_random_order_takes_no_memory_for_the_order():
    source = 'extern "C" __global__ void k(int* y) { if (blockIdx.x < 4) y[blockIdx.x] += 1; }\n'
    k = emulator.compile(source, sanitize=False, order="random", timeout=0.2).get_function("k")
    with pytest.raises(emulator.SanitizerError, match="timeout"):
        k((2**31 - 1, 65535, 65535), 1, (np.zeros(4, np.int32),))  # a list of its blocks would end the process
    counts = np.zeros(2049 * 2049, np.int32)
    each = 'extern "C" __global__ void k(int* y) { y[blockIdx.x + gridDim.x * blockIdx.y] += 1; }\n'
    emulator.compile(each, sanitize=False, order="random").get_function("k")((2049, 2049), 1, (counts,))
    assert (counts == 1).all()


def test_sizes_that_are_no_integers():
    k = emulator.compile('extern "C" __global__ void k(int* y) { y[0] = 1; }\n', sanitize=False).get_function("k")
    for grid in (1.5, "a", (1, 2.5), None):
        with pytest.raises(TypeError, match="grid .*an integer, or one to three of them"):
            k(grid, 1, (np.zeros(1, np.int32),))
    k(np.int64(1), [np.uint8(1)], (np.zeros(1, np.int32),))


BOUNDED = """#define N 8
__global__ void __launch_bounds__(N * 16, 2) a(int* y) { y[threadIdx.x] = 1; }
template <class X> __global__ __launch_bounds__(64) void b(X* y) { y[threadIdx.x] = 1; }
__global__ void c(int* y) { y[threadIdx.x] = 1; }
"""


def test_a_block_larger_than_the_launch_bounds():
    module = emulator.compile(BOUNDED, sanitize=False, name_expressions=["b<int>"])
    y = np.zeros(1024, np.int32)
    for name, most in (("a", 128), ("b<int>", 64), ("c", 1024)):
        k = module.get_function(name)
        assert k.max_threads_per_block == most
        k(1, most, (y,))
        with pytest.raises(emulator.LaunchError, match=str(most)):
            k(1, (most, 2), (y,))


def test_fast_mode_keeps_endless_loops():
    source = 'extern "C" __global__ void k(float* y) { float a = y[0]; for (;;) { a *= 1.5f; if (a == -1) break; } y[0] = a; }\n'
    with pytest.raises(emulator.SanitizerError, match="timeout"):
        emulator.compile(source, sanitize=False, timeout=0.3).get_function("k")(1, 1, (np.zeros(1, np.float32),))


def test_inline_ptx_gets_advice():
    with pytest.raises(emulator.CompileError, match="ptx.cuh"):
        emulator.compile('__global__ void k(int* y) { int r; asm("mov.u32 %0, %%laneid;" : "=r"(r)); y[0] = r; }\n')


def test_threads_that_race_on_one_line_are_told_of_atomics():
    k = emulator.compile('extern "C" __global__ void k(const int* x, int* h) { h[x[threadIdx.x]] += 1; }\n').get_function("k")
    with pytest.raises(emulator.SanitizerError) as caught:
        k(1, 64, (np.zeros(64, np.int32), np.zeros(1, np.int32)))
    assert all(r.kind == "race" and "atomicAdd" in r.cause for r in caught.value.reports)
