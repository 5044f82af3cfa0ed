"""What a measurement was made on, as data."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etbac._version import __version__


def describe(backend_version: str | None) -> dict[str, Any]:
    """Processor, cores that this process may use, system and versions."""
    return {
        "id": machine_id(),
        "processor": processor(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "etbac": __version__,
        "backend": backend_version,
    }


def same_machine(recorded: Mapping[str, Any]) -> bool:
    """Whether figures with that description were measured on a machine like this one."""
    return recorded.get("processor") == processor() and recorded.get("cores") == usable_cores()


def machine_id() -> str:
    """Eight hex digits that tell this kind of machine from others: processor, and cores that this process may use."""
    return hashlib.sha256(f"{processor()} {usable_cores()}".encode()).hexdigest()[:8]


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
