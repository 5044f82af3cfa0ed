"""`make bench-growth`: what a chain costs as exits, batch, depth and concurrent streams grow.

Writes results/growth.json, and docs/growth.png, where `QUICK` is not set.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.growth.curves import Point, by_batch, by_depth, by_exits, by_streams
from benchmarks.measures import Measure, at_most, conclude

QUICK = os.environ.get("QUICK", "") not in ("", "0")
SECONDS = 0.5 if QUICK else 8.0
STEEPEST = 1.3
"""By how much a curve may be steeper at its end than before it and still count as linear."""
CURVES = {
    "exits": (by_exits, (1, 2, 4) if QUICK else (1, 2, 4, 8, 16, 33)),
    "batch": (by_batch, (1, 4, 16) if QUICK else (1, 2, 4, 8, 16, 32, 64, 128, 256)),
    "blocks": (by_depth, (8, 14, 26) if QUICK else (8, 14, 26, 50, 98)),
    "streams": (by_streams, (1, 2, 4) if QUICK else (1, 2, 4, 8, 16)),
}
LINEAR = {
    "exits": ("compile_s", "disk_mb", "memory_mb", "chain_ms"),
    "batch": ("chain_ms",),
    "blocks": ("compile_s", "disk_mb", "memory_mb", "chain_ms"),
}

Curves = Mapping[str, Sequence[Point]]


def main() -> int:
    console = Console(width=140, highlight=False)
    curves: dict[str, list[Point]] = {}
    for name, (make, values) in CURVES.items():
        console.print(f"{name}: {', '.join(map(str, values))} …")
        curves[name] = make(values, SECONDS)
        console.print(table(name, curves[name]))
    Path("results").mkdir(exist_ok=True)
    Path("results/growth.json").write_text(json.dumps(curves, indent=1))
    if not QUICK:
        picture(curves).savefig("docs/growth.png", dpi=120)
    return conclude(f"{'QUICK ' if QUICK else ''}make bench-growth", [], measures(curves))


def table(name: str, points: Sequence[Point]) -> Table:
    figures = [each for each in points[0] if each != "x"]
    found = Table(name, *figures)
    for point in points:
        found.add_row(f"{point['x']:g}", *(f"{point[each]:.3f}" for each in figures))
    return found


def measures(curves: Curves) -> list[Measure]:
    """That what should be is linear."""
    return [
        at_most(f"{figure} by {name}: steeper at the end", steepening(curves[name], figure), STEEPEST, ".2f")
        for name, figures in LINEAR.items()
        for figure in figures
    ]


def steepening(points: Sequence[Point], figure: str) -> float:
    """The slope of the last interval ÷ that from the first point to there: 1 on a line, 2 or more on a parabola."""
    first, before, last = points[0], points[-2], points[-1]
    return _slope(before, last, figure) / _slope(first, before, figure)


def _slope(start: Point, end: Point, figure: str) -> float:
    return (end[figure] - start[figure]) / (end["x"] - start["x"])


def picture(curves: Curves) -> Figure:
    """A panel for every figure of every curve."""
    panels = [(name, each) for name, points in curves.items() for each in points[0] if each != "x"]
    columns = 4
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    for place, (name, each) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.plot([point["x"] for point in curves[name]], [point[each] for point in curves[name]], "o-", ms=3)
        axes.set(xlabel=name, title=each, xlim=(0, None), ylim=(0, None))
    return figure


if __name__ == "__main__":
    sys.exit(main())
