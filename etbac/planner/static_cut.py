"""The baseline without a gate: every sample leaves at one exit."""

from __future__ import annotations

from dataclasses import dataclass

from etbac.planner.guarantee import exact_test
from etbac.planner.prices import Prices
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix


@dataclass(frozen=True)
class StaticCut:
    """Everybody leaves at `exit_id`. `precision` and `harms` are of the samples that chose it."""

    exit_id: int
    precision: float
    harms: int
    n_right: int

    def latency(self, matrix: Matrix, batch: int) -> float:
        """Predicted milliseconds of a batch: all stages up to the exit, less the heads between if they are known."""
        return float(Prices.exactly(matrix, batch).segment(-1, matrix.stages.index(self.exit_id))[batch])


def static_cut(statistics: ExitStatistics, precision: float, delta: float) -> StaticCut | None:
    """The earliest exit at which everybody can leave with `precision` certified by the exact test at level `delta`.

    Exits are tested from the deepest to the earliest, in that fixed sequence, and the first that fails ends it, so the
    level holds for all of them together. None where not even the deepest exit passes.
    """
    best = None
    n_right = statistics.n_right
    for e in reversed(range(len(statistics.exits))):
        harms = int(statistics.harmful[e].sum())
        if exact_test(n_right, harms, precision) > delta:
            break
        ratio = int(statistics.right[e].sum()) / n_right
        best = StaticCut(statistics.exits[e], ratio, harms, n_right)
    return best
