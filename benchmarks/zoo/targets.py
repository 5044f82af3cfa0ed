"""What the zoo is measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measures import Measure, at_most
from benchmarks.zoo.catalogue import BY_NAME

Row = Mapping[str, Any]
COMPILE_SECONDS, MEMORY, MINUTES, QUICK_MINUTES = 5.0, 2.5, 30.0, 5.0
TIMED = ("BERT-base", "ResNet-101")
COMPILED, VERIFIED = {"passes, split and files": "memory"}, {"verification and all": "verified_memory"}
WEIGHED: Mapping[str, Mapping[str, str]] = {
    "BERT-base": COMPILED,
    "ResNet-101": COMPILED,
    "2.4 GB of weights": {**COMPILED, **VERIFIED},
}
"""With verification only where no torch module holds the weights a second time."""
SLACK = 1e-6


def measures(rows: Sequence[Row], minutes: float, quick: bool) -> list[Measure]:
    """The targets that these rows have figures for."""
    compiled = [row for row in rows if row.get("segments")]
    found = [
        at_most(f"{row['name']}: passes, split and files, in s", row["compile_seconds"], COMPILE_SECONDS, ".2f")
        for row in compiled
        if row["name"] in TIMED
    ]
    found += [
        at_most(f"{row['name']}: peak memory ÷ weights, {part}", row[key], MEMORY, ".2f")
        for row in compiled
        for part, key in WEIGHED.get(row["name"], {}).items()
    ]
    if compiled:
        found.append(_never_above(compiled))
    found += [_below_somewhere(row) for row in compiled if BY_NAME[row["name"]].smaller]
    found.append(at_most("minutes", minutes, QUICK_MINUTES if quick else MINUTES, ".1f"))
    return found


def _never_above(rows: Sequence[Row]) -> Measure:
    above = [
        f"{row['name']} at exit {exit_id}"
        for row in rows
        for exit_id, own, naive in zip(row["exits"], row["boundary"], row["naive"], strict=True)
        if own > naive * (1 + SLACK)
    ]
    return Measure("boundaries above the naive cut's", "none", ", ".join(above) or "none", not above)


def _below_somewhere(row: Row) -> Measure:
    saved = 1 - sum(row["boundary"]) / sum(row["naive"])
    name = f"{row['name']}: boundary bytes saved"
    return Measure(name, "> 0%", f"{100 * saved:.1f}%", saved > SLACK)
