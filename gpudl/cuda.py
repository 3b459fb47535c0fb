"""What programs ask about GPUs, under PyTorch's names; `python -m gpudl info` says why one is missing and what to type."""

from __future__ import annotations

from typing import Any

from gpudl._device import device as Device
from gpudl._errors import DeviceError
from gpudl._random import manual_seed


def is_available() -> bool:
    """Whether tensors can be made on device "cuda"."""
    return device_count() > 0


def device_count() -> int:
    """The number of GPUs that CuPy can use; 0 without CuPy, driver or GPU."""
    try:
        return int(Device("cuda").xp.cuda.runtime.getDeviceCount())
    except DeviceError:
        return 0


def synchronize(device: Any = None) -> None:
    """Wait for the work launched on a GPU (cuda:0 without one named), and raise what its kernels have reported."""
    Device("cuda" if device is None else device).synchronize()


def manual_seed_all(seed: int) -> None:
    """Seed the default generator of every device; `gpudl.manual_seed` does it too."""
    manual_seed(seed)


__all__ = ["device_count", "is_available", "manual_seed", "manual_seed_all", "synchronize"]
