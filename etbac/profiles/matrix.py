"""The inference time matrix as numbers: latency of every stage and of the full model, by batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WORTH_PADDING = 0.05
"""Share of a stage's latency that a larger batch must spare at least."""


@dataclass(frozen=True)
class Matrix:
    """Median latencies in milliseconds at the batch sizes that were measured.

    `stages`: exit ids in the order of the chain, the last stage's being 0. `stage_ms` [stages, sizes] and `full_ms`
    [sizes] are float64; `batch_sizes` ascend. `head_ms` and `cut_ms` [stages, sizes], where they were measured: what
    a stage's head and gate cost, and that it begins behind an exit, not within an engine: its gather, and its share of
    what the stages take longer than the full model besides; 0 for the last stage's head and the first's beginning.
    `entry_ms` and `step_ms` [sizes], by the size of the batch: what it costs beyond the engines that it runs, if that
    is the first stage alone, and for each stage more. `runs` [stages, sizes, runs] and `full_runs` [sizes, runs]:
    single runs ÷ their median, in the order of their making.
    `noise`: spread of a typical timing; a larger batch must spare more than that.
    """

    stages: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    stage_ms: Floats
    full_ms: Floats
    head_ms: Floats | None = None
    cut_ms: Floats | None = None
    entry_ms: Floats | None = None
    step_ms: Floats | None = None
    runs: Floats | None = None
    full_runs: Floats | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.stage_ms.shape != (len(self.stages), len(self.batch_sizes)):
            raise ValueError(f"stage_ms is {self.stage_ms.shape} for {len(self.stages)} stages at {self.batch_sizes}")
        if self.full_ms.shape != (len(self.batch_sizes),) or list(self.batch_sizes) != sorted(set(self.batch_sizes)):
            raise ValueError("full_ms needs one figure a batch size, and batch sizes must ascend")

    def with_exits(self, exits: Sequence[int]) -> Matrix:
        """Of a chain that is built with these exits alone, all of whose heads every batch pays for.

        Raises ValueError where heads and cuts were not measured apart.
        """
        if self.head_ms is None or self.cut_ms is None:
            raise ValueError("what an exit costs was not measured apart from its stage")
        kept = [place for place, exit_id in enumerate(self.stages) if exit_id in exits or place == len(self.stages) - 1]
        first = [0, *(place + 1 for place in kept[:-1])]
        bare = np.add.reduceat(self.stage_ms - self.head_ms - self.cut_ms, first, axis=0)
        return replace(
            self,
            stages=tuple(self.stages[place] for place in kept),
            stage_ms=bare + self.head_ms[kept] + self.cut_ms[first],
            head_ms=None,
            cut_ms=None,
            runs=None if self.runs is None else self.runs[kept],
        )

    def stages_at(self, largest: int) -> Floats:
        """[stages, largest + 1]: each stage when 0 (costs nothing: it does not run) to `largest` rows reach it."""
        return self.padded_at(self.stage_ms, largest)

    def padded_at(self, rows: Floats, largest: int) -> Floats:
        """[stages, largest + 1]: a figure of each stage when 0 to `largest` rows reach it, padded as it is to be."""
        each = self.at(rows, max(largest, self.batch_sizes[-1]))
        return np.take_along_axis(each, self.padded(largest), axis=1)

    def padded(self, largest: int) -> npt.NDArray[np.int64]:
        """[stages, largest + 1]: how many rows each stage is to run when 0 to `largest` reach it.

        That is the fastest of the sizes measured above, where it spares more than `WORTH_PADDING` and the noise; else
        just as many. The first stage runs what the chain is given.
        """
        reach, measured = np.arange(largest + 1), np.array(self.batch_sizes)
        above = np.minimum(np.searchsorted(measured, reach), len(measured) - 1)
        limit = 1 - max(WORTH_PADDING, self.noise)
        rows = np.tile(reach, (len(self.stages), 1))
        for row, latency in zip(rows[1:], self.stage_ms[1:], strict=True):
            fastest = np.array([k + latency[k:].argmin() for k in range(len(measured))])[above]
            spares = latency[fastest] < limit * self._at(latency, reach)
            row[spares] = np.maximum(measured[fastest], reach)[spares]
        return rows

    def at(self, rows: Floats, largest: int) -> Floats:
        """[rows, largest + 1]: rows that were measured at `batch_sizes`, at batch sizes 0 to `largest`."""
        return np.stack([self._at(row, np.arange(largest + 1)) for row in rows])

    def beyond_at(self, batch: int) -> Floats:
        """[stages, batch + 1]: what each stage that runs costs a batch of this size beyond its engine."""
        each = np.zeros((len(self.stages), batch + 1))
        if self.entry_ms is not None and self.step_ms is not None:
            each[0, 1:] = np.interp(batch, self.batch_sizes, self.entry_ms)
            each[1:, 1:] = np.interp(batch, self.batch_sizes, self.step_ms)
        return each

    def runs_at(self, largest: int) -> Floats:
        """[stages, largest + 1, runs]: single runs ÷ their median, of the nearest size that was measured."""
        if self.runs is None:
            return np.ones((len(self.stages), largest + 1, 1))
        return self.runs[:, self._nearest(np.arange(largest + 1))]

    def full_runs_at(self, largest: int) -> Floats:
        """[1, largest + 1, runs]: the same of the full model."""
        if self.full_runs is None:
            return np.ones((1, largest + 1, 1))
        return self.full_runs[None, self._nearest(np.arange(largest + 1))]

    def full_at(self, batch: int) -> float:
        """The full model at one batch size."""
        return float(self._at(self.full_ms, np.array([batch]))[0])

    def full_quantile(self, batch: int, q: float) -> float:
        """A quantile of the full model's single runs at one batch size."""
        if self.full_runs is None:
            return self.full_at(batch)
        return self.full_at(batch) * float(np.quantile(self.full_runs[self._nearest(np.array([batch]))[0]], q))

    def chain_at(self, sizes: npt.ArrayLike) -> float:
        """The sum over the stages at the sizes that they had; a stage of size 0 did not run."""
        each = np.asarray(sizes)
        return float(sum(self._at(row, each[k : k + 1])[0] for k, row in enumerate(self.stage_ms)))

    def _nearest(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Places of the measured sizes nearest to these."""
        nearest: npt.NDArray[np.intp] = np.abs(np.subtract.outer(sizes, self.batch_sizes)).argmin(axis=1)
        return nearest

    def _at(self, row: Floats, sizes: npt.NDArray[np.int64]) -> Floats:
        """Linear between the sizes measured and, beyond the largest, in proportion to the size."""
        last = self.batch_sizes[-1]
        inside = np.interp(np.minimum(sizes, last), self.batch_sizes, row)
        latency: Floats = np.where(sizes > 0, inside * np.maximum(sizes, last) / last, 0.0)
        return latency
