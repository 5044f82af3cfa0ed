"""A subject's figures, and what they say: ranks, wins and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import overhead
from benchmarks.bench.contenders import FULL, OURS, OURS_INT8
from benchmarks.bench.judge import ALLOWED
from benchmarks.bench.options import HEADLINE
from benchmarks.measures import Measure, at_most

CONTENDER = "contender"


@dataclass(frozen=True)
class Result:
    """`judged` as of `judge`; `raced`: {size: {"batches", "figures": {contender: …}}}; `outside` as of `overhead`, by
    size; `failed`: what kept a race from ending."""

    name: str
    about: str
    is_real: bool
    judged: Mapping[str, Any]
    raced: Mapping[int, Mapping[str, Any]]
    outside: Mapping[int, Mapping[str, float]]
    failed: Sequence[str] = ()

    @property
    def sizes(self) -> list[int]:
        return sorted(self.raced)

    def figures(self, size: int) -> Mapping[str, Mapping[str, float]]:
        found: Mapping[str, Mapping[str, float]] = self.raced[size]["figures"]
        return found

    @property
    def names(self) -> list[str]:
        """Contenders in the order of their ratios at the headline's size."""
        if HEADLINE not in self.raced:
            return []
        figures = self.figures(HEADLINE)
        return sorted(figures, key=lambda name: figures[name]["ratio"])

    def accuracy(self, name: str) -> str:
        found = self.judged["accuracy"].get(name)
        return "–" if found is None else f"{found:.4f}"

    def place(self, size: int) -> int:
        """Of the faster of our two rows, among all: 1 is the fastest."""
        figures = self.figures(size)
        ours = min(figures[name]["ratio"] for name in (OURS, OURS_INT8) if name in figures)
        return 1 + sum(each["ratio"] < ours for each in figures.values())

    def standings(self) -> list[str]:
        """For each size and each of our rows: whom it beats and whom it loses to, by how much."""
        return [
            f"Batch {size}: {_standing(name, self.figures(size))}"
            for size in self.sizes
            for name in (OURS, OURS_INT8)
            if name in self.figures(size)
        ]

    def gates(self) -> list[Measure]:
        failed = [f"{name} ({why})" for name, why in self.judged["failed"].items()] + list(self.failed)
        ran = Measure(f"{self.name}: every row ran", "yes", "; ".join(failed) or "yes", not failed)
        differ = self.judged["differ"].values()
        alike = f"{self.name}: samples that ways to leave early answer differently"
        return [ran, at_most(alike, max(differ, default=0.0), ALLOWED, ".2%")]

    def measures(self) -> list[Measure]:
        found = overhead.measures_of(self.name, self.outside) if self.outside else []
        if self.is_real and HEADLINE in self.raced:
            place = self.place(HEADLINE)
            found.append(at_most(f"{self.name}: place among all rows at batch {HEADLINE}", place, 1, ".0f"))
        return found


def _standing(name: str, figures: Mapping[str, Mapping[str, float]]) -> str:
    ours = figures[name]["ratio"]
    rivals = {other: each["ratio"] / ours for other, each in figures.items() if other not in (OURS, OURS_INT8)}
    lost = {other: times for other, times in rivals.items() if times < 1}
    won = len(rivals) - len(lost)
    words = ", ".join(
        f"{other} ({1 / times:.2f} × as fast)" for other, times in sorted(lost.items(), key=lambda e: e[1])
    )
    full = f"{1 / ours:.2f} × as fast as the full model on ONNX Runtime" if FULL in figures else ""
    return f"{name} is {full}, wins against {won} of {len(rivals)} rivals, loses to {words or 'none'}."
