"""`python -m gpudl info`: every situation is faked, and the report must say why and what to type."""

import importlib.metadata
import os
import stat
import sys
import types

import pytest

from gpudl import _info
from gpudl.__main__ import main
from gpudl._info import GPU, Facts, explain, explain_cuda, explain_emulator

H200 = GPU("NVIDIA H200", (9, 0), 150 * 10**9)
GOOD = dict(driver=13000, nvidia_hardware=True, cupy_wheels={"cupy-cuda13x": "14.2.0"}, numba_cuda="0.30", gpus=[H200])


@pytest.mark.parametrize(
    ("facts", "why", "fix"),
    [
        (dict(nvidia_hardware=False), "no NVIDIA GPU is visible and no NVIDIA driver", "use device 'cpu'"),
        (dict(nvidia_hardware=None), "^no NVIDIA driver is installed", "docker run --gpus all"),
        (dict(nvidia_hardware=True), "an NVIDIA GPU is there, but its driver is not", "ubuntu-drivers install"),
        (dict(system="Darwin"), "macOS", "device 'cpu'"),
        (dict(driver=11080), "the driver supports CUDA 11.8, CuPy needs CUDA 12.0", "update the NVIDIA driver to 525"),
        (dict(driver=12020), "CuPy is not installed", r"pip install 'gpudl\[cuda12\]'"),
        (dict(driver=13000), "CuPy is not installed", r"pip install 'gpudl\[cuda13\]'"),
        (dict(driver=13020), "CuPy is not installed", r"pip install 'gpudl\[cuda13\]'"),
        (
            dict(driver=12080, cupy_wheels={"cupy-cuda13x": "14.2"}),
            "the driver supports CUDA 12.8, cupy-cuda13x needs CUDA 13.0",
            r"pip uninstall -y cupy-cuda13x && pip install 'gpudl\[cuda12\]' .*driver to 580",
        ),
        (
            dict(driver=13000, cupy_wheels={"cupy-cuda13x": "14.2", "cupy-cuda12x": "14.2"}),
            "2 CuPy packages are installed and overwrite each other: cupy-cuda12x, cupy-cuda13x",
            r"pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install 'gpudl\[cuda13\]'",
        ),
        (dict(driver=13000, cupy_wheels={"cupy-cuda11x": "13.0"}), "made for CUDA 11", "pip uninstall -y cupy-cuda11x"),
        (GOOD | dict(gpus=[], visible_devices=""), "CUDA_VISIBLE_DEVICES='' leaves no GPU", "unset CUDA_VISIBLE_DEVICES"),
        (GOOD | dict(gpus=[], cupy_error="ImportError: libcudart.so.13"), "finds no usable GPU: ImportError: libcudart", "nvidia-smi"),
        (GOOD | dict(nvrtc_error="RuntimeError: libnvrtc"), "cannot load the kernel compiler NVRTC: RuntimeError", r"gpudl\[cuda13\]"),
        (GOOD | dict(gpus=[GPU("Tesla V100", (7, 0), 16 * 2**30)]), "V100, sm_70, 16.0 GiB: the kernels need sm_75", "device 'cpu'"),
    ],
)
def test_why_cuda_does_not_work(facts, why, fix):
    import re

    (device,) = explain_cuda(Facts(**facts))
    assert not device.works
    assert re.search(why, device.what), device.what
    assert re.search(fix, device.fix), device.fix


def test_cuda_works():
    old = GPU("GTX 1080", (6, 1), 8 * 2**30)
    first, second = explain_cuda(Facts(**GOOD | dict(gpus=[H200, old])))
    assert (first.name, first.works, first.fix) == ("cuda:0", True, "")
    assert first.what == "NVIDIA H200, sm_90, 139.7 GiB"
    assert (second.name, second.works) == ("cuda:1", False)
    (device,) = explain_cuda(Facts(**GOOD | dict(numba_cuda=None)))
    assert device.works and "Numba" in device.fix


