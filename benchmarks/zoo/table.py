"""The zoo's rows as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a model; boundary bytes are sums over all boundaries."""
    found = Table(title="models compiled and compared with the uncut model")
    found.add_column("model")
    for name in ("parameters", "exits", "segments", "boundary B/sample", "naive cut's", "difference", "compile s"):
        found.add_column(name, justify="right")
    found.add_column("")
    for row in rows:
        found.add_row(row["name"], *_figures(row), "passed" if row["passed"] else "FAILED")
    return found


def _figures(row: Mapping[str, Any]) -> list[str]:
    if not row.get("segments"):
        return ["–"] * 7
    return [
        f"{row['parameters']:,}",
        ",".join(map(str, row["exits"])),
        str(row["segments"]),
        f"{sum(row['boundary']):,.0f}",
        f"{sum(row['naive']):,.0f}",
        f"{row['difference']:.1e}",
        f"{row['compile_seconds']:.2f}",
    ]
