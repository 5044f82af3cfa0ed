"""Goodput at a bound on the 99th percentile: the highest rate at which latency keeps it, found by climbing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load.generator import Floats

STEP = 1.25
HOPELESS = 1.5
"""A contender climbs no further in a round once its p99 was over the bound so many times at two rates, one after the
other."""
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
    rng, climbing, strikes = np.random.default_rng(number), list(range(len(contenders))), [0] * len(contenders)
    rungs: list[Rung] = []
    for step, rate in enumerate(rates):
        for contender in rng.permutation(climbing).tolist():
            measure, bound_s = contenders[contender]
            found = measure(rate, 1_000 * number + step)
            rungs += [Rung(row, rate, number, p99_s) for row, p99_s in found.items()]
            strikes[contender] = strikes[contender] + 1 if min(found.values()) > HOPELESS * bound_s else 0
            if strikes[contender] == 2:
                climbing.remove(contender)
    return rungs


def goodput(rungs: Sequence[Rung], row: str, bound_s: float) -> float:
    """The highest rate whose p99 (the median of the rounds) keeps the bound, and on from it by the logarithms to where
    the next does not; 0 where none keeps it. A lower rate that does not is the machine's noise: with less to do nobody
    is slower."""
    rates = sorted({rung.rate for rung in rungs if rung.row == row})
    p99 = [float(np.median([rung.p99_s for rung in rungs if rung.row == row and rung.rate == rate])) for rate in rates]
    kept = max((place for place, each in enumerate(p99) if each <= bound_s), default=-1)
    if kept in (-1, len(rates) - 1):
        return rates[kept] if kept >= 0 else 0.0
    below, above = p99[kept], p99[kept + 1]
    share = np.log(bound_s / below) / np.log(above / below) if np.isfinite(above) else 0.0
    return float(rates[kept] * (rates[kept + 1] / rates[kept]) ** share)


def p99_of(latency: Floats) -> float:
    return float(np.quantile(latency, 0.99, method="higher"))
