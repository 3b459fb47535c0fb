"""Records of measurements: one JSON file, valid at every moment, that says on what machine and with what code it was made."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import gpudl
from gpudl._files import atomic_write

SCHEMA = 1
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "numba", "torch", "jax", "jaxlib", "cupy-cuda13x", "cupy-cuda12x", "triton", "nvidia-cublas", "nvidia-cudnn-cu13",
            "nvidia-cuda-nvrtc", "matplotlib", "threadpoolctl")  # fmt: skip
GPU_FACTS = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.draw", "power.limit", "temperature.gpu", "memory.total",
             "clocks_event_reasons.active")  # fmt: skip


def plain(value: Any) -> Any:
    """Values that JSON has: no NaN, no infinity, no NumPy."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


class Record:
    """A record that is written as it grows: `with Record(path, kind) as record: record.add(row)`.

    `complete` is true only when the block ended by itself; an interrupted run leaves what it had, and says so.
    """

    def __init__(self, path: str | os.PathLike[str], kind: str, resume: bool = False, **facts: Any):
        """resume: keep the rows of a record of this kind that is there already, but for those that its budget did not reach."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.data: dict[str, Any] = {"schema": SCHEMA, "kind": kind, "complete": False, "started": now(), **facts, "rows": []}
        if os.environ.get("GPUDL_BENCH_REHEARSAL"):
            self.data["rehearsal"] = True
        if resume and self.path.exists():
            with contextlib.suppress(ValueError):
                old = load(self.path)
                if old["kind"] == kind:
                    self.data["rows"] = [r for r in old["rows"] if r.get("status") != "not measured"]
                    self.data["missing"] = old.get("missing", [])
        self._saved = 0.0

    def __enter__(self) -> Record:
        self.save()
        return self

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        self.data["complete"] = kind is None
        if kind is not None:
            self.data["ended_by"] = kind.__name__
        self.data["ended"] = now()
        self.save()

    def add(self, row: dict[str, Any]) -> None:
        self.data["rows"].append(plain(row))
        if time.monotonic() - self._saved > 1:
            self.save()

    def save(self) -> None:
        with atomic_write(self.path) as file:
            file.write(json.dumps(plain(self.data), indent=None, separators=(",", ":"), allow_nan=False).replace('},{"op"', '},\n{"op"').encode() + b"\n")
        self._saved = time.monotonic()


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record; ValueError says what is wrong with a file that is none."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}); a record is a file that `python -m bench` wrote") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("rows"), list):
        raise ValueError(f"{path}: not a record of schema {SCHEMA}; `python -m bench` writes them")
    return data


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def commit() -> tuple[str, bool | None]:
    """The commit that runs, and whether files of it were changed; ("", None) outside a checkout."""
    found = _run("git", "rev-parse", "--short=12", "HEAD")
    return found, bool(_run("git", "status", "--porcelain", "--untracked-files=no")) if found else None


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        match = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
        if match:
            return match[1]
    return platform.processor() or platform.machine()


def _nvml() -> dict[str, str]:
    """The same facts through NVML's Python binding, in microseconds where nvidia-smi takes a tenth of a second."""
    import pynvml as n

    n.nvmlInit()
    h = n.nvmlDeviceGetHandleByIndex(0)
    name, driver = (v.decode() if isinstance(v, bytes) else v for v in (n.nvmlDeviceGetName(h), n.nvmlSystemGetDriverVersion()))
    return {
        "name": name, "driver_version": driver, "clocks.sm": str(n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM)),
        "clocks.mem": str(n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_MEM)), "clocks.max.sm": str(n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_SM)),
        "power.draw": f"{n.nvmlDeviceGetPowerUsage(h) / 1000:.1f}", "power.limit": f"{n.nvmlDeviceGetEnforcedPowerLimit(h) / 1000:.1f}",
        "temperature.gpu": str(n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU)), "memory.total": str(n.nvmlDeviceGetMemoryInfo(h).total // 2**20),
    }  # fmt: skip


def gpu_facts() -> dict[str, str]:
    """Clocks (MHz), power (W) and temperature as NVML or nvidia-smi reads them; nothing is ever set. Empty without a GPU."""
    with contextlib.suppress(Exception):  # no binding, no driver
        return _nvml()
    for names in (GPU_FACTS, GPU_FACTS[:-1]):
        out = _run("nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits")
        values = [v.strip() for v in out.splitlines()[0].split(",")] if out else []
        if len(values) == len(names):
            return dict(zip(names, values, strict=True))
    return {}


def environment(device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """The machine and the software: everything that a reader needs to run it again."""
    revision, dirty = commit()
    versions = {"gpudl": gpudl.__version__}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    facts: dict[str, Any] = {
        "device": device, "system": f"{platform.system()} {platform.machine()}", "python": platform.python_version(), "cpu": cpu_name(),
        "cores": os.cpu_count(), "memory_gib": round(available_memory() / 2**30, 1), "versions": versions, "commit": revision, "dirty": dirty,
        "threads": threads,
        "command": " ".join(["python -m bench", *(a.rpartition("/")[2] for a in sys.argv[1:])]),
    }  # fmt: skip
    if hasattr(os, "getloadavg"):
        facts["load_average"] = [round(x, 2) for x in os.getloadavg()]
    with contextlib.suppress(Exception):
        import threadpoolctl

        facts["blas"] = [f"{p.get('internal_api')} {p.get('version')} x{p.get('num_threads')}" for p in threadpoolctl.threadpool_info()]
    if gpu := gpu_facts():
        facts["gpu"] = gpu
    return facts


def affinity() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def available_memory() -> int:
    """Bytes of host memory that can be had."""
    with contextlib.suppress(OSError):
        match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
        if match:
            return int(match[1]) * 1024
    return 4 * 2**30


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def results_path(machine: str, kind: str = "") -> Path:
    """bench/results/<machine>/<date>-<commit>[-kind].json"""
    revision, dirty = commit()
    name = f"{datetime.date.today().isoformat()}-{(revision or 'no-commit')[:8]}{'-dirty' if dirty else ''}{'-' + kind if kind else ''}.json"
    return RESULTS / slug(machine) / name


def scratch(stack: contextlib.ExitStack) -> Path:
    """A folder that is gone when the stack ends."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
