"""One stage of a running chain: an engine and the contract that its inputs and outputs keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array, Runner
from etbac.contract import CONFIDENCE, EXIT_MASK, KEEP, THRESHOLD, SegmentContract


@dataclass(frozen=True)
class Outputs:
    """What a stage gave for its K rows: a tensor for each field, the gate's answers, the boundary.

    The last stage has no gate: everybody leaves there, with NaN for a confidence.
    """

    predictions: Sequence[Array]
    confidence: npt.NDArray[np.float32]
    exit_mask: npt.NDArray[np.bool_]
    boundary: Sequence[Array]


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
        self._all = (*predictions, *gate, *self._boundary)

    def run(self, carried: Sequence[Array], keep: npt.NDArray[np.int64], threshold: float) -> Outputs:
        """Answer the rows `keep` of the boundary `carried` (the first stage: all rows of the model's inputs)."""
        results = self._runner.run(self._feed(carried, keep, threshold), self._all)
        predictions, others = results[: self._fields], results[self._fields :]
        if self._is_last:
            return Outputs(predictions, np.full(len(keep), np.nan, np.float32), np.ones(len(keep), np.bool_), ())
        return Outputs(predictions, others[0], others[1], others[2:])

    def pass_on(self, carried: Sequence[Array], keep: npt.NDArray[np.int64]) -> Sequence[Array]:
        """The boundary of those rows alone, where nobody leaves."""
        return self._runner.run(self._feed(carried, keep, np.inf), self._boundary)

    def _feed(self, carried: Sequence[Array], keep: npt.NDArray[np.int64], threshold: float) -> dict[str, Array]:
        feed = dict(zip(self.inputs, carried, strict=True))
        if not self._is_first:
            feed[KEEP] = keep
        if not self._is_last:
            feed[THRESHOLD] = np.array(threshold, np.float32)
        return feed
