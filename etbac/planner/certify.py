"""The one test on the certify set, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etbac.engine_dir import count_reading, read_readings
from etbac.planner.bootstrap import RESAMPLES
from etbac.planner.candidate import Candidate
from etbac.planner.collect import collect
from etbac.planner.drift import reference_counts
from etbac.planner.evidence import TESTS, CountingTest, Pairs, PrecisionTest
from etbac.planner.goal import Goal
from etbac.planner.guarantee import reading_level
from etbac.planner.samples import SampleSet
from etbac.planner.sequence import Trial, run_sequence
from etbac.planner.statistics import ExitStatistics
from etbac.planner.words import estimated, failed
from etbac.runtime.certificate import made_with
from etbac.runtime.chain import Chain


@dataclass(frozen=True)
class Certification:
    """One reading of a certify set: the levels of all its readings, this one's last, and the candidates in their
    order."""

    goal: Goal
    levels: Sequence[float]
    statistics: ExitStatistics
    set_sha256: str
    trials: Sequence[Trial]

    @property
    def level(self) -> float:
        return self.levels[-1]

    @property
    def reading(self) -> int:
        """From 1."""
        return len(self.levels)

    @property
    def winner(self) -> Trial | None:
        """The fastest of the candidates that passed."""
        passed = [trial for trial in self.trials if trial.passed]
        return min(passed, key=lambda trial: trial.candidate.cost_ms, default=None)

    @property
    def failure(self) -> str:
        """A sentence with what the most cautious plan did and what it would have taken."""
        return failed(self.goal, self.trials[0].pairs, self.level)

    def certificate(self, trial: Trial, chain: Chain) -> dict[str, Any]:
        """What a plan records of its test, and what it was made with; the other tests' figures are information."""
        return {
            **self._reading(trial),
            "n": trial.pairs.n_right,
            "harms": trial.pairs.harms,
            "repairs": trial.pairs.repairs,
            "others": [self._figures(test, trial.pairs) for test in self._others(trial.pairs)],
            "reference": self._reference(trial.candidate),
            **made_with(chain),
        }

    def estimate(self, trial: Trial) -> dict[str, Any]:
        """What a plan records of a bootstrap, which certifies nothing."""
        return {**self._reading(trial), "resamples": RESAMPLES, "ratio": trial.pairs.ratio}

    def estimated(self, trial: Trial) -> str:
        """The same as a sentence."""
        bound = self.goal.test.best_precision(trial.pairs, self.level)
        return estimated(self.goal.metric.name, trial.pairs, bound, self.level)

    def _reading(self, trial: Trial) -> dict[str, Any]:
        units = self.statistics.units
        return {
            "metric": self.goal.metric.name,
            "precision": self.goal.precision,
            "level": self.level,
            "reading": self.reading,
            "levels_summed": min(1.0, sum(self.levels)),
            "samples": self.statistics.n,
            "units": None if units is None else len(np.unique(units)),
            **self._figures(self.goal.test, trial.pairs),
            "sequence": [_outcome(each) for each in self.trials],
            "set_sha256": self.set_sha256,
        }

    def _others(self, pairs: Pairs) -> list[CountingTest]:
        whole = isinstance(pairs.n_right, int) and isinstance(pairs.harms, int)
        return [test for test in TESTS.values() if test is not self.goal.test and (whole or test.fractions)]

    def _reference(self, candidate: Candidate) -> list[int]:
        """What a monitor compares later samples with."""
        left = self.statistics.leaves_with(candidate.thresholds)
        return reference_counts(*left, len(self.statistics.scores))

    def _figures(self, test: PrecisionTest, pairs: Pairs) -> dict[str, Any]:
        return {
            "test": test.name,
            "p_value": test.p_value(pairs, self.goal.precision),
            "best_precision": test.best_precision(pairs, self.level),
        }


def certify(
    chain: Chain,
    samples: SampleSet,
    goal: Goal,
    sequence: Sequence[Candidate],
    progress: Callable[[int], None] = lambda done: None,
    counted_in: Path | None = None,
) -> Certification:
    """Count a reading of the set, in the chain's directory or another one, then read it: every candidate of the fixed
    sequence is tested until one fails."""
    sha256 = samples.sha256
    book, level = counted_in or chain.engine_dir.path, partial(reading_level, goal.delta)
    levels = count_reading(book, samples.counted_as, level, formerly=[sha256])
    statistics = collect(chain, samples, goal.metric, progress)
    trials = run_sequence(sequence, statistics, goal.test, goal.precision, levels[-1])
    return Certification(goal, levels, statistics, sha256, trials)


def next_level(counted_in: Path, samples: SampleSet, delta: float) -> float:
    """The level at which the set's next reading is tested."""
    readings = read_readings(counted_in)
    spent = sum(len(readings.get(name, [])) for name in {samples.counted_as, samples.sha256})
    return reading_level(delta, spent + 1)


def _outcome(trial: Trial) -> dict[str, Any]:
    return {
        "harms": trial.pairs.harms,
        "repairs": trial.pairs.repairs,
        "ratio": trial.pairs.ratio,
        "p_value": trial.p_value,
        "passed": trial.passed,
        "predicted_ms": trial.candidate.cost_ms,
        "thresholds": {str(exit_id): threshold for exit_id, threshold in trial.candidate.thresholds.items()},
    }
