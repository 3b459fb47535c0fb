"""Options shared by all tests."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "emulator: runs kernels on the CPU and needs a C++ compiler")
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU")


def _gpu() -> bool:
    try:
        import cupy

        return cupy.cuda.runtime.getDeviceCount() > 0
    except Exception:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    compiler = shutil.which("g++")
    gpu = None
    for item in items:
        if item.get_closest_marker("emulator") and not compiler:
            item.add_marker(pytest.mark.skip(reason="no g++: the emulator compiles kernels with it; install g++"))
        if item.get_closest_marker("gpu"):
            gpu = _gpu() if gpu is None else gpu
            if not gpu:
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU that CuPy can use"))
