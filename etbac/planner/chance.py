"""How likely a plan that was chosen on the search set is to pass its test on the certify set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from etbac.planner.bootstrap import BootstrapTest, ratios
from etbac.planner.evidence import CountingTest, Pairs

DRAWS = 1_000
FEW = 200
"""Resamples of a bootstrap that only guesses which plans to try."""
SEED = 0


@dataclass(frozen=True)
class Ahead:
    """The test, what it must show, and the set that it will read: `n` samples (or units), `n_right` right by the full
    model as far as is known before (of the set itself nothing may be: what is tested must not depend on it)."""

    test: CountingTest | BootstrapTest
    precision: float
    level: float
    n: int
    n_right: int


@lru_cache(maxsize=10_000)
def chance(ahead: Ahead, blocks: float, repairs: float, n: int, n_right: float, grain: float = 1.0) -> float:
    """Of a plan that takes `blocks` of harm and repairs so many of the search set's n samples, each of them `grain`.

    Thresholds that are cut at harmful samples, one after the other, leave `blocks` statistically equivalent blocks out
    of n_right + 1 (Tukey, Annals of Mathematical Statistics 18, 1947): their mass, the harm rate, is
    Beta(blocks, n_right + 1 - blocks). So is, on the cautious side, the rate of repairs among the rest. New sets are
    drawn with such rates, the same random numbers for every plan. Where scores are fractions, harms of one size stand
    for those of all sizes, and more samples can be harmed than the full model's scores add up to.
    """
    assert not isinstance(ahead.test, BootstrapTest)
    rng = np.random.default_rng(SEED)
    harms = rng.binomial(*_harmed(rng, blocks, n, n_right, ahead.n, ahead.n_right, grain))
    repaired = rng.binomial(*_harmed(rng, repairs, n, n - n_right, ahead.n, ahead.n - ahead.n_right, grain))
    return float(ahead.test.passes(ahead.n_right, harms, repaired, ahead.precision, ahead.level, grain).mean())


def chance_by_bootstrap(ahead: Ahead, pairs: Pairs) -> float:
    """Of a plan with these pairs on the search set, as if ratios were normal."""
    drawn = ratios(pairs, FEW)
    if not np.isfinite(drawn).all():
        return 0.0
    spread, scale = float(np.std(drawn)), pairs.independent / ahead.n
    bound = pairs.ratio - NormalDist().inv_cdf(1 - ahead.level) * spread * math.sqrt(scale)
    if spread == 0:
        return float(bound >= ahead.precision)
    return NormalDist().cdf((bound - ahead.precision) / (spread * math.sqrt(1 + scale)))


def _harmed(
    rng: np.random.Generator, count: float, n: int, most: float, n_ahead: int, most_ahead: float, grain: float
) -> tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Of the set ahead: how many samples harms of size `grain` can befall, and rates of that; `count` of these were
    seen, of n samples whose scores allow for `most`."""
    return round(min(n_ahead, most_ahead / grain)), _rates(rng, count, min(n, most / grain))


def _rates(rng: np.random.Generator, count: float, of: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if count == 0 or count > of:
        return np.full(DRAWS, float(count > 0))
    return rng.beta(count, of + 1 - count, DRAWS)
