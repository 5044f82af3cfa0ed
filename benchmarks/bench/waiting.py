"""Early exit without compaction: the chain's engines on the whole batch, until its slowest sample is sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etbac.backends.interface import Array, Tensor
from etbac.profiles.race import Batch
from etbac.runtime.chain import Chain
from etbac.runtime.exits import ALWAYS, resolve


class WaitingChain:
    """Answers as the chain does: each sample has the answer of the first exit that was sure of it."""

    def __init__(self, chain: Chain, thresholds: Mapping[int, float]) -> None:
        self._stages = chain.stages
        self._thresholds = (*resolve(thresholds, chain.exits, None), ALWAYS)

    def __call__(self, batch: Batch) -> Array:
        carried: Sequence[Tensor] = [batch[name] for name in self._stages[0].inputs]
        rows = np.arange(carried[0].shape[0])
        waiting = np.ones(len(rows), np.bool_)
        answer: Array | None = None
        for stage, threshold in zip(self._stages, self._thresholds, strict=True):
            given = stage.run(carried, rows, threshold)
            (prediction,) = given.predictions()
            answer = prediction.copy() if answer is None else answer
            answer[waiting] = prediction[waiting]
            waiting &= ~given.exit_mask()
            if not waiting.any():
                break
            carried = given.boundary
        assert answer is not None
        return answer
