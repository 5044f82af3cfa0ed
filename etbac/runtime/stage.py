"""One stage of a running chain: an engine and the contract that its inputs and outputs keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array, Runner, Tensor
from etbac.contract import CONFIDENCE, EXIT_MASK, KEEP, THRESHOLD, SegmentContract


class Outputs(NamedTuple):
    """What a stage gave for its first `rows` rows; nothing is brought from the device before it is asked for.

    Behind these the tensors may have rows of fillers; the boundary keeps them, and no `keep` names them. The last stage
    has no gate: everybody leaves there, with NaN for a confidence.
    """

    rows: int
    fields: Sequence[Tensor]
    gate: Sequence[Tensor]
    boundary: Sequence[Tensor]

    def predictions(self) -> list[Array]:
        """An array for each field."""
        return [np.asarray(tensor)[: self.rows] for tensor in self.fields]

    def confidence(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.gate[0])[: self.rows] if self.gate else np.full(self.rows, np.nan, np.float32)

    def exit_mask(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.gate[1])[: self.rows] if self.gate else np.ones(self.rows, np.bool_)

    def first(self, rows: int) -> Outputs:
        """Of the first `rows` alone."""
        return self._replace(rows=rows)


class Stage:
    """Runs one segment; thread-safe if its runner is.

    `padding`: rows that reach it -> the larger number that it runs; the first stage runs what the chain is given.
    """

    def __init__(self, contract: SegmentContract, runner: Runner, padding: Mapping[int, int] | None = None) -> None:
        self.inputs = tuple(spec.name for spec in contract.inputs)
        self._is_first, self._is_last = contract.is_first, contract.is_last
        self._runner = runner
        self._padding = {} if padding is None or contract.is_first else padding
        self._boundary = tuple(spec.name for spec in contract.boundary)
        predictions = tuple(spec.name for spec in contract.predictions.values())
        self._fields = len(predictions)
        gate = () if contract.is_last else (CONFIDENCE, EXIT_MASK)
        self._before_boundary = len(predictions) + len(gate)
        self._all = (*predictions, *gate, *self._boundary)

    def padded(self, keep: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`keep` with fillers behind it, which repeat its first row, where a larger batch is faster."""
        rows = self._padding.get(len(keep), len(keep))
        return keep if rows == len(keep) else np.concatenate([keep, np.repeat(keep[:1], rows - len(keep))])

    def run(self, carried: Sequence[Tensor], keep: npt.NDArray[np.int64], threshold: float) -> Outputs:
        """Answer the rows `keep` of the boundary `carried` (the first stage: all rows of the model's inputs)."""
        results = self._runner.run(self._feed(carried, keep, threshold), self._all)
        boundary = self._before_boundary
        return Outputs(len(keep), results[: self._fields], results[self._fields : boundary], results[boundary:])

    def pass_on(self, carried: Sequence[Tensor], keep: npt.NDArray[np.int64]) -> Sequence[Tensor]:
        """The boundary of those rows alone, where nobody leaves."""
        return self._runner.run(self._feed(carried, keep, np.inf), self._boundary)

    def _feed(self, carried: Sequence[Tensor], keep: npt.NDArray[np.int64], threshold: float) -> dict[str, Tensor]:
        feed = dict(zip(self.inputs, carried, strict=True))
        if not self._is_first:
            feed[KEEP] = keep
        if not self._is_last:
            feed[THRESHOLD] = np.array(threshold, np.float32)
        return feed
