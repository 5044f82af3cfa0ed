"""What every exit answers on a set of samples: all that the planner knows of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etbac.planner.evidence import Pairs

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ExitStatistics:
    """One set of n samples through the whole chain and through the full model.

    `exits`: ids in the order of the chain. `confidence`: float32 [exits, n]. `right`: bool [exits + 1, n], whether
    each stage's answer counts under the metric, the last row being the chain's end. `full_right`: bool [n], the same
    of the full model. `classes`: int64 [n], what to tell samples apart by; None where there is nothing. `summaries`:
    int64 [exits, n], what gates read of earlier exits' predictions; None where no gate does.
    """

    exits: tuple[int, ...]
    confidence: npt.NDArray[np.float32]
    right: Bools
    full_right: Bools
    classes: npt.NDArray[np.int64] | None = None
    summaries: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.full_right)
        if self.confidence.shape != (len(self.exits), n) or self.right.shape != (len(self.exits) + 1, n):
            raise ValueError(f"{self.confidence.shape} confidences, {self.right.shape} answers, {n} samples")

    @property
    def n(self) -> int:
        return len(self.full_right)

    @property
    def n_right(self) -> int:
        """Samples that the full model gets right."""
        return int(self.full_right.sum())

    @property
    def harmful(self) -> Bools:
        """[exits + 1, n]: leaving there loses an answer that the full model gets right."""
        return self.full_right & ~self.right

    def take(self, rows: npt.NDArray[np.intp]) -> ExitStatistics:
        """Of these samples, also more than once each."""
        classes = None if self.classes is None else self.classes[rows]
        summaries = None if self.summaries is None else self.summaries[:, rows]
        return ExitStatistics(
            self.exits, self.confidence[:, rows], self.right[:, rows], self.full_right[rows], classes, summaries
        )

    def leaves_at(self, thresholds: Mapping[int, float]) -> npt.NDArray[np.intp]:
        """[n]: the stage (0-based) where each sample leaves; an exit without a threshold lets nobody go."""
        limits = np.array([[thresholds.get(exit_id, np.inf)] for exit_id in self.exits], np.float32).reshape(-1, 1)
        fires = (self.confidence >= limits) & (limits < np.inf)
        fires = np.concatenate([fires, np.ones((1, self.n), bool)])
        stage: npt.NDArray[np.intp] = fires.argmax(axis=0)
        return stage

    def leaves_with(self, thresholds: Mapping[int, float]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """[n] and [n]: the stage where each sample leaves, and its confidence there, NaN at the end of the chain."""
        stage = self.leaves_at(thresholds)
        confidence = np.vstack([self.confidence, np.full((1, self.n), np.nan, np.float32)])
        return stage, confidence[stage, np.arange(self.n)]

    def pairs(self, thresholds: Mapping[int, float]) -> Pairs:
        """The chain's rightness with these thresholds, and the full model's."""
        return Pairs(self.right[self.leaves_at(thresholds), np.arange(self.n)], self.full_right)

    def replay(self, thresholds: Mapping[int, float]) -> Replay:
        """What the chain would do on these samples with these thresholds."""
        stage = self.leaves_at(thresholds)
        pairs = Pairs(self.right[stage, np.arange(self.n)], self.full_right)
        return Replay(
            harms=pairs.harms,
            repairs=pairs.repairs,
            right=int(pairs.chain_right.sum()),
            n_right=self.n_right,
            leaving=np.bincount(stage, minlength=len(self.exits) + 1),
        )


@dataclass(frozen=True)
class Replay:
    """Counts of samples: `harms` among the `n_right` that the full model gets right, `repairs` among the others,
    `right` by the chain, and how many leave at each stage (int [stages], the last being the end of the chain)."""

    harms: int
    repairs: int
    right: int
    n_right: int
    leaving: npt.NDArray[np.int64]

    @property
    def precision(self) -> float:
        """The chain's metric ÷ the full model's on these samples; NaN where the full model gets none right."""
        return self.right / self.n_right if self.n_right else float("nan")

    @property
    def survivors(self) -> npt.NDArray[np.int64]:
        """Samples that each stage runs, int [stages]."""
        survivors: npt.NDArray[np.int64] = self.leaving[::-1].cumsum()[::-1]
        return survivors

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Share of samples that leave at each stage."""
        shares: npt.NDArray[np.float64] = self.leaving / self.leaving.sum()
        return shares
