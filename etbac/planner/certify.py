"""The one test on the certify set, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etbac.engine_dir import count_reading, read_readings
from etbac.planner.chance import Ahead
from etbac.planner.choices import Choices
from etbac.planner.collect import collect
from etbac.planner.drift import reference_counts
from etbac.planner.evidence import TESTS, Pairs, PrecisionTest
from etbac.planner.goal import Goal
from etbac.planner.guarantee import reading_level
from etbac.planner.samples import SampleSet
from etbac.planner.search import Candidate
from etbac.planner.sequence import Trial, run_sequence
from etbac.planner.statistics import ExitStatistics
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
        test, pairs = self.goal.test, self.trials[0].pairs
        return (
            f"precision {self.goal.precision:g} is not certified at {confidence(self.level)} confidence: of "
            f"{pairs.n:,} samples, {pairs.n_right:,} of them right by the full model, the most cautious plan loses "
            f"{pairs.harms:,} and repairs {pairs.repairs:,} ({_possible(test, pairs, self.goal.precision, self.level)})"
        )

    def certificate(self, trial: Trial, chain: Chain) -> dict[str, Any]:
        """What a plan records of its test, and what it was made with; the other tests' figures are information."""
        others = [test for name, test in TESTS.items() if name != self.goal.test.name]
        return {
            "metric": self.goal.metric.name,
            "precision": self.goal.precision,
            "level": self.level,
            "reading": self.reading,
            "levels_summed": min(1.0, sum(self.levels)),
            "samples": self.statistics.n,
            "n": trial.pairs.n_right,
            "harms": trial.pairs.harms,
            "repairs": trial.pairs.repairs,
            **self._figures(self.goal.test, trial.pairs),
            "others": [self._figures(test, trial.pairs) for test in others],
            "sequence": [_outcome(each) for each in self.trials],
            "set_sha256": self.set_sha256,
            "reference": self._reference(trial.candidate),
            **made_with(chain),
        }

    def _reference(self, candidate: Candidate) -> list[int]:
        """What a monitor compares later samples with."""
        left = self.statistics.leaves_with(candidate.thresholds)
        return reference_counts(*left, len(self.statistics.right))

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


def not_likely(ahead: Ahead, choices: Choices) -> str:
    """The sentence for a set that is not worth reading: no plan is likely to be certified with it."""
    test, precision, level, n_right = ahead.test, ahead.precision, ahead.level, ahead.n_right
    unharmed = Pairs(np.ones(n_right, bool), np.ones(n_right, bool))
    asked = f"precision {precision:g} at {confidence(level)} confidence"
    if test.p_value(unharmed, precision) > level:
        needed = test.right_needed(precision, level)
        return (
            f"{ahead.n:,} samples, about {n_right:,} of them right by the full model, cannot certify {asked}, not even "
            f"of a plan that loses none: the {test.name} test needs {needed:,} that are right, and of {n_right:,} "
            f"certifies {floored(test.best_precision(unharmed, level))}"
        )
    most = max((choice.candidate for choice in choices.plans), key=lambda each: each.net)
    pairs = choices.statistics.pairs(most.thresholds)
    return (
        f"{ahead.n:,} samples are unlikely to certify {asked}: of the search set's {pairs.n:,} the most cautious plan "
        f"loses {pairs.harms:,} and repairs {pairs.repairs:,} ({_possible(test, pairs, precision, level)}); the "
        "certify set was not read"
    )


def _possible(test: PrecisionTest, pairs: Pairs, precision: float, level: float) -> str:
    """What is certified with pairs like these, and how many of them would do."""
    needed = test.samples_needed(pairs, precision, level)
    number = "no number of" if needed is None else f"about {needed:,}"
    best = floored(test.best_precision(pairs, level))
    return f"{best} is what the {test.name} test certifies; {number} samples would certify it at these rates"


def confidence(level: float) -> str:
    """0.05 -> 95%."""
    return f"{100 * (1 - level):.4g}%"


def floored(precision: float) -> str:
    """Four digits, never rounded up."""
    return f"{int(precision * 10_000) / 10_000:.4f}"


def _outcome(trial: Trial) -> dict[str, Any]:
    return {
        "harms": trial.pairs.harms,
        "repairs": trial.pairs.repairs,
        "p_value": trial.p_value,
        "passed": trial.passed,
        "predicted_ms": trial.candidate.cost_ms,
        "thresholds": {str(exit_id): threshold for exit_id, threshold in trial.candidate.thresholds.items()},
    }
