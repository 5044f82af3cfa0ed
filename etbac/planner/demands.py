"""What a plan must keep on the search set besides the precision: the tail of its latency, its heads' memory, and every
class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etbac.planner.memory import UNLIMITED, Memory
from etbac.planner.prices import Prices
from etbac.planner.statistics import ExitStatistics

DRAWS = 4_000
TAIL = 0.99


def tail_ms(prices: Prices, shares: npt.NDArray[np.float64], used: Sequence[int]) -> float:
    """The 99th percentile over batches of random composition (`prices`: of one batch, `Prices.exactly`) whose segments
    each take the time of a single run that was measured; `shares` of all samples leave at each stage."""
    rng = np.random.default_rng(0)
    leaving = rng.multinomial(prices.merged.shape[1] - 1, shares, DRAWS)
    survivors = leaving[:, ::-1].cumsum(axis=1)[:, ::-1]
    return float(np.quantile(prices.drawn(survivors, used, rng), TAIL))


@dataclass(frozen=True)
class Demands:
    """`most_ms`: what the 99th percentile of a batch's predicted latency may be; `class_precision`: what every class's
    precision must be at least; None: nothing is asked. `memory`: what the exits' heads may take. `prices` are of one
    batch, `Prices.exactly`."""

    statistics: ExitStatistics
    prices: Prices
    most_ms: float | None = None
    class_precision: float | None = None
    memory: Memory = UNLIMITED

    def met_by(self, thresholds: Mapping[int, float]) -> bool:
        return self.memory.holds(thresholds) and self.in_time(thresholds) and not self.classes_below(thresholds).size

    def in_time(self, thresholds: Mapping[int, float]) -> bool:
        return self.most_ms is None or self.tail_ms(thresholds) <= self.most_ms

    def tail_ms(self, thresholds: Mapping[int, float]) -> float:
        """The 99th percentile of a batch's latency, of a chain that is built with these exits alone."""
        used = [place for place, exit_id in enumerate(self.statistics.exits) if exit_id in thresholds]
        return tail_ms(self.prices, self.statistics.replay(thresholds).shares, used)

    def classes_below(self, thresholds: Mapping[int, float]) -> npt.NDArray[np.int64]:
        """The classes that have not the precision asked for."""
        classes, ratios = self.class_precisions(thresholds)
        if self.class_precision is None:
            return classes[:0]
        return classes[ratios < self.class_precision]

    def class_precisions(
        self, thresholds: Mapping[int, float]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Classes of which the full model gets some right, and the chain's metric ÷ the full model's on each."""
        statistics = self.statistics
        if statistics.classes is None:
            return np.zeros(0, np.int64), np.zeros(0)
        pairs = statistics.pairs(thresholds)
        names, place = np.unique(statistics.classes, return_inverse=True)
        full, chain = (np.bincount(place, each, len(names)) for each in (pairs.full, pairs.chain))
        return names[full > 0], chain[full > 0] / full[full > 0]
