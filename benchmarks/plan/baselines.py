"""Other ways to choose exits and thresholds on the search set, priced and judged like the planner's.

    python -m benchmarks.plan.baselines [--precision 0.9968]

runs them on made-up statistics; `compare` takes any that were recorded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.plan.guarantee import BATCH, made_up
from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.prices import Prices
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix

Thresholds = Mapping[int, float]
EVERYBODY = float(np.finfo(np.float32).min)
STEPS = 40


@dataclass(frozen=True)
class Rival:
    """What a way of choosing has chosen, the expected latency of a batch, and the precision on the same samples."""

    name: str
    thresholds: Thresholds
    cost_ms: float
    precision: float
    kept: bool
    """Whether that is the precision asked for."""
    seconds: float


def compare(statistics: ExitStatistics, matrix: Matrix, batch: int, precision: float) -> list[Rival]:
    """The planner's fastest plan with that precision on these samples, then the others; nothing is certified."""
    prices = Prices.expected(matrix, batch, statistics.n)

    def planner() -> Thresholds:
        choices = Choices(statistics, prices, Demands(statistics, Prices.exactly(matrix, batch)), (1.0, 0.5))
        return choices.fastest(precision).thresholds

    ways: dict[str, Callable[[], Thresholds]] = {
        "planner": planner,
        "recursive placement": lambda: recursive_placement(statistics, prices, precision),
        "one shared threshold": lambda: one_threshold(statistics, precision),
        "best static cut": lambda: static_cut(statistics, precision),
        "no exit": dict,
    }
    return [_rival(name, way, statistics, prices, precision) for name, way in ways.items()]


def recursive_placement(statistics: ExitStatistics, prices: Prices, precision: float) -> Thresholds:
    """After PAME (Zhang et al., ICS 2022): the exit that lowers the expected latency most, then the same in the part
    before it and in the part behind it, as long as the latency falls.

    Every exit has the lowest threshold at which it alone keeps a precision; that is raised until all together keep
    `precision`.
    """
    low, high = precision, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        kept = statistics.replay(_placed(statistics, prices, middle)).precision >= precision
        low, high = (low, middle) if kept else (middle, high)
    return _placed(statistics, prices, high)


def one_threshold(statistics: ExitStatistics, precision: float) -> Thresholds:
    """The lowest threshold that, at all exits, keeps the precision."""
    levels = np.unique(statistics.confidence[np.isfinite(statistics.confidence)])

    def everywhere(place: int) -> Thresholds:
        return dict.fromkeys(statistics.exits, float(levels[place]))

    low, high = -1, len(levels)
    while high - low > 1:
        middle = (low + high) // 2
        kept = statistics.replay(everywhere(middle)).precision >= precision
        low, high = (low, middle) if kept else (middle, high)
    return everywhere(high) if high < len(levels) else {}


def static_cut(statistics: ExitStatistics, precision: float) -> Thresholds:
    """Everybody at the earliest exit that keeps the precision."""
    kept = statistics.scores[:-1].sum(axis=1) >= precision * statistics.n_right
    return {statistics.exits[int(kept.argmax())]: EVERYBODY} if kept.any() else {}


def _placed(statistics: ExitStatistics, prices: Prices, own_precision: float) -> Thresholds:
    limits = {e: _alone(statistics, place, own_precision) for place, e in enumerate(statistics.exits)}

    def within(exits: tuple[int, ...], used: Thresholds) -> Thresholds:
        offers = [{**used, e: limits[e]} for e in exits if limits[e] < np.inf]
        best = min(offers, key=lambda each: _cost(statistics, prices, each), default=used)
        if _cost(statistics, prices, best) >= _cost(statistics, prices, used):
            return used
        (chosen,) = best.keys() - used.keys()
        place = exits.index(chosen)
        return within(exits[place + 1 :], within(exits[:place], best))

    return within(statistics.exits, {})


def _alone(statistics: ExitStatistics, place: int, precision: float) -> float:
    """The lowest confidence down to which an exit alone keeps the precision; +inf where there is none."""
    order = np.argsort(-statistics.confidence[place], kind="stable")
    ordered = statistics.confidence[place][order]
    gained = np.cumsum((statistics.scores[place].astype(np.int64) - statistics.scores[-1])[order])
    last_of_equals = np.append(ordered[1:] != ordered[:-1], True) & np.isfinite(ordered)
    kept = last_of_equals & (statistics.scores[-1].sum() + gained >= precision * statistics.n_right)
    return float(ordered[np.flatnonzero(kept)[-1]]) if kept.any() else float("inf")


def _cost(statistics: ExitStatistics, prices: Prices, thresholds: Thresholds) -> float:
    used = [place for place, exit_id in enumerate(statistics.exits) if exit_id in thresholds]
    return float(prices.total(statistics.replay(thresholds).survivors, used))


def _rival(
    name: str, way: Callable[[], Thresholds], statistics: ExitStatistics, prices: Prices, precision: float
) -> Rival:
    begun = time.perf_counter()
    chosen = way()
    seconds = time.perf_counter() - begun
    reached = statistics.replay(chosen).precision
    return Rival(name, chosen, _cost(statistics, prices, chosen), reached, reached >= precision, seconds)


def table(rivals: Sequence[Rival], full_ms: float, title: str = "") -> Table:
    shown = Table(title, "exits", "expected ms", "below full model", "precision", "s")
    for rival in rivals:
        reached = f"{rival.precision:.4f}{'' if rival.kept else ' (too low)'}"
        exits = ", ".join(map(str, rival.thresholds)) or "none"
        saved = f"{1 - rival.cost_ms / full_ms:.1%}"
        shown.add_row(rival.name, exits, f"{rival.cost_ms:.3f}", saved, reached, f"{rival.seconds:.2f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", type=float, default=0.9968)
    precision = parser.parse_args().precision
    for exits, samples in ((6, 10_000), (33, 10_000)):
        population = made_up(f"{exits} exits", precision, "betting", exits, samples)
        print(f"{exits} exits, {samples:,} samples, batches of {BATCH}")
        rivals = compare(population.statistics, population.matrix, BATCH, precision)
        Console().print(table(rivals, population.matrix.full_at(BATCH)))


if __name__ == "__main__":
    main()
