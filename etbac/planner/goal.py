"""What is to be certified."""

from __future__ import annotations

from dataclasses import dataclass

from etbac.metrics import Metric
from etbac.planner.evidence import PrecisionTest
from etbac.planner.guarantee import check_delta, check_precision


@dataclass(frozen=True)
class Goal:
    """`metric` of the chain ÷ that of the full model is at least `precision`, by `test` at level `delta`.

    Raises UsageError where `precision` or `delta` is no number between 0 and 1.
    """

    metric: Metric
    test: PrecisionTest
    precision: float
    delta: float

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_delta(self.delta)
