"""How likely a plan that was chosen on the search set is to pass its test on the certify set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from etbac.planner.evidence import PrecisionTest

DRAWS = 1_000
SEED = 0


@dataclass(frozen=True)
class Ahead:
    """The test, what it must show, and the set that it will read: `n` samples, `n_right` right by the full model as far
    as is known before (of the set itself nothing may be: what is tested must not depend on it)."""

    test: PrecisionTest
    precision: float
    level: float
    n: int
    n_right: int


@lru_cache(maxsize=10_000)
def chance(ahead: Ahead, blocks: int, repairs: int, n: int, n_right: int) -> float:
    """Of a plan that takes `blocks` of harm and repairs so many of the search set's n samples.

    Thresholds that are cut at harmful samples, one after the other, leave `blocks` statistically equivalent blocks out
    of n_right + 1 (Tukey, Annals of Mathematical Statistics 18, 1947): their mass, the harm rate, is
    Beta(blocks, n_right + 1 - blocks). So is, on the cautious side, the rate of repairs among the rest. New sets are
    drawn with such rates, the same random numbers for every plan.
    """
    rng = np.random.default_rng(SEED)
    harms = rng.binomial(ahead.n_right, _rates(rng, blocks, n_right))
    repaired = rng.binomial(ahead.n - ahead.n_right, _rates(rng, repairs, n - n_right))
    return float(ahead.test.passes(ahead.n_right, harms, repaired, ahead.precision, ahead.level).mean())


def _rates(rng: np.random.Generator, count: int, of: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if count == 0 or count > of:
        return np.full(DRAWS, float(count > 0))
    return rng.beta(count, of + 1 - count, DRAWS)
