"""What every exit answers on a set of samples: all that the planner knows of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from etbac.metrics import Scores
from etbac.planner.evidence import Pairs, Parts, excess, total

Stages = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ExitStatistics:
    """One set of n samples through the whole chain and through the full model.

    `exits`: ids in the order of the chain. `confidence`: float32 [exits, n]. `scores`: [exits + 1, n], each stage's
    answers under the metric, the last row being the chain's end; bool where they are right or wrong, else float64 in
    [0, 1]. `full_scores`: [n], the same of the full model. `classes`: int64 [n], what to tell samples apart by; None
    where there is nothing. `summaries`: int64 [exits, n], what gates read of earlier exits' predictions; None where no
    gate does. `parts`: chain [exits + 1, n, k]; None where the metric is the mean of the scores. `units`: int64 [n],
    which samples are of one independent unit; None where each is its own.
    """

    exits: tuple[int, ...]
    confidence: npt.NDArray[np.float32]
    scores: Scores
    full_scores: Scores
    classes: npt.NDArray[np.int64] | None = None
    summaries: npt.NDArray[np.int64] | None = None
    parts: Parts | None = None
    units: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.full_scores)
        if self.confidence.shape != (len(self.exits), n) or self.scores.shape != (len(self.exits) + 1, n):
            raise ValueError(f"{self.confidence.shape} confidences, {self.scores.shape} answers, {n} samples")

    @property
    def n(self) -> int:
        return len(self.full_scores)

    @property
    def n_right(self) -> int | float:
        """The full model's scores added up: where these are right or wrong, how many samples it gets right."""
        return total(self.full_scores)

    @property
    def is_right_or_wrong(self) -> bool:
        return bool(self.scores.dtype == np.bool_)

    @property
    def harmful(self) -> Scores:
        """[exits + 1, n]: what leaving there loses of the full model's scores."""
        return excess(self.full_scores, self.scores)

    @property
    def repaired(self) -> Scores:
        """[exits + 1, n]: what leaving there has more than the full model."""
        return excess(self.scores, self.full_scores)

    @cached_property
    def grain(self) -> float:
        """How large a harm is where exits lose least; 1 where answers are right or wrong. See `Pairs`."""
        return 1.0 if self.is_right_or_wrong else min(self.at(place).grain for place in range(len(self.scores)))

    def take(self, rows: npt.NDArray[np.intp]) -> ExitStatistics:
        """Of these samples, also more than once each."""
        classes, units = (None if each is None else each[rows] for each in (self.classes, self.units))
        return ExitStatistics(
            self.exits,
            self.confidence[:, rows],
            self.scores[:, rows],
            self.full_scores[rows],
            classes,
            None if self.summaries is None else self.summaries[:, rows],
            None if self.parts is None else self.parts.take(rows),
            units,
        )

    def leaves_at(self, thresholds: Mapping[int, float]) -> Stages:
        """[n]: the stage (0-based) where each sample leaves; an exit without a threshold lets nobody go."""
        limits = np.array([[thresholds.get(exit_id, np.inf)] for exit_id in self.exits], np.float32).reshape(-1, 1)
        fires = (self.confidence >= limits) & (limits < np.inf)
        fires = np.concatenate([fires, np.ones((1, self.n), bool)])
        stage: Stages = fires.argmax(axis=0)
        return stage

    def leaves_with(self, thresholds: Mapping[int, float]) -> tuple[Stages, npt.NDArray[np.float32]]:
        """[n] and [n]: the stage where each sample leaves, and its confidence there, NaN at the end of the chain."""
        stage = self.leaves_at(thresholds)
        confidence = np.vstack([self.confidence, np.full((1, self.n), np.nan, np.float32)])
        return stage, confidence[stage, np.arange(self.n)]

    def pairs(self, thresholds: Mapping[int, float]) -> Pairs:
        """The chain's scores with these thresholds, and the full model's."""
        return self.at(self.leaves_at(thresholds))

    def at(self, stage: Stages | int) -> Pairs:
        """Of answers given at `stage`, one for all samples or [n]."""
        rows, parts = np.arange(self.n), self.parts
        if parts is not None:
            parts = replace(parts, chain=parts.chain[stage, rows])
        return Pairs(self.scores[stage, rows], self.full_scores, parts, self.units)

    def replay(self, thresholds: Mapping[int, float]) -> Replay:
        """What the chain would do on these samples with these thresholds."""
        stage = self.leaves_at(thresholds)
        return Replay(self.at(stage), np.bincount(stage, minlength=len(self.exits) + 1))


@dataclass(frozen=True)
class Replay:
    """What the chain scores, and how many samples leave at each stage (int [stages], the last being the end of the
    chain)."""

    pairs: Pairs
    leaving: npt.NDArray[np.int64]

    @property
    def precision(self) -> float:
        """The chain's metric ÷ the full model's on these samples; NaN where that is not above 0."""
        return self.pairs.ratio

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
