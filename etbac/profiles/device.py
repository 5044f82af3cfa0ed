"""What a measurement was made on, as data."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from etbac._version import __version__
from etbac.backends.tensorrt.cuda import Gpu, first_gpu

HIGHEST_KHZ = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")


def describe(backend_version: str | None, device: str) -> dict[str, Any]:
    """Processor, cores that this process may use, the GPU where `device` is one, clocks, system and versions."""
    gpu = _gpu(device)
    return {
        "id": machine_id(device),
        "processor": processor(),
        "processor_mhz": _processor_mhz(),
        "cores": usable_cores(),
        "gpu": None if gpu is None else gpu.name,
        "gpu_driver": None if gpu is None else gpu.driver,
        "gpu_peak_mhz": None if gpu is None else gpu.peak_mhz,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "etbac": __version__,
        "backend": backend_version,
    }


def same_machine(recorded: Mapping[str, Any], device: str) -> bool:
    """Whether figures with that description were measured on a machine like this one."""
    here = {"processor": processor(), "cores": usable_cores(), "gpu": getattr(_gpu(device), "name", None)}
    return all(recorded.get(name) == value for name, value in here.items())


def machine_id(device: str) -> str:
    """Eight hex digits that tell this kind of machine from others: processor, cores that this process may use, and the
    GPU where `device` is one."""
    gpu = _gpu(device)
    what = f"{processor()} {usable_cores()}" if gpu is None else f"{processor()} {usable_cores()} {gpu.name}"
    return hashlib.sha256(what.encode()).hexdigest()[:8]


def _gpu(device: str) -> Gpu | None:
    return first_gpu() if device.startswith("cuda") else None


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _processor_mhz() -> int | None:
    """The highest clock, or today's where the system does not tell that; None where it tells neither."""
    with suppress(OSError, ValueError):
        return int(HIGHEST_KHZ.read_text()) // 1000
    with suppress(OSError, ValueError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((round(float(line.partition(":")[2])) for line in lines if line.startswith("cpu MHz")), None)
    return None


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
