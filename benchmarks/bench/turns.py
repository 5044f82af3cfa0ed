"""A race in rounds: each contender in turn, in a new order, on the same few batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.bench.subject import Answer
from etbac.profiles.race import Batch, Timings

LEAST_ROUNDS, MOST_ROUNDS = 5, 500
SHORT_S = 0.1
SHORT_TURN = (1, 4)
"""Batches not timed, and timed, where one takes the base less than SHORT_S: threads of the contender before spin on for
milliseconds, and its weights are in the caches."""
LONG_TURN = (0, 1)


@dataclass(frozen=True)
class Raced:
    """`turn`: consecutive batches of one contender; position i is the same batch for all."""

    timings: Timings
    turn: int

    def figures(self, base: str) -> dict[str, dict[str, Any]]:
        """By contender: milliseconds of a batch, and the ratio of means to the base's with its 95% interval."""
        return {name: self._figures(name, base) for name in self.timings.seconds}

    def _figures(self, name: str, base: str) -> dict[str, Any]:
        timings = self.timings
        low, high = timings.ratio_interval(name, base, self.turn)
        milliseconds = {
            "mean_ms": timings.mean(name),
            "median_ms": timings.quantile(name, 0.5),
            "p90_ms": timings.quantile(name, 0.9),
        }
        return {
            "ratio": timings.ratio(name, base),
            "low": low,
            "high": high,
            **{figure: 1e3 * seconds for figure, seconds in milliseconds.items()},
        }


def race(answers: Mapping[str, Answer], batches: Iterator[Batch], seconds: float, base: str, seed: int = 0) -> Raced:
    """Rounds for so many seconds, LEAST_ROUNDS at least, after two batches each that don't count."""
    for batch in islice(batches, 2):
        for answer in answers.values():
            answer(batch)
    untimed, timed = SHORT_TURN if _seconds(answers[base], next(batches)) < SHORT_S else LONG_TURN
    random, names = np.random.default_rng(seed), list(answers)
    taken: dict[str, list[float]] = {name: [] for name in names}
    begun = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() - begun > seconds:
            break
        turn = list(islice(batches, untimed + timed))
        for place in random.permutation(len(names)):
            spent = [_seconds(answers[names[place]], batch) for batch in turn]
            taken[names[place]] += spent[untimed:]
    return Raced(Timings({name: np.array(spent) for name, spent in taken.items()}), timed)


def _seconds(answer: Answer, batch: Batch) -> float:
    begun = time.perf_counter()
    answer(batch)
    return time.perf_counter() - begun
