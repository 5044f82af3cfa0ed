"""A subject's figures, and what they say: ranks, wins and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import overhead
from benchmarks.bench.contenders import FULL, OURS, OURS_INT8
from benchmarks.bench.judge import ALLOWED
from benchmarks.bench.options import HEADLINE
from benchmarks.demo import PRECISION
from benchmarks.measures import Measure, at_most


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

    def keeps(self, name: str) -> bool:
        """Whether this row's accuracy is PRECISION of the full model's, or better."""
        found = self.judged["accuracy"].get(name)
        return found is not None and bool(found >= PRECISION * self.judged["accuracy"][FULL])

    def place(self, size: int) -> int:
        """Of the faster of our two rows among those that keep the precision: 1 is the fastest, 0 neither keeps it."""
        figures = self.figures(size)
        kept = sorted((each["ratio"], name) for name, each in figures.items() if self.keeps(name))
        return next((place for place, (_, name) in enumerate(kept, 1) if name in (OURS, OURS_INT8)), 0)

    def standings(self) -> list[str]:
        """For each size and each of our rows: whom it beats and whom it loses to, by how much."""
        return [
            f"Batch {size}: {self._standing(name, self.figures(size))}"
            for size in self.sizes
            for name in (OURS, OURS_INT8)
            if name in self.figures(size)
        ]

    def _standing(self, name: str, figures: Mapping[str, Mapping[str, float]]) -> str:
        ours = figures[name]["ratio"]
        rivals = {other: ours / each["ratio"] for other, each in figures.items() if other not in (OURS, OURS_INT8)}
        lost = sorted((other for other in rivals if rivals[other] > 1), key=lambda other: -rivals[other])
        words = ", ".join(f"{other} ({rivals[other]:.2f} × as fast{self._less(other, name)})" for other in lost)
        won = f"wins against {len(rivals) - len(lost)} of {len(rivals)} rivals"
        return f"{name} is {1 / ours:.2f} × as fast as the full model, {won}, loses to {words or 'none'}."

    def _less(self, other: str, name: str) -> str:
        theirs, ours = (self.judged["accuracy"].get(each) for each in (other, name))
        less = theirs is not None and ours is not None and theirs < ours
        return f", accuracy {theirs:.4f} to {ours:.4f}" if less else ""

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
            name = f"{self.name}: place at batch {HEADLINE} among rows that keep the precision"
            found.append(Measure(name, "1", str(place or "none"), place == 1))
        return found
