"""Timing many calls against each other, fairly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key")
Milliseconds = npt.NDArray[np.float64]

WARM_UPS = 2
LEAST_ROUNDS = 5
MOST_ROUNDS = 2_000
KEPT = 200
STEADY_RUNS, STEADY_S = 9, 0.25


@dataclass(frozen=True)
class Timing:
    """One call's latency in milliseconds over `count` runs.

    `spread`: distance between the quartiles ÷ the median. `error`: half the width of the median's 95% confidence
    interval ÷ the median, from order statistics (Conover, Practical Nonparametric Statistics, section 3.2). `samples`:
    single runs, in the order of their making, at most KEPT of them, evenly taken.
    """

    median_ms: float
    p95_ms: float
    p99_ms: float
    spread: float
    error: float
    count: int
    samples: tuple[float, ...] = ()

    @staticmethod
    def of(samples: Milliseconds) -> Timing:
        low, median, high, p95, p99 = (float(value) for value in np.percentile(samples, [25, 50, 75, 95, 99]))
        evenly = np.linspace(0, len(samples) - 1, min(KEPT, len(samples))).round().astype(np.int64)
        kept = tuple(round(float(value), 4) for value in np.asarray(samples)[evenly])
        return Timing(median, p95, p99, (high - low) / median, relative_error(samples), len(samples), kept)

    @property
    def runs(self) -> Milliseconds:
        """[KEPT]: the single runs ÷ their median, in their order; the same more than once where fewer were made."""
        kept: Milliseconds = np.array(self.samples or (self.median_ms,))
        places = np.linspace(0, len(kept) - 1, KEPT).round().astype(np.int64)
        ratios: Milliseconds = kept[places] / self.median_ms
        return ratios


def relative_error(samples: Milliseconds) -> float:
    """Half the width of the median's 95% interval ÷ the median; infinite where too few samples bound it."""
    n = len(samples)
    reach = 0.98 * math.sqrt(n)
    first, last = math.floor(n / 2 - reach), math.ceil(n / 2 + reach)
    if first < 0 or last >= n:
        return math.inf
    ordered = np.sort(samples)
    return float((ordered[last] - ordered[first]) / 2 / np.median(ordered))


def measure(
    calls: Mapping[Key, Callable[[], Any]],
    budget_s: float,
    target_error: float,
    seed: int = 0,
    progress: Callable[[float], None] = lambda done: None,
    before: Mapping[Key, Sequence[float]] | None = None,
    keep: Callable[[Mapping[Key, Sequence[float]]], None] = lambda taken: None,
) -> dict[Key, Milliseconds]:
    """Run the calls in rounds, each round in a new random order, so that a noisy minute falls on all of them.

    A call whose median is known to `target_error` is left out of later rounds. Ends when none is left or `budget_s`
    seconds (warm-up included) are spent, once every call has `LEAST_ROUNDS` runs. `progress` gets the share done.
    `before`: runs of an earlier, interrupted measurement, which count; `keep` gets all runs after every round.
    """
    rng = np.random.default_rng(seed)
    begun = time.perf_counter()
    for call in calls.values():
        for _ in range(WARM_UPS):
            call()

    taken: dict[Key, list[float]] = {key: list((before or {}).get(key, ())) for key in calls}
    waiting = list(calls)
    for _ in range(MOST_ROUNDS):
        for place in rng.permutation(len(waiting)):
            taken[waiting[place]].append(_run(calls[waiting[place]]))
        spent = (time.perf_counter() - begun) / budget_s
        progress(min(1.0, max(spent, 1 - len(waiting) / len(calls))))
        keep(taken)
        if min(map(len, taken.values())) < LEAST_ROUNDS:
            continue
        waiting = [key for key in waiting if relative_error(np.array(taken[key])) > target_error]
        if spent >= 1 or not waiting:
            break
    return {key: np.array(samples) for key, samples in taken.items()}


def steady(call: Callable[[], Any]) -> float:
    """Median milliseconds of runs one after the other: nothing else has been in the caches in between.

    Fewer runs, but two at least, where they take longer than `STEADY_S` seconds together.
    """
    call()
    begun, taken = time.perf_counter(), [_run(call), _run(call)]
    while len(taken) < STEADY_RUNS and time.perf_counter() - begun < STEADY_S:
        taken.append(_run(call))
    return float(np.median(taken))


def _run(call: Callable[[], Any]) -> float:
    begun = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begun) / 1e6
