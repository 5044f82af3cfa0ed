"""What is to be certified."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etbac.errors import UsageError
from etbac.metrics import Metric
from etbac.planner.bootstrap import BOOTSTRAP, BootstrapTest
from etbac.planner.evidence import CountingTest, find_test
from etbac.planner.guarantee import check_delta, check_precision
from etbac.planner.statistics import ExitStatistics


@dataclass(frozen=True)
class Goal:
    """`metric` of the chain ÷ that of the full model is at least `precision`, by `test` at level `delta`.

    Raises UsageError where `precision` or `delta` is no number between 0 and 1.
    """

    metric: Metric
    test: CountingTest | BootstrapTest
    precision: float
    delta: float

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_delta(self.delta)

    @staticmethod
    def of(metric: Metric, test: str, precision: float, delta: float) -> Goal:
        """By the test of that name, or by a bootstrap where the metric is no mean of scores; a UsageError for a test
        that cannot be of such a metric."""
        named = find_test(test)
        if metric.is_mean:
            return Goal(metric, named, precision, delta)
        if named.fractions:
            return Goal(metric, BOOTSTRAP, precision, delta)
        raise UsageError(
            f"--test {test} counts answers that are right or wrong, and {metric.name} is no mean of these; leave "
            "--test out: a paired bootstrap is made of it"
        )


def check_test(goal: Goal, statistics: ExitStatistics) -> None:
    """A UsageError where the test is not of such scores."""
    repeated = statistics.units is not None and len(np.unique(statistics.units)) < statistics.n
    if isinstance(goal.test, BootstrapTest) or goal.test.fractions or (statistics.is_right_or_wrong and not repeated):
        return
    why = "several samples are of one unit" if repeated else f"{goal.metric.name} scores each from 0 to 1"
    raise UsageError(
        f"--test {goal.test.name} counts answers that are right or wrong, and {why}; ask for --test betting"
    )
