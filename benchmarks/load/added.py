"""What a server's Python adds to its engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.load.generator import Floats

MOST_BY_SAMPLE_S, STEP_S = 2e-4, 5e-6


@dataclass(frozen=True)
class Added:
    """As `etbac.planner.simulate` takes it: seconds of a sample's way in, one sample after another, and for how much
    longer each sample of a run keeps its device."""

    beyond_s: float
    by_sample_s: float


def fit(measured: Callable[[int], float], simulated: Callable[[int, Added], float], burst: int) -> Added:
    """What makes the simulator say what was measured of samples by themselves and, as nearly as can be, of bursts.
    Both get how many come at a time, and give their mean latency in seconds."""
    one, several = measured(1), measured(burst)

    def added(by_sample_s: float) -> Added:
        return Added(max(0.0, one - simulated(1, Added(0.0, by_sample_s))), by_sample_s)

    choices = map(added, np.arange(0, MOST_BY_SAMPLE_S, STEP_S).tolist())
    return min(choices, key=lambda each: abs(simulated(burst, each) - several))


def mean_of(latency_s: Floats) -> float:
    """[bursts, samples]: the mean of a burst, in the median one."""
    return float(np.median(latency_s.mean(axis=1)))
