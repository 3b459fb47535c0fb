"""The profile, the pictures, the command line, bad input, and device memory."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gpudl import emulator
from gpudl.emulator import _build, _check

pytestmark = pytest.mark.emulator

ACCESSES = r"""// accesses: one way to touch memory a kernel
//
// Traffic    8*n + 0*BM B requested
extern "C" __global__ void coalesced(const float* x, float* y, int n) {
    y[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void strided(const float* x, float* y, int n) {
    y[threadIdx.x] = x[threadIdx.x * 32];
}
extern "C" __global__ void vectors(const float4* x, float4* y, int n) {
    y[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void conflict(const float* x, float* y, int n) {
    __shared__ float s[32][32], p[32][33];
    s[threadIdx.x][0] = x[0];
    p[threadIdx.x][0] = x[0];
    __syncthreads();
    y[threadIdx.x] = s[3][0] + p[2][0];
}
extern "C" __global__ void loop(const float* x, float* y, int n) {
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += 32)
        sum += x[i];
    atomicAdd(y, sum);
}
"""


def profile(name, n=32, grid=1):
    module = emulator.compile(ACCESSES, ("-DBM=64",), profile=True)
    f = module.get_function(name)
    f(grid, 32, (np.zeros(4096, np.float32), np.zeros(4096, np.float32), n))
    return f.profile


def line(p, text, op):
    number = ACCESSES.splitlines().index(text) + 1
    (found,) = [r for r in p if r.line == number and r.op == op]
    return found


def test_profile_counts_sectors():
    p = profile("coalesced")
    for op in ("load", "store"):
        r = line(p, "    y[threadIdx.x] = x[threadIdx.x];", op)
        assert (r.space, r.requests, r.sectors_per_request, r.ideal_sectors_per_request, r.bytes) == ("global", 1, 4, 4, 128)
    r = line(profile("strided"), "    y[threadIdx.x] = x[threadIdx.x * 32];", "load")
    assert (r.sectors_per_request, r.ideal_sectors_per_request, r.waste) == (32, 4, 8)
    r = [r for r in profile("vectors") if r.op == "load"][0]
    assert (r.requests, r.sectors_per_request, r.ideal_sectors_per_request) == (1, 16, 16)
    r = line(profile("loop", n=100), "        sum += x[i];", "load")
    assert (r.requests, r.sectors, r.bytes) == (4, 13, 400)
    r = [r for r in profile("loop", n=100) if r.op == "atomic"][0]
    assert (r.requests, r.sectors) == (1, 1)


def test_profile_counts_wavefronts_and_barriers():
    p = profile("conflict", grid=1)
    assert line(p, "    s[threadIdx.x][0] = x[0];", "store").wavefronts_per_request == 32
    assert line(p, "    s[threadIdx.x][0] = x[0];", "store").ideal_wavefronts_per_request == 1
    assert line(p, "    p[threadIdx.x][0] = x[0];", "store").wavefronts_per_request == 1
    r = [r for r in p if r.space == "shared" and r.op == "load"][0]
    assert r.wavefronts_per_request == 1  # a broadcast
    assert p.barriers == 1


UNITS = r"""
#include "ptx.cuh"
extern "C" __global__ void one_address(int* y) {
    __shared__ int s[64];
    s[threadIdx.x] = 0; s[threadIdx.x + 32] = 0;
    __syncwarp();
    atomicAdd(&s[0], 1);
    atomicAdd(&s[threadIdx.x / 4], 1);
    atomicAdd(&s[threadIdx.x], 1);
    __syncwarp();
    y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void copies(const float* x, float* y, int n) {
    __shared__ alignas(16) float s[128];
    int left = n - 4 * (int)threadIdx.x;
    cp_async_16(&s[4 * threadIdx.x], x + (left > 0 ? 4 * threadIdx.x : 0), left >= 4 ? 16 : left > 0 ? 4 * left : 0);
    cp_async_wait_all();
    __syncwarp();
    y[threadIdx.x] = s[threadIdx.x];
}
"""


def test_profile_counts_atomics_that_take_turns_and_copies_by_warp():
    kernels = str(Path(__file__).resolve().parents[2] / "kernels")
    module = emulator.compile(UNITS, (f"-I{kernels}",), profile=True)
    f = module.get_function("one_address")
    f(1, 32, (np.zeros(32, np.int32),))
    got = [(r.requests, r.wavefronts, r.ideal_wavefronts) for r in f.profile if r.op == "atomic"]
    assert got == [(1, 32, 1), (1, 4, 1), (1, 1, 1)]
    f = module.get_function("copies")
    for n, size, sectors in ((128, 512, 16), (101, 404, 13)):
        f(1, 32, (np.zeros(128, np.float32), np.zeros(32, np.float32), n))
        rows = [r for r in f.profile if r.file == module.sources[0] or r.file.endswith("ptx.cuh")]
        (load,) = [r for r in rows if r.op == "load" and r.space == "global"]
        (store,) = [r for r in rows if r.op == "store" and r.space == "shared"]
        assert (load.requests, load.bytes, load.sectors) == (1, size, sectors)
        assert (store.requests, store.wavefronts, store.ideal_wavefronts, store.bytes) == (1, 4, 4, 512)


def test_profile_as_table_json_and_page():
    p = profile("coalesced")
    assert "4.00 sectors" in p.table() and "accesses" not in p.table()
    facts = json.loads(p.json())
    assert facts["bytes_requested"] == 256 and facts["lines"][0]["sectors_per_request"] == 4
    assert facts["stated_traffic"]["bytes"] == 256
    assert "y[threadIdx.x] = x[threadIdx.x * 32];" in p.html() and 'class="good"' in p.html()
    assert "256 bytes (1.00 of it requested)" in str(p)


def test_a_picture_of_a_request(tmp_path):
    module = emulator.compile(ACCESSES, ("-DBM=64",), sanitize=False)
    x, y = np.zeros(4096, np.float32), np.zeros(4096, np.float32)
    picture = emulator.trace(module.get_function("conflict"), 1, 32, (x, y, 1))
    number = ACCESSES.splitlines().index("    s[threadIdx.x][0] = x[0];") + 1
    svg = picture.svg(number, space="shared")
    assert "32 wavefront(s), 1 without conflicts" in svg and svg.count("<rect") > 32 * 33
    shared = [a for a in picture.accesses if a.line == number and a.space == "shared"]
    assert [a.lane for a in shared] == list(range(32)) and {a.array for a in shared} == {"s"} and shared[2].index == 64
    picture = emulator.trace(module.get_function("strided"), 2, 32, (x, y * 0, 1))
    assert "32 sectors of 32 bytes, 4 if packed" in picture.svg(op="load")
    assert picture.save(tmp_path / "p.svg", op="load").read_text().startswith("<svg")
    with pytest.raises(ValueError, match="no such request"):
        picture.svg(9999)
    pytest.importorskip("matplotlib")
    assert picture.save(tmp_path / "p.png", op="load").read_bytes().startswith(b"\x89PNG")


STUDENT = """#include <cuda_runtime.h>
#include <stdio.h>
// check: grid=4 block=256 x=float32[n] y=empty:float32[4] n=1000
__global__ void total(const float* x, float* y, int n) {
    __shared__ float s[256];
    int t = threadIdx.x, i = blockIdx.x * 256 + t;
    s[t] = i < n ? x[i] : 0.0f;
    for (int k = 128; k > 0; k /= 2) {
        if (t < k) s[t] += s[t + k];
        __syncthreads();
    }
    if (t == 0) y[blockIdx.x] = s[0];
}
int main() { float *x, *y; cudaMalloc(&x, 4000); cudaMalloc(&y, 16); total<<<4, 256>>>(x, y, 1000); printf("done\\n"); return 0; }
"""


def test_check_explains_a_students_file(tmp_path, capsys):
    file = tmp_path / "total.cu"
    file.write_text(STUDENT)
    assert _check.main([str(file), "--json", str(tmp_path / "p.json"), "--html", str(tmp_path / "p.html")]) == 1
    out = capsys.readouterr().out
    assert f"{file}:7: race: writes shared s[" in out and f"the other side: {file}:9" in out and "__syncthreads() " in out
    assert json.loads((tmp_path / "p.json").read_text())["lines"] and "total" in (tmp_path / "p.html").read_text()
    file.write_text(STUDENT.replace("    for (", "    __syncthreads();\n    for ("))
    assert _check.main([str(file), "--order", "all"]) == 0
    assert capsys.readouterr().out.count("no faults found") == 3
    assert _check.main([str(file), "n=5000"]) == 0  # the array grows with n
    assert _check.main([str(file), "n=2000", "x=float32[1000]", "grid=8", "y=float32[8]"]) == 1
    assert "out_of_bounds: reads 4 bytes at x[1000] (x has 1000 elements)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (("int n)", "int m)"), [], "total.cu:7:16: error: ‘n’ was not declared"),
        (("", ""), ["q=3"], "total has no parameter q; it has x, y, n"),
        (("", ""), ["x=float33[3]"], "no dtype float33"),
        (("", ""), ["n=import os"], "is not a number"),
        (("", ""), ["--kernel", "sum"], "no kernel 'sum'; there are total"),
        (("__global__", ""), [], "no __global__ function found"),
    ],
)
def test_check_says_what_is_wrong_with_its_input(tmp_path, capsys, change, arguments, message):
    file = tmp_path / "total.cu"
    file.write_text(STUDENT.replace(*change) if change[0] else STUDENT)
    assert _check.main([str(file), *arguments]) == 2
    error = capsys.readouterr().err.replace("'n'", "‘n’")
    assert message in error and "Traceback" not in error


HOST = """#include <cuda_runtime.h>
#include <cstdlib>
#include <iostream>
#include <vector>
#define CHECK(call) do { cudaError_t e = call; if (e != cudaSuccess) { std::cerr << cudaGetErrorString(e); exit(1); } } while (0)
template <typename T> __global__ void add(const T* a, T* b, int n) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) b[i] += a[i]; }
__global__ void saxpy(int n, float a, const float* x, float* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = a * x[i] + y[i];
}
static void launch(const std::vector<float>& h) {
    float* d; CHECK(cudaMalloc(&d, h.size() * sizeof(float)));
    saxpy<<<4, 256>>>(1024, 2.f, d, d); add<float><<<4, 256>>>(d, d, 1024); CHECK(cudaFree(d));
}
int main() { std::vector<float> h(1024); launch(h); std::cout << "done" << std::endl; }
"""


def test_check_takes_a_file_with_its_host_program_and_generates_what_is_missing(tmp_path, capsys):
    file = tmp_path / "host.cu"
    file.write_text(HOST)
    assert _check.main([str(file), "--no-profile"]) == 1
    out = capsys.readouterr().out
    assert "generated: n=1000, a=1.0, x=float32[1000]" in out and "host.cu:9: out_of_bounds: reads 4 bytes at x[1000]" in out
    assert _check.main([str(file), "--kernel", "add<float>", "n=77"]) == 0
    assert "b=float32[77]" in capsys.readouterr().out


def test_check_runs_from_the_command_line(tmp_path):
    file = tmp_path / "total.cu"
    file.write_text(STUDENT)
    result = subprocess.run([sys.executable, "-m", "gpudl.emulator._check", str(file), "--no-profile"], capture_output=True, text=True)
    assert result.returncode == 1 and "race" in result.stdout, result.stderr


# ---- Arguments.
COPY = 'extern "C" __global__ void copy(const float* x, float* y, long n) { long i = blockIdx.x * 32 + threadIdx.x; if (i < n) y[i] = x[i]; }\n'


def test_wrong_arguments_name_the_parameter():
    copy = emulator.compile(COPY, sanitize=False).get_function("copy")
    x = np.zeros(4, np.float32)
    assert [(p.name, p.type, p.kind, p.size, p.const) for p in copy.parameters] == [
        ("x", "const float*", "pointer", 8, True), ("y", "float*", "pointer", 8, False), ("n", "long", "int", 8, False)]  # fmt: skip
    for args, message in [
        ((x, x), r"takes 3 arguments \(x, y, n\), got 2"),
        ((x.astype(float), x, 1), "x is float64, the kernel reads const float"),
        ((x, 3, 1), "y is int, the kernel takes float"),
        ((x, x, np.int32(1)), "n is int32, the kernel takes long"),
        ((x, x, 1.5), "n is a float"),
        ((x, x, 2**70), "does not fit"),
    ]:
        with pytest.raises(TypeError, match=message):
            copy(1, 32, args)
    raw = emulator.RawKernel('extern "C" __global__ void k(float* y, float a) { y[0] = a; }', "k")
    with pytest.raises(TypeError, match=r"write numpy.float32\(1.5\)"):
        raw((1,), (1,), (x, 1.5))
    raw((1,), (1,), (x, np.float32(1.5)))
    assert x[0] == 1.5


def test_views_that_overlap_stay_aliases():
    source = 'extern "C" __global__ void k(float* a, float* b) { if (threadIdx.x == 0) { a[1] = 5; b[1] = a[1] + b[0]; } }\n'
    for base in (np.zeros(8, np.float32), emulator.array(np.zeros(8, np.float32))):
        emulator.compile(source).get_function("k")(1, 32, (base[:4], base[1:]))
        assert base.tolist() == [0, 5, 10, 0, 0, 0, 0, 0]


def test_memory_is_returned_and_reused():
    before = emulator.memory_in_use()
    a = emulator.empty((100, 100))
    view = a[3:5]
    del a
    gc.collect()
    assert emulator.memory_in_use() > before and emulator.owns(view) and not emulator.owns(np.zeros(3))
    address = view.ctypes.data
    del view
    gc.collect()
    assert emulator.memory_in_use() == before
    assert abs(emulator.empty((100, 100)).ctypes.data - address) < 1 << 20
    for _ in range(1000):
        emulator.empty((64, 64))
    assert emulator.memory_in_use() <= before + 100 * 100 * 8


def test_what_the_host_wrote_is_initialised_once_it_says_so():
    copy = emulator.compile(COPY).get_function("copy")
    x, y = emulator.empty(32), emulator.empty(32)
    x[:] = 1
    with pytest.raises(emulator.SanitizerError, match="uninitialised"):
        copy(1, 32, (x, y, 32))
    x = emulator.empty((32, 2))
    x[:] = 1
    emulator.mark_initialised(x[:16])
    copy(1, 32, (x[:16], y, 32))
    copy(1, 32, (y, emulator.empty(32), 32))  # y was written by the launch above
    with pytest.raises(emulator.SanitizerError, match="uninitialised"):
        copy(1, 32, (x[16:], y, 32))
    z = emulator.empty(32)
    emulator.compile(COPY, sanitize=False).get_function("copy")(1, 32, (y, z, 32))
    copy(1, 32, (z, y, 32))  # outputs of a fast launch count as written
    strided = emulator.empty((8, 4))[:, ::2]
    emulator.mark_initialised(strided)


# ---- Compiling.
def test_a_source_that_does_not_compile(tmp_path):
    file = tmp_path / "broken.cu"
    file.write_text('extern "C" __global__ void k(float* y) {\n    y[0] = undefined_name;\n}\n')
    with pytest.raises(emulator.CompileError, match=r"broken.cu:2:.*undefined_name"):
        emulator.compile(file)
    with pytest.raises(FileNotFoundError):
        emulator.compile(tmp_path / "missing.cu")


def test_a_changed_header_is_noticed(tmp_path):
    (tmp_path / "value.cuh").write_text("#define VALUE 1\n")
    file = tmp_path / "k.cu"
    file.write_text('#include "value.cuh"\nextern "C" __global__ void k(int* y) { y[0] = VALUE; }\n')
    y = np.zeros(1, np.int32)
    emulator.compile(file, sanitize=False).get_function("k")(1, 1, (y,))
    assert y[0] == 1
    (tmp_path / "value.cuh").write_text("#define VALUE 2\n")
    emulator.compile(file, sanitize=False).get_function("k")(1, 1, (y,))
    assert y[0] == 2


def test_no_compiler_is_said_clearly(monkeypatch):
    monkeypatch.setenv("GPUDL_CXX", "/nowhere/g++")
    _build.compiler.cache_clear()
    try:
        with pytest.raises(emulator.CompilerMissingError, match="install GCC 11"):
            _build.compiler()
    finally:
        _build.compiler.cache_clear()


def test_modules_keep_their_names_to_themselves():
    text = '__device__ int value = %d; extern "C" __global__ void k(int* y) { __shared__ int s[4]; s[0] = value; y[0] = s[0]; }\n'
    one, two = emulator.compile(text % 1, sanitize=False), emulator.compile(text % 2, sanitize=False)
    y = np.zeros(1, np.int32)
    for module, want in ((one, 1), (two, 2), (one, 1)):
        module.get_function("k")(1, 1, (y,))
        assert y[0] == want


HALVES = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>
extern "C" __global__ void k(const __half* x, const __nv_bfloat16* b, __half* y, float* z) {
    int t = threadIdx.x;
    __half2 two = __floats2half2_rn(1.0f, 2.0f);
    y[t] = __hfma(x[t], two.y, __float2half(0.5f)) + x[t] * two.x;
    z[t] = __bfloat162float(b[t] * b[t]) + (__hlt(x[t], __half(3)) ? 1.0f : 0.0f) + __half2float(hexp(__half(0.0f)));
    atomicAdd(&y[32], __half(1));
}
"""


def test_cuda_fp16_and_bf16_headers():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x, b = np.arange(32).astype(np.float16), np.arange(32).astype(ml_dtypes.bfloat16)
    y, z = np.zeros(33, np.float16), np.zeros(32, np.float32)
    emulator.compile(HALVES).get_function("k")(1, 32, (x, b, y, z))
    np.testing.assert_array_equal(y[:32], 3 * x + np.float16(0.5))
    assert y[32] == 32
    np.testing.assert_array_equal(z, (b * b).astype(np.float32) + (x < 3) + 1)


@pytest.fixture
def sigint():
    """Python's own handler: a job in the background is started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_control_c_stops_a_launch_between_blocks(sigint):
    source = 'extern "C" __global__ void k(int* y) { for (int i = 0; i < 1000; i++) atomicAdd(y, i); }\n'
    k = emulator.compile(source, sanitize=False, timeout=60).get_function("k")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        k(10**7, 32, (np.zeros(1, np.int32),))
    assert time.monotonic() - start < 20


ATTRIBUTES = """
__constant__ float table[8];
extern "C" __global__ void __launch_bounds__(256) k(const float* x, float* y, int n) {
    __shared__ float s[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    s[threadIdx.x] = table[threadIdx.x % 8];
    if (i < n) y[i] = x[i] + s[threadIdx.x];
}
"""


def test_raw_kernels_have_cupys_attributes():
    k = emulator.RawKernel(ATTRIBUTES, "k", options=("-arch=sm_80",))
    facts = k.attributes
    assert (facts["max_threads_per_block"], facts["shared_size_bytes"], facts["const_size_bytes"]) == (256, 1024, 32)
    assert k.binary_version == facts["ptx_version"] == 80 and k.max_dynamic_shared_size_bytes == 0
    k.max_dynamic_shared_size_bytes = 64 << 10
    assert k.attributes["max_dynamic_shared_size_bytes"] == 65536
    from gpudl import _nvrtc

    try:
        _nvrtc.version()
    except _nvrtc.NvrtcMissing:
        with pytest.raises(AttributeError, match="is not known here"):
            _ = k.num_regs
    else:
        assert 4 <= k.num_regs <= 64 and k.local_size_bytes == 0 and facts["num_regs"] == k.num_regs
    x, y = np.ones(1000, np.float32), np.zeros(1000, np.float32)
    k.linear_launch(1000, (x, y, np.int32(1000)), block_max_size=256)
    assert (y == 1).all()
    with pytest.raises(emulator.LaunchError, match="256"):
        k.linear_launch(1000, (x, y, np.int32(1000)), block_max_size=512)
    emulator.RawModule(code=ATTRIBUTES).get_function("k")((4,), (256,), (x, y, np.int32(1000)), enable_cooperative_groups=True)


COMPLEX = """
#include <cupy/complex.cuh>
#include <cuComplex.h>
extern "C" __global__ void k(const complex<float>* x, const complex<double>* z, complex<float>* y, complex<double>* w, cuComplex* v, complex<float> c, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    y[i] = x[i] * c + conj(x[i]) / complex<float>(2.0f, 1.0f) - 1.0f;
    w[i] = exp(z[i]) + sqrt(z[i]) * abs(z[i]) + complex<double>(arg(z[i]), norm(z[i])) + pow(z[i], 2.0) + polar(1.0, 0.5);
    v[i] = cuCdivf(cuCmulf(make_cuComplex(real(x[i]), imag(x[i])), make_cuComplex(0, 1)), make_cuComplex(3, 4));
}
"""


def test_complex_numbers():
    rng = np.random.default_rng(8)
    x = (rng.normal(size=32) + 1j * rng.normal(size=32)).astype(np.complex64)
    z, y, w, v = x.astype(np.complex128), np.zeros(32, np.complex64), np.zeros(32, np.complex128), np.zeros(32, np.complex64)
    c = np.complex64(0.5 - 2j)
    emulator.RawKernel(COMPLEX, "k", translate_cucomplex=True)((1,), (32,), (x, z, y, w, v, c, np.int32(32)))
    np.testing.assert_allclose(y, x * c + x.conj() / (2 + 1j) - 1, rtol=1e-5)
    np.testing.assert_allclose(w, np.exp(z) + np.sqrt(z) * abs(z) + np.angle(z) + 1j * abs(z) ** 2 + z**2 + np.exp(0.5j), rtol=1e-12)
    np.testing.assert_allclose(v, x * 1j / (3 + 4j), rtol=1e-5)
