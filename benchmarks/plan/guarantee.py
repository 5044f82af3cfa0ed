"""The guarantee tested as a guarantee: plans made and certified again and again from draws of a known population.

    python -m benchmarks.plan.guarantee [--draws 1000] [--test betting]

runs it on made-up statistics; `repeat` takes any that were recorded. The population is all samples; a search set and a
certify set of n samples are drawn from it with replacement, a plan is chosen on the one and tested on the other as
`etbac plan` does (with a quick search), and its precision on the whole population is looked up. The naive method beside
it puts the fastest plan in force that has the precision on the search set.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.measures import Measure, at_least, at_most, conclude
from etbac.planner.chance import Ahead
from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.evidence import find_test
from etbac.planner.prices import Prices
from etbac.planner.search import QUICK, THOROUGH, Effort
from etbac.planner.sequence import candidates, run_sequence
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix

PRECISION, LOWER = 0.9968, 0.98
CELLS = ((1_000, PRECISION), (2_500, PRECISION), (10_000, PRECISION), (1_000, LOWER), (2_500, LOWER))
"""Samples in each set, and precision: 1,000 samples are too few for the higher one, whatever the plan."""
BATCH = 16
LEVEL = 0.05
MOST_VIOLATIONS = 0.068
"""Of 1,000 draws 68 at most: with a true rate of 0.05 more are seen once in 200 times."""
BEST_SHARE = 0.85
WORKERS = 2


@dataclass(frozen=True)
class Population:
    """All samples of `name`, what a batch costs, and how plans are certified."""

    name: str
    statistics: ExitStatistics
    matrix: Matrix
    precision: float
    test: str
    batch: int = BATCH
    level: float = LEVEL

    @property
    def exits(self) -> int:
        return len(self.statistics.exits)

    def at(self, precision: float) -> Population:
        return replace(self, precision=precision)

    def prices(self, n: int) -> Prices:
        return Prices.expected(self.matrix, self.batch, n)

    def first_exits(self, count: int) -> Population:
        """The same with that many exits; what comes behind them is the last stage."""
        whole, kept = self.statistics, [*range(count), self.exits]
        fewer = replace(
            whole, exits=whole.exits[:count], confidence=whole.confidence[:count], scores=whole.scores[kept]
        )
        return replace(self, statistics=fewer, matrix=_merged_behind(self.matrix, count))

    def choices(self, sample: ExitStatistics, prices: Prices, credits: tuple[float, ...], effort: Effort) -> Choices:
        demands = Demands(sample, Prices.exactly(self.matrix, self.batch))
        return Choices(sample, prices, demands, credits, effort)

    def cut(self, thresholds: Mapping[int, float], prices: Prices) -> float:
        """How much lower than the full model's a batch's expected latency is; `prices` are for all samples."""
        used = [place for place, exit_id in enumerate(self.statistics.exits) if exit_id in thresholds]
        expected = float(prices.total(self.statistics.replay(thresholds).survivors, used))
        return 1 - expected / self.matrix.full_at(self.batch)


def _merged_behind(matrix: Matrix, count: int) -> Matrix:
    """Of a chain whose exits behind the first `count` are left out."""
    assert matrix.head_ms is not None
    assert matrix.cut_ms is not None
    spared = matrix.head_ms[count:].sum(axis=0) + matrix.cut_ms[count + 1 :].sum(axis=0)
    last = matrix.stage_ms[count:].sum(axis=0) - spared
    return replace(
        matrix,
        stages=(*matrix.stages[:count], matrix.stages[-1]),
        stage_ms=np.vstack([matrix.stage_ms[:count], last]),
        head_ms=np.vstack([matrix.head_ms[:count], 0 * last]),
        cut_ms=matrix.cut_ms[: count + 1],
        runs=None,
    )


@dataclass(frozen=True)
class Draw:
    """One plan: whether it was certified (with exits), whether it has the precision, the same of the naive one; cut."""

    certified: bool
    violated: bool
    naive_violated: bool
    cut: float


@dataclass(frozen=True)
class Cell:
    """What came of all draws of n samples."""

    population: str
    n: int
    precision: float
    draws: Sequence[Draw]
    best_cut: float
    seconds: float

    @property
    def violations(self) -> int:
        return sum(draw.violated for draw in self.draws)

    @property
    def naive_violations(self) -> int:
        return sum(draw.naive_violated for draw in self.draws)

    @property
    def no_exit(self) -> float:
        """Share of draws that ended without an exit."""
        return 1 - sum(draw.certified for draw in self.draws) / len(self.draws)

    @property
    def of_best(self) -> float:
        """Mean cut, 0 where no exit is used, ÷ the cut of the best plan that knows the population."""
        return float(np.mean([draw.cut for draw in self.draws]) / self.best_cut) if self.best_cut > 0 else float("nan")


def repeat(population: Population, n: int, draws: int = 1_000, workers: int = WORKERS) -> Cell:
    """Every draw has its own seed: the same draws come out whatever the number of workers."""
    begun = time.perf_counter()
    one = partial(_draws, population, n)
    seeds = np.array_split(np.arange(draws), max(1, min(draws, 4 * workers)))
    if workers == 1:
        found = [one(part) for part in seeds]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            found = list(pool.map(one, seeds))
    drawn = [draw for part in found for draw in part]
    return Cell(population.name, n, population.precision, drawn, best_cut(population), time.perf_counter() - begun)


def best_cut(population: Population) -> float:
    """Of the fastest plan that has the precision on the population itself."""
    statistics = population.statistics
    prices = population.prices(statistics.n)
    found = population.choices(statistics, prices, (1.0,), THOROUGH).fastest(population.precision)
    return max(0.0, population.cut(found.thresholds, prices))


def _draws(population: Population, n: int, seeds: npt.NDArray[np.intp]) -> list[Draw]:
    prices, whole = population.prices(n), population.prices(population.statistics.n)
    return [_draw(population, n, prices, whole, int(seed)) for seed in seeds]


def _draw(population: Population, n: int, prices: Prices, whole: Prices, seed: int) -> Draw:
    rng = np.random.default_rng([seed, n])
    everything, test = population.statistics, find_test(population.test)
    search, certify = (everything.take(rng.integers(0, everything.n, n)) for _ in range(2))
    choices = population.choices(search, prices, test.credits[:1], QUICK)
    naive = choices.fastest(population.precision)
    naive_violated = everything.replay(naive.thresholds).precision < population.precision

    ahead = Ahead(test, population.precision, population.level, n, int(search.n_right))
    trials = run_sequence(candidates(choices, ahead), certify, test, population.precision, population.level)
    passed = [trial.candidate for trial in trials if trial.passed]
    thresholds = min(passed, key=lambda each: each.cost_ms).thresholds if passed else {}
    violated = bool(passed) and everything.replay(thresholds).precision < population.precision
    cut = population.cut(thresholds, whole) if thresholds else 0.0
    return Draw(bool(thresholds), violated, naive_violated, cut)


def made_up(
    name: str, precision: float, test: str, exits: int = 6, n: int = 20_000, repairs: float = 0.5
) -> Population:
    """Samples of random hardness: a stage is right where that is below its reach; `repairs`: how much stages differ."""
    rng = np.random.default_rng(exits)
    hardness, own = rng.beta(1, 3, n), rng.standard_normal((exits + 1, n))
    reach = np.linspace(0.35, 0.62, exits + 1)
    shared = rng.standard_normal(n)
    margin = reach[:, None] - hardness + 0.06 * (repairs * own + (1 - repairs) * shared)
    confidence = 1 / (1 + np.exp(-14 * np.abs(margin[:-1] + 0.02 * rng.standard_normal((exits, n)))))
    right = margin > 0
    statistics = ExitStatistics(tuple(range(1, exits + 1)), confidence.astype(np.float32), right, right[-1])
    sizes = np.array([1, 2, 4, 8, 16, 32])
    stages = np.tile(0.2 + 0.1 * sizes, (exits + 1, 1))
    heads, gathers = 0.1 * stages, 0.02 * stages
    heads[-1] = gathers[0] = 0
    full = (stages - heads - gathers).sum(axis=0)
    matrix = Matrix((*statistics.exits, 0), tuple(sizes.tolist()), stages, full, heads, gathers)
    return Population(name, statistics, matrix, precision, test)


def table(cells: Sequence[Cell]) -> Table:
    shown = Table("population", "n", "precision", "violations", "naive", "no exit", "cut ÷ best", "best cut", "s")
    for cell in cells:
        shown.add_row(
            cell.population,
            f"{cell.n:,}",
            f"{cell.precision:g}",
            f"{cell.violations} of {len(cell.draws):,}",
            f"{cell.naive_violations / len(cell.draws):.1%}",
            f"{cell.no_exit:.1%}",
            f"{cell.of_best:.3f}",
            f"{cell.best_cut:.1%}",
            f"{cell.seconds:.0f}",
        )
    return shown


def gates(cells: Sequence[Cell]) -> list[Measure]:
    """No cell has more violations than the level allows."""
    return [at_most(f"{_name(c)}: share of violations", c.violations / len(c.draws), MOST_VIOLATIONS) for c in cells]


def measures(cells: Sequence[Cell]) -> list[Measure]:
    """At the largest n most of what there is to gain is gained."""
    largest = max((cell.n for cell in cells), default=0)
    return [at_least(f"{_name(c)}: mean cut ÷ best plan's", c.of_best, BEST_SHARE) for c in cells if c.n == largest]


def _name(cell: Cell) -> str:
    return f"{cell.population}, n = {cell.n:,}, precision {cell.precision:g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--test", default="betting")
    options = parser.parse_args()
    populations = [
        made_up(name, PRECISION, options.test, repairs=repairs)
        for name, repairs in (("made up, few repairs", 0.1), ("made up, many repairs", 0.9))
    ]
    cells = [repeat(each.at(precision), n, options.draws) for each in populations for n, precision in CELLS]
    Console().print(table(cells))
    return conclude("benchmarks.plan.guarantee", gates(cells), measures(cells))


if __name__ == "__main__":
    sys.exit(main())
