"""What the simulator would say of a chain that runs a batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.load.generator import Floats
from etbac.runtime.rebatching import Costs


def simulate_at_a_time(
    costs: Costs, arrivals: Floats, leaves: npt.NDArray[np.int64], beyond_s: float = 0.0, by_sample_s: float = 0.0
) -> tuple[Floats, Floats]:
    """Latencies [n] where answers leave as their exit fires, and where they leave with their batch. All that wait, up
    to the largest batch, go through the chain; then the next. What is added is added as by `planner.simulate`."""
    streamed, at_once = np.empty(len(arrivals)), np.empty(len(arrivals))
    before = beyond_s * np.arange(len(arrivals))
    there = np.maximum.accumulate(arrivals - before) + before + beyond_s
    rng, now, first = np.random.default_rng(0), 0.0, 0
    while first < len(arrivals):
        now = max(now, float(there[first]))
        waiting = int(np.searchsorted(there, now, side="right"))
        batch = np.arange(first, min(waiting, first + costs.max_batch))
        for stage in range(int(leaves[batch].max()) + 1):
            rows = int((leaves[batch] >= stage).sum())
            runs = np.ones(1) if costs.runs is None else costs.runs[stage, rows - 1]
            now += float(costs.seconds[stage, rows - 1] * rng.choice(runs)) + by_sample_s * rows
            left = batch[leaves[batch] == stage]
            streamed[left] = now - arrivals[left]
        at_once[batch] = now - arrivals[batch]
        first = int(batch[-1]) + 1
    return streamed, at_once
