"""The planner against every plan there is, over a grid of thresholds, on models of few exits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.table import Table

from benchmarks.measures import Measure, at_most
from benchmarks.plan.guarantee import Population
from etbac.planner.prices import Prices
from etbac.planner.search import THOROUGH
from etbac.planner.statistics import ExitStatistics

SAMPLES = 2_000
LEVELS = {1: 2_000, 2: 500, 3: 200, 4: 80, 5: 36, 6: 30}
"""Thresholds tried at each exit, by how many exits there are."""
MOST, MOST_SECONDS = 1.01, 10.0


@dataclass(frozen=True)
class Compared:
    """Expected milliseconds of a batch with the planner's plan and with the best of the grid, of the same samples."""

    population: str
    exits: int
    plans: int
    planner_ms: float
    exhaustive_ms: float
    planner_seconds: float
    exhaustive_seconds: float

    @property
    def ratio(self) -> float:
        return self.planner_ms / self.exhaustive_ms


def compare(population: Population) -> list[Compared]:
    """With the first 1, 2, … of its exits; both look for the fastest plan with the precision on the same samples."""
    rows = np.random.default_rng(0).permutation(population.statistics.n)[:SAMPLES]
    return [_compared(population.first_exits(count), rows) for count in LEVELS if count <= population.exits]


def fastest_of_all(sample: ExitStatistics, prices: Prices, precision: float, levels: int) -> float:
    """The lowest expected cost over all subsets of exits, with up to `levels` thresholds at each, that keep the
    precision; partial plans that cost more than the best so far, or can't keep it any more, are not gone on with."""
    grid = [_grid(row, harmful, levels) for row, harmful in zip(sample.confidence, sample.harmful, strict=False)]
    needed, best = precision * sample.n_right, np.inf

    def extend(place: int, last: int, alive: npt.NDArray[np.intp], spent: float, right: int) -> None:
        nonlocal best
        if spent >= best or right + len(alive) < needed:
            return
        if place == prices.end:
            cost = spent + prices.segment(last, place)[len(alive)]
            kept = right + int(sample.scores[place][alive].sum()) >= needed
            best = min(best, cost) if kept else best
            return
        here = spent + prices.segment(last, place)[len(alive)]
        confidence, answers = sample.confidence[place][alive], sample.scores[place][alive]
        for threshold in grid[place]:
            leaves = confidence >= threshold
            extend(place + 1, place, alive[~leaves], here, right + int(answers[leaves].sum()))
        extend(place + 1, last, alive, spent, right)

    extend(0, -1, np.arange(sample.n), 0.0, 0)
    return float(best)


def _grid(confidence: npt.NDArray[np.float32], harmful: npt.NDArray[np.bool_], levels: int) -> npt.NDArray[np.float32]:
    """Falling thresholds, each just above a harmful sample: closer together where few are let go; at last everybody."""
    ordered = np.sort(confidence[harmful])[::-1]
    places = np.unique(np.geomspace(1, len(ordered) + 1, levels).round().astype(np.int64))[:-1] - 1
    return np.append(np.nextafter(ordered[places], np.float32(np.inf)), np.float32(-np.inf))


def _compared(population: Population, rows: npt.NDArray[np.intp]) -> Compared:
    sample, levels = population.statistics.take(rows), LEVELS[population.exits]
    prices = population.prices(sample.n)
    begun = time.perf_counter()
    found = population.choices(sample, prices, (1.0, 0.5), THOROUGH).fastest(population.precision)
    planned = time.perf_counter()
    best = fastest_of_all(sample, prices, population.precision, levels)
    return Compared(
        population=population.name,
        exits=population.exits,
        plans=(levels + 1) ** population.exits,
        planner_ms=found.cost_ms,
        exhaustive_ms=best,
        planner_seconds=planned - begun,
        exhaustive_seconds=time.perf_counter() - planned,
    )


def table(found: Sequence[Compared]) -> Table:
    shown = Table(
        "population", "exits", "plans of the grid", "planner ms", "best of them", "÷ best", "planner s", "grid s"
    )
    for each in found:
        shown.add_row(
            *(each.population, str(each.exits), f"{each.plans:,}", f"{each.planner_ms:.3f}"),
            *(f"{each.exhaustive_ms:.3f}", f"{each.ratio:.4f}"),
            *(f"{each.planner_seconds:.2f}", f"{each.exhaustive_seconds:.1f}"),
        )
    return shown


def measures(found: Sequence[Compared]) -> list[Measure]:
    worst = max(found, key=lambda each: each.ratio)
    where = f"planner ÷ exhaustive search, at worst ({worst.population}, {worst.exits} exits)"
    return [at_most(where, worst.ratio, MOST, ".4f")]
