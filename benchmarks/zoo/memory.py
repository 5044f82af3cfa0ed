"""Peak memory of this process, on Linux."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Begin to measure the peak anew, from what is really held: garbage and the allocator's spare pages are freed."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")


def peak_bytes() -> int:
    """The largest resident size since the last reset."""
    return _kilobytes("VmHWM") * 1024


def resident_bytes() -> int:
    """The resident size now."""
    return _kilobytes("VmRSS") * 1024


def _kilobytes(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])
