"""A profile in which leaving early pays, whatever this machine's noise: which plan is made follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from etbac.engine_dir import EngineDir
from etbac.profiles import profiler, stored
from etbac.profiles.profile import Profile, Row
from etbac.profiles.timer import Timing

SIZES = (1, 8)


def write_even_profile(engines: Path, last_ms: tuple[float, ...] = SIZES) -> Profile:
    """Every segment takes 1 ms a row, its head and gather next to nothing, the chain nothing beyond them, and the full
    model more than all; the last segment takes `last_ms` at the two sizes."""
    measured = profiler.profile(engines, batch_sizes=SIZES, budget_s=0.05)
    *segments, full = measured.rows
    *before, last = (_taking(1.0, row) for row in segments)
    rows = [*before, _with(last_ms, last), _taking(1.1 * len(segments), full)]
    pieces = [_taking(0.999 if row.engine.startswith("trunk") else 0.001, row) for row in measured.pieces]
    even = replace(measured, rows=tuple(rows), pieces=tuple(pieces), chain=())
    stored.write(EngineDir.open(engines), even)
    return even


def _taking(milliseconds: float, row: Row) -> Row:
    return _with([milliseconds * size for size in SIZES], row)


def _with(each: Sequence[float], row: Row) -> Row:
    return replace(row, timings=tuple(Timing(ms, ms, ms, 0.0, 0.0, 9) for ms in each))