@pytest.mark.parametrize(
    ("facts", "why", "fix"),
    [
        (dict(), "g++ is not on PATH", "apt install g++"),
        (dict(compiler="/usr/bin/g++", compiler_version=9), "GCC 9, the emulator needs 11", "apt install g++"),
        (dict(compiler="/usr/bin/clang++", compiler_version=None), "clang++ is not GCC", "GPUDL_CXX"),
        (dict(system="Darwin", compiler="/usr/bin/g++", compiler_version=None), "runs on Linux", "container"),
        (dict(system="Windows", compiler="g++", compiler_version=13), "runs on Linux", "wsl --install"),
    ],
)
def test_why_the_emulator_does_not_work(facts, why, fix):
    device = explain_emulator(Facts(**facts))
    assert not device.works and why in device.what and fix in device.fix


def test_emulator_works():
    good = dict(compiler="/usr/bin/g++", compiler_version=12)
    assert explain_emulator(Facts(**good)).works
    slow = explain_emulator(Facts(**good, machine="aarch64"))
    assert slow.works and "ucontext" in slow.what


def fake(folder, name, text):
    file = folder / name
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_compiler_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("GPUDL_CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _info._compiler() == (None, None)
    gcc = fake(tmp_path, "g++", "#!/bin/sh\necho '#define __GNUC__ 13'\n")
    assert _info._compiler() == (str(gcc), 13)
    clang = fake(tmp_path, "clang++", "#!/bin/sh\necho '#define __GNUC__ 4'\necho '#define __clang__ 1'\n")
    monkeypatch.setenv("GPUDL_CXX", "clang++")
    assert _info._compiler() == (str(clang), None)


def test_two_cupy_wheels_are_seen(tmp_path, monkeypatch):
    for name in ("cupy_cuda12x", "cupy_cuda13x", "cupyx_nothing"):
        folder = tmp_path / f"{name}-14.2.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 14.2.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    assert _info.cupy_wheels() == {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}


class FakeDriver:
    def __init__(self, version, status=0):
        self.version, self.status = version, status

    def cuDriverGetVersion(self, out):
        out._obj.value = self.version
        return self.status


def test_driver_version(monkeypatch):
    monkeypatch.setattr(_info.ctypes, "CDLL", lambda name: FakeDriver(13000))
    assert _info.driver_version() == 13000
    monkeypatch.setattr(_info.ctypes, "CDLL", lambda name: FakeDriver(0, status=34))  # the stub library of a toolkit
    assert _info.driver_version() is None

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(_info.ctypes, "CDLL", missing)
    assert _info.driver_version() is None


def test_extra():
    assert [_info.extra(d) for d in (None, 11080, 12000, 12090, 13000, 14010)] == ["", "", "cuda12", "cuda12", "cuda13", "cuda13"]


def test_broken_cupy_is_reported(monkeypatch):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("CuPy failed to load libcublas.so.13\nand a second line")

    monkeypatch.setitem(sys.modules, "cupy", Broken())
    facts = Facts(**GOOD | dict(gpus=[]))
    _info._gpus(facts)
    assert facts.cupy_error == "RuntimeError: CuPy failed to load libcublas.so.13"
    assert "libcublas" in explain_cuda(facts)[0].what


def test_report_of_this_machine(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("gpudl", "Python", "numpy", "kernels", "cpu", "emulator", "cuda"):
        assert word in out
    facts = _info.gather()
    for device in explain(facts):
        assert device.works or device.fix
    assert os.fspath(facts.compiler or "g++") in out


def test_check_has_its_own_options_and_exit_code(monkeypatch):
    given = []
    fake = types.ModuleType("gpudl.emulator._check")
    fake.main = lambda argv: given.append(argv) or 1
    monkeypatch.setitem(sys.modules, "gpudl.emulator._check", fake)
    assert main(["check", "--help", "a.cu", "--kernel", "k"]) == 1
    assert given == [["--help", "a.cu", "--kernel", "k"]]


def test_command_line_mistakes(capsys):
    for argv, message in ([], "COMMAND"), (["nonsense"], "invalid choice: 'nonsense'"):
        with pytest.raises(SystemExit) as e:
            main(argv)
        assert e.value.code == 2
        assert message in capsys.readouterr().err
