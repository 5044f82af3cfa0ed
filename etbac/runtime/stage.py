"""One stage of a running chain: an engine and the contract that its inputs and outputs keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array, Runner, Tensor
from etbac.contract import CONFIDENCE, EXIT_MASK, KEEP, THRESHOLD, SegmentContract


@dataclass(frozen=True)
class Outputs:
    """What a stage gave for its `rows` rows; nothing is brought from the device before it is asked for.

    The last stage has no gate: everybody leaves there, with NaN for a confidence.
    """

    rows: int
    fields: Sequence[Tensor]
    gate: Sequence[Tensor]
    boundary: Sequence[Tensor]

    def predictions(self) -> list[Array]:
        """An array for each field."""
        return [np.asarray(tensor) for tensor in self.fields]

    def confidence(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.gate[0]) if self.gate else np.full(self.rows, np.nan, np.float32)

    def exit_mask(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.gate[1]) if self.gate else np.ones(self.rows, np.bool_)


class Stage:
    """Runs one segment; thread-safe if its runner is."""

    def __init__(self, contract: SegmentContract, runner: Runner) -> None:
        self.inputs = tuple(spec.name for spec in contract.inputs)
        self._is_first, self._is_last = contract.is_first, contract.is_last
        self._runner = runner
        self._boundary = tuple(spec.name for spec in contract.boundary)
        predictions = tuple(spec.name for spec in contract.predictions.values())
        self._fields = len(predictions)
        gate = () if contract.is_last else (CONFIDENCE, EXIT_MASK)
        self._before_boundary = len(predictions) + len(gate)
        self._all = (*predictions, *gate, *self._boundary)

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
