"""Goodput at a bound on the 99th percentile: the highest rate at which latency keeps it, found by climbing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load.generator import Floats

STEP = 1.25
HOPELESS = 1.5
"""A contender climbs no further in a round once its p99 is over the bound so many times."""
P99 = Callable[[float, int], Mapping[str, float]]
"""(rate, seed) -> p99 by row; one contender may give several rows."""


@dataclass(frozen=True)
class Rung:
    """One contender's p99 at one rate, in one round; rates in samples a second, p99 in seconds, inf where more than a
    hundredth was refused."""

    row: str
    rate: float
    round: int
    p99_s: float


def climb(contenders: Sequence[tuple[P99, float]], rates: Sequence[float], number: int) -> list[Rung]:
    """A round: at every rate each contender in turn, in an order drawn anew, until all are beyond their bounds."""
    rng, climbing = np.random.default_rng(number), list(range(len(contenders)))
    rungs: list[Rung] = []
    for step, rate in enumerate(rates):
        for contender in rng.permutation(climbing).tolist():
            measure, bound_s = contenders[contender]
            found = measure(rate, 1_000 * number + step)
            rungs += [Rung(row, rate, number, p99_s) for row, p99_s in found.items()]
            if min(found.values()) > HOPELESS * bound_s:
                climbing.remove(contender)
    return rungs


def goodput(rungs: Sequence[Rung], row: str, bound_s: float) -> float:
    """The highest rate whose p99 (the median of the rounds) keeps the bound, before the first that does not; between
    the two by the logarithms. 0 where the lowest rate does not keep it."""
    rates = sorted({rung.rate for rung in rungs if rung.row == row})
    p99 = [float(np.median([rung.p99_s for rung in rungs if rung.row == row and rung.rate == rate])) for rate in rates]
    over = next((place for place, each in enumerate(p99) if each > bound_s), len(rates))
    if over == 0:
        return 0.0
    if over == len(rates):
        return rates[-1]
    below, above = p99[over - 1 : over + 1]
    share = np.log(bound_s / below) / np.log(above / below) if np.isfinite(above) else 0.0
    return float(rates[over - 1] * (rates[over] / rates[over - 1]) ** share)


def p99_of(latency: Floats) -> float:
    return float(np.quantile(latency, 0.99, method="higher"))
