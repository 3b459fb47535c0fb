"""What is installed, which devices work and, for each that does not, why and what to type.

`gather()` looks at the machine; `explain(facts)` only judges, so that every situation can be tested on any machine.
Standard library only at import: the Makefile runs `python3 -I gpudl/_info.py --extra` before anything is installed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

# CUDA major -> (lowest CUDA version the driver must support, lowest Linux driver of that CUDA release, the extra that fits).
# Source: CUDA Toolkit Release Notes, "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility".
EXTRAS = {13: (13000, "580", "cuda13"), 12: (12000, "525", "cuda12")}
MIN_CAPABILITY = (7, 5)  # the oldest architecture that NVRTC 13 compiles for
MIN_GXX = 11
PACKAGES = ("numpy", "numba", "ml_dtypes", "safetensors", "numba-cuda", "nvidia-cuda-nvrtc", "scikit-learn", "matplotlib", "tqdm")


@dataclass
class GPU:
    name: str
    capability: tuple[int, int]
    memory: int  # bytes


@dataclass
class Facts:
    """All that the explanations depend on."""

    system: str = "Linux"
    machine: str = "x86_64"
    driver: int | None = None  # highest CUDA version that the driver supports, 13000 for 13.0; None without a driver
    nvidia_hardware: bool | None = None  # an NVIDIA display device on the PCI bus; None where that cannot be seen
    cupy_wheels: dict[str, str] = field(default_factory=dict)  # distribution name -> version
    cupy_error: str | None = None  # why `import cupy` or the first call of the CUDA runtime failed
    nvrtc_error: str | None = None  # why CuPy cannot compile
    numba_cuda: str | None = None
    visible_devices: str | None = None  # $CUDA_VISIBLE_DEVICES
    gpus: list[GPU] = field(default_factory=list)
    compiler: str | None = None  # path of g++
    compiler_version: int | None = None  # its major version; None if it is not GCC


@dataclass
class Device:
    """One line of the report: a device, whether it works, what it is or why not, and what to type."""

    name: str
    works: bool
    what: str
    fix: str = ""


def driver_version() -> int | None:
    """The CUDA version that the NVIDIA driver supports (13000 means 13.0), or None if no driver can be loaded."""
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        version = ctypes.c_int()
        return version.value if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value > 0 else None
    except (OSError, AttributeError):
        return None


def extra(driver: int | None) -> str:
    """The extra of `pip install gpudl[...]` that fits the driver: "cuda13", "cuda12" or "" without a usable one."""
    return next((name for lowest, _, name in EXTRAS.values() if driver is not None and driver >= lowest), "")


def cupy_wheels() -> dict[str, str]:
    """Every installed distribution that brings a `cupy` module (two of them overwrite each other's files)."""
    wheels = {}
    for dist in metadata.distributions():
        name = (dist.metadata["Name"] or "").lower().replace("_", "-")
        if name == "cupy" or re.fullmatch(r"cupy-(cuda|rocm).*", name):
            wheels[name] = dist.version
    return wheels


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _nvidia_hardware() -> bool | None:
    pci = Path("/sys/bus/pci/devices")
    if not pci.is_dir():
        return None
    for device in pci.iterdir():
        try:
            if (device / "vendor").read_text().strip() == "0x10de" and (device / "class").read_text().startswith("0x03"):
                return True
        except OSError:
            continue
    return False


def _compiler() -> tuple[str | None, int | None]:
    path = shutil.which(os.environ.get("GPUDL_CXX") or "g++")
    if path is None:
        return None, None
    try:
        macros = subprocess.run([path, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return path, None
    gnu = re.search(r"#define __GNUC__ (\d+)", macros)
    return path, int(gnu[1]) if gnu and "__clang__" not in macros else None


def _gpus(facts: Facts) -> None:
    """Ask CuPy for the GPUs, with the reasons why it cannot answer."""
    try:
        import cupy

        for i in range(cupy.cuda.runtime.getDeviceCount()):
            p = cupy.cuda.runtime.getDeviceProperties(i)
            facts.gpus.append(GPU(p["name"].decode(), (p["major"], p["minor"]), p["totalGlobalMem"]))
    except Exception as e:  # whatever a broken installation raises is the answer
        facts.cupy_error = f"{type(e).__name__}: {e}".splitlines()[0]
        return
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as e:
        facts.nvrtc_error = f"{type(e).__name__}: {e}".splitlines()[0]


def gather() -> Facts:
    """Look at this machine. Imports CuPy only where there are a driver and exactly one CuPy."""
    compiler, compiler_version = _compiler()
    facts = Facts(
        system=platform.system(), machine=platform.machine(), driver=driver_version(), nvidia_hardware=_nvidia_hardware(),
        cupy_wheels=cupy_wheels(), numba_cuda=version("numba-cuda"), visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        compiler=compiler, compiler_version=compiler_version,
    )  # fmt: skip
    if facts.driver is not None and len(facts.cupy_wheels) == 1:
        _gpus(facts)
    return facts


def _pip(name: str) -> str:
    return f"pip install 'gpudl[{name}]'"


def _cuda(version: int) -> str:
    return f"CUDA {version // 1000}.{version % 1000 // 10}"


def explain_cuda(facts: Facts) -> list[Device]:
    """One Device per GPU, or a single one that says why there is none."""

    def no(why: str, fix: str = "") -> list[Device]:
        return [Device("cuda", False, why, fix)]

    if facts.system == "Darwin":
        return no("CUDA does not exist on macOS", "nothing to install: use device 'cpu'")
    wheels = sorted(facts.cupy_wheels)
    fitting = extra(facts.driver)
    if len(wheels) > 1:
        return no(
            f"{len(wheels)} CuPy packages are installed and overwrite each other: {', '.join(wheels)}",
            f"pip uninstall -y {' '.join(wheels)}" + (f" && {_pip(fitting)}" if fitting else ""),
        )
    if facts.driver is None:
        if facts.nvidia_hardware:
            return no(
                "an NVIDIA GPU is there, but its driver is not (libcuda cannot be loaded)",
                "install the driver (Ubuntu: sudo ubuntu-drivers install; others: https://www.nvidia.com/drivers), then restart; "
                "in a container: docker run --gpus all",
            )
        seen = "no NVIDIA GPU is visible and " if facts.nvidia_hardware is False else ""
        return no(
            f"{seen}no NVIDIA driver is installed (libcuda cannot be loaded)",
            "without an NVIDIA GPU use device 'cpu', or 'emulator' for the kernels; with one: https://www.nvidia.com/drivers, "
            "in a container docker run --gpus all",
        )
    if not fitting:
        return no(
            f"the driver supports {_cuda(facts.driver)}, CuPy needs CUDA 12.0 or newer",
            f"update the NVIDIA driver to {EXTRAS[12][1]} or newer: https://www.nvidia.com/drivers",
        )
    if not wheels:
        return no("a driver is there, CuPy is not installed", _pip(fitting))
    built_for = re.search(r"cuda(\d\d)", wheels[0])
    if built_for and int(built_for[1]) not in EXTRAS:
        return no(f"{wheels[0]} is made for CUDA {built_for[1]}, gpudl uses 12 or 13", f"pip uninstall -y {wheels[0]} && {_pip(fitting)}")
    if built_for and facts.driver < EXTRAS[int(built_for[1])][0]:
        lowest, release, _ = EXTRAS[int(built_for[1])]
        return no(
            f"the driver supports {_cuda(facts.driver)}, {wheels[0]} needs {_cuda(lowest)} or newer",
            f"pip uninstall -y {wheels[0]} && {_pip(fitting)}   (or update the NVIDIA driver to {release} or newer)",
        )
    if not facts.gpus:
        if facts.visible_devices is not None:
            return no(f"CUDA_VISIBLE_DEVICES={facts.visible_devices!r} leaves no GPU visible", "unset CUDA_VISIBLE_DEVICES")
        return no(
            f"CuPy finds no usable GPU: {facts.cupy_error or 'the driver lists none'}",
            f"look at nvidia-smi; if it lists the GPU: pip uninstall -y {wheels[0]} && {_pip(fitting)}",
        )
    if facts.nvrtc_error:
        return no(f"CuPy cannot load the kernel compiler NVRTC: {facts.nvrtc_error}", _pip(fitting))
    devices = []
    for i, gpu in enumerate(facts.gpus):
        what = f"{gpu.name}, sm_{gpu.capability[0]}{gpu.capability[1]}, {gpu.memory / 2**30:.1f} GiB"
        if gpu.capability < MIN_CAPABILITY:
            why = f"{what}: the kernels need sm_75 (Turing) or newer"
            devices.append(Device(f"cuda:{i}", False, why, "use another GPU, or device 'cpu'"))
        else:
            optional = "" if facts.numba_cuda else f"{_pip(fitting)}   (for the Numba rungs; optional)"
            devices.append(Device(f"cuda:{i}", True, what, optional))
    return devices


def explain_emulator(facts: Facts) -> Device:
    """The emulator needs nothing but a C++ compiler."""
    install = {
        "Linux": "sudo apt install g++   (Fedora: sudo dnf install gcc-c++; conda: conda install gxx; GPUDL_CXX names one that is not g++)",
        "Darwin": "use a Linux container: docker run -it python:3.12, there apt install g++",
        "Windows": "use the Windows Subsystem for Linux: wsl --install, there sudo apt install g++",
    }.get(facts.system, "install g++ >= 11")
    if facts.system != "Linux":
        return Device("emulator", False, "the emulator runs on Linux", install)
    if facts.compiler is None:
        return Device("emulator", False, "no C++ compiler: g++ is not on PATH", install)
    if facts.compiler_version is None:
        return Device("emulator", False, f"{facts.compiler} is not GCC, which the emulator needs", install)
    if facts.compiler_version < MIN_GXX:
        why = f"{facts.compiler} is GCC {facts.compiler_version}, the emulator needs {MIN_GXX} or newer"
        return Device("emulator", False, why, install)
    slow = "" if facts.machine in ("x86_64", "AMD64") else f"; on {facts.machine} threads switch through ucontext, which is slower"
    return Device("emulator", True, f"GCC {facts.compiler_version} at {facts.compiler}{slow}")


def explain(facts: Facts) -> list[Device]:
    """Every device, working or not."""
    cpu = Device("cpu", True, f"NumPy on {facts.machine}, {os.cpu_count()} cores")
    return [cpu, *explain_cuda(facts), explain_emulator(facts)]


def report(facts: Facts | None = None) -> str:
    """The text of `python -m gpudl info`."""
    facts = facts or gather()
    from gpudl import kernels
    from gpudl._version import __version__

    lines = [f"gpudl {__version__}, Python {platform.python_version()}, {platform.platform()}", ""]
    lines.append(f"  {'kernels':<18} {kernels.FOLDER}")
    for package in PACKAGES:
        lines.append(f"  {package:<18} {version(package) or 'not installed'}")
    lines.append(f"  {'CuPy':<18} {', '.join(f'{k} {v}' for k, v in facts.cupy_wheels.items()) or 'not installed'}")
    lines.append(f"  {'NVIDIA driver':<18} {f'supports {_cuda(facts.driver)}' if facts.driver else 'none'}")
    lines.append("")
    for device in explain(facts):
        lines.append(f"  {device.name:<10} {'works' if device.works else 'does not work':<14} {device.what}")
        if device.fix:
            lines.append(f"  {'':<10} {'':<14} -> {device.fix}")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] != ["--extra"]:
        sys.exit("usage: python -I _info.py --extra   (the whole report: python -m gpudl info)")
    print(extra(driver_version()))
