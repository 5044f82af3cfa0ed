"""The engine directory: what a compiled chain is on disk, and the one way to change it.

`EngineDir.open` checks and reads; `Writer` is the only code that writes there.
"""

from __future__ import annotations

from etbac.engine_dir.directory import EngineDir, read_readings, unless_rebuilt
from etbac.engine_dir.engine_set import EngineEntry, EngineSet
from etbac.engine_dir.writer import (
    Slot,
    Writer,
    clear_leftovers,
    count_reading,
    write_plan,
    write_profile,
    write_report,
    write_statistics,
)

__all__ = [
    "EngineDir",
    "EngineEntry",
    "EngineSet",
    "Slot",
    "Writer",
    "clear_leftovers",
    "count_reading",
    "read_readings",
    "unless_rebuilt",
    "write_plan",
    "write_profile",
    "write_report",
    "write_statistics",
]
