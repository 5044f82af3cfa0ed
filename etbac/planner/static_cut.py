"""The baseline without a gate: every sample leaves at one exit."""

from __future__ import annotations

from dataclasses import dataclass

from etbac.planner.evidence import PrecisionTest
from etbac.planner.prices import Prices
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix


@dataclass(frozen=True)
class StaticCut:
    """Everybody leaves at `exit_id`; `precision` is of the samples that chose it."""

    exit_id: int
    precision: float

    def latency(self, matrix: Matrix, batch: int) -> float:
        """Predicted milliseconds of a batch: all stages up to the exit, less the heads between if they are known."""
        return float(Prices.exactly(matrix, batch).segment(-1, matrix.stages.index(self.exit_id))[batch])


def static_cut(statistics: ExitStatistics, precision: float, delta: float, test: PrecisionTest) -> StaticCut | None:
    """The earliest exit at which everybody can leave and these samples pass the test at level `delta`.

    Each exit is tested as if it were the only one, on the samples that choose it: that favours the cut. A metric that
    is no mean of scores has no test; there the ratio on these samples must be the precision, as it is for plans. None
    where not one passes.
    """
    for place, exit_id in enumerate(statistics.exits):
        pairs = statistics.at(place)
        if pairs.parts is not None:
            passes = pairs.ratio >= precision
        else:
            passes = bool(pairs.n_right) and test.p_value(pairs.by_unit(), precision) <= delta
        if passes:
            return StaticCut(exit_id, pairs.ratio)
    return None
