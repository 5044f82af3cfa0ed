"""What a batch is expected to cost, by the exits that are used and the samples that survive each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from etbac.planner.prediction import binomial_weights
from etbac.profiles.matrix import Floats, Matrix


@dataclass(frozen=True)
class Prices:
    """Milliseconds of a batch, in tables over how many of n samples reach a stage.

    `merged` [stages + 1, n + 1]: at [k, s], the first k stages alone, each run by s samples. `heads` and `cuts`
    [exits, n + 1]: what using an exit adds, its head and gate to the stage that it ends, and to the next what it costs
    to begin there, its engine and beyond.
    An exit that is left out costs nothing: its stage and the next one are one segment. `runs` [stages, n + 1, runs],
    where one batch is priced: single runs of each stage ÷ their median.
    """

    merged: Floats
    heads: Floats
    cuts: Floats
    runs: Floats | None = None

    @staticmethod
    def expected(matrix: Matrix, batch: int, n: int) -> Prices:
        """Of batches of random composition, when s of n samples reach a stage."""
        return Prices._of(matrix, batch, binomial_weights(batch, np.arange(n + 1) / n))

    @staticmethod
    def exactly(matrix: Matrix, batch: int) -> Prices:
        """Of one batch, when s of its samples reach a stage."""
        return replace(Prices._of(matrix, batch, np.eye(batch + 1)), runs=matrix.runs_at(batch))

    @staticmethod
    def whole(stages: Floats) -> Prices:
        """[stages, n + 1] with heads and cuts that are not known apart: leaving an exit out saves nothing."""
        nothing = np.zeros((len(stages) - 1, stages.shape[1]))
        return Prices(_merged(stages), nothing, nothing)

    @staticmethod
    def _of(matrix: Matrix, batch: int, weights: Floats) -> Prices:
        beyond = matrix.beyond_at(batch)
        stages = (matrix.stages_at(batch) + beyond) @ weights
        if matrix.head_ms is None or matrix.cut_ms is None:
            return Prices.whole(stages)
        beyond[0] = 0
        heads = matrix.padded_at(matrix.head_ms, batch) @ weights
        cuts = (matrix.padded_at(matrix.cut_ms, batch) + beyond) @ weights
        return Prices(_merged(stages - heads - cuts), heads[:-1], cuts[1:])

    @property
    def end(self) -> int:
        """The last stage's place."""
        return len(self.heads)

    def at(self, survivors: npt.NDArray[np.intp]) -> Prices:
        """Tables over these numbers of survivors alone, for as many fewer samples."""
        return Prices(self.merged[:, survivors], self.heads[:, survivors], self.cuts[:, survivors])

    def total(self, survivors: npt.NDArray[np.int64], used: Sequence[int]) -> Floats:
        """[…]: the whole chain with the exits at these places, when `survivors` […, stages] reach each stage."""
        segments = zip([-1, *used], [*used, self.end], strict=True)
        cost = sum(self.segment(before, place)[survivors[..., before + 1]] for before, place in segments)
        return np.asarray(cost, np.float64)

    def drawn(self, survivors: npt.NDArray[np.int64], used: Sequence[int], rng: np.random.Generator) -> Floats:
        """[draws]: as `total`, survivors [draws, stages], of `exactly`: every segment takes a single run's time.

        All segments of a batch take theirs from the same part of the measurement: what slows the machine for a while
        slows them together.
        """
        if self.runs is None:
            return self.total(survivors, used)
        moment = rng.integers(0, self.runs.shape[2], len(survivors))
        cost = np.zeros(len(survivors))
        for before, place in zip([-1, *used], [*used, self.end], strict=True):
            rows = survivors[:, before + 1]
            cost += self.segment(before, place)[rows] * self.runs[place, rows, moment]
        return cost

    def segment(self, before: int, place: int) -> Floats:
        """[n + 1]: the segment from behind the exit at `before` (-1: from the beginning) to the one at `place`."""
        cost: Floats = self.merged[place + 1] - self.merged[before + 1]
        if place < self.end:
            cost = cost + self.heads[place]
        return cost if before < 0 else cost + self.cuts[before]


def _merged(stages: Floats) -> Floats:
    return np.concatenate([np.zeros((1, stages.shape[1])), stages.cumsum(axis=0)])
