"""The kernel compiler, bound through ctypes: no GPU, driver, CuPy or toolkit is needed."""

import os

import pytest

from gpudl import _nvrtc

SOURCE = """
extern "C" __global__ void reverse(float* x, int n) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[63 - threadIdx.x] + n;
}
extern "C" __global__ void one(float* x) { x[0] = 1.0f; }
"""
# A private array that is indexed by a value known only at run time lives in local memory, and a register cap makes ptxas spill.
SPILLING = """
extern "C" __global__ void __launch_bounds__(1024, 2) spill(float* x) {
    float a[96];
    #pragma unroll
    for (int i = 0; i < 96; i++) a[i] = x[i * 1024 + threadIdx.x];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 96; i++)
        #pragma unroll
        for (int j = 0; j < 96; j += 7) a[i] = a[i] * a[j] + a[(i + j) % 96];
    #pragma unroll
    for (int i = 0; i < 96; i++) x[i * 1024 + threadIdx.x] = a[i];
}
"""


@pytest.fixture(autouse=True)
def own_cache(request, tmp_path, monkeypatch):
    """The compiler's own tests must not see earlier results; the kernels' share the user's cache so that repeated runs are quick."""
    if "registry" not in request.keywords:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90a"])
def test_cubin_and_resources(arch):
    done = _nvrtc.compile(SOURCE, "reverse.cu", arch)
    assert done.cubin[:4] == b"\x7fELF"
    assert set(done.functions) == {"reverse", "one"}
    assert done.functions["reverse"].shared == 256 and done.functions["one"].shared == 0
    for r in done.functions.values():
        assert 0 < r.registers <= 255 and r.spill_stores == r.spill_loads == 0


def test_spills_are_seen():
    r = _nvrtc.compile(SPILLING, "spill.cu", "sm_80").functions["spill"]
    assert r.registers <= 32 and r.spill_stores > 0 and r.spill_loads > 0 and r.stack > 0


def test_error_names_file_and_line():
    with pytest.raises(_nvrtc.CompileError, match=r"lesson/01_wrong\.cu\(3\): error: identifier \"y\" is undefined") as e:
        _nvrtc.compile("\n__global__ void k(float* x) {\n    x[0] = y;\n}", "lesson/01_wrong.cu")
    assert "x[0] = y;" in e.value.log


def test_error_in_a_header_names_the_header(tmp_path):
    (tmp_path / "wrong.cuh").write_text("\n\nint f( { return 1; }\n")
    with pytest.raises(_nvrtc.CompileError, match=r"wrong\.cuh\(3\): error"):
        _nvrtc.compile('#include "wrong.cuh"\n', "k.cu", include_dirs=[tmp_path])


def test_system_headers_are_not_found():
    with pytest.raises(_nvrtc.CompileError, match="cuda_fp16.h"):
        _nvrtc.compile("#include <cuda_fp16.h>\n", "k.cu")


def test_unknown_option_and_architecture():
    with pytest.raises(_nvrtc.KernelError, match="--no-such-option"):
        _nvrtc.compile(SOURCE, "k.cu", options=["--no-such-option"])
    with pytest.raises(_nvrtc.KernelError, match="compute_90.*write 'sm_75'"):
        _nvrtc.compile(SOURCE, "k.cu", "compute_90")


def test_cache(tmp_path, monkeypatch):
    """The second call does not compile; another header text does; a damaged entry is not believed."""
    header = tmp_path / "width.cuh"
    header.write_text("#define WIDTH 1\n")
    (tmp_path / "outer.cuh").write_text('#include "width.cuh"\n')
    source = """#include "outer.cuh"
    extern "C" __global__ void k(float* x) {
        __shared__ float s[32 * WIDTH];
        s[0] = x[0];
        __syncthreads();
        x[1] = s[threadIdx.x % (32 * WIDTH)];
    }"""
    compiled = []
    real = _nvrtc._compile
    monkeypatch.setattr(_nvrtc, "_compile", lambda *a: compiled.append(1) or real(*a))

    def shared():
        return _nvrtc.compile(source, "k.cu", include_dirs=[tmp_path]).functions["k"].shared

    assert (shared(), shared(), len(compiled)) == (128, 128, 1)
    header.write_text("#define WIDTH 2\n")
    assert (shared(), shared(), len(compiled)) == (256, 256, 2)
    for file in (tmp_path / "cache").rglob("*.cubin"):
        file.write_bytes(file.read_bytes()[:100])
    assert (shared(), len(compiled)) == (256, 3)
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)  # a folder that cannot be made: compile again, say nothing
    assert (shared(), shared(), len(compiled)) == (256, 256, 5)


def test_missing_library_says_what_to_type(monkeypatch):
    monkeypatch.setattr(_nvrtc, "candidates", lambda: ["/nowhere/libnvrtc.so.13"])
    _nvrtc._library.cache_clear()
    try:
        with pytest.raises(_nvrtc.NvrtcMissing, match="pip install 'nvidia-cuda-nvrtc==13.0"):
            _nvrtc.version()
    finally:
        _nvrtc._library.cache_clear()
