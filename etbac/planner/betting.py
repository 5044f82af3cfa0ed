"""The betting test of a precision: it counts what the chain repairs as well as what it loses.

Of each sample the chain's score is c and the full model's f, both in [0, 1]; precision P holds iff E[c - P f] >= 0.
A gambler who stakes the share `bet` of his capital on x = c - P f multiplies it by 1 + bet x. Under "the precision is
lower" E[x] < 0, so the capital is a supermartingale and exceeds 1 / delta at any time with probability at most delta
(Ville's inequality): 1 / its highest value is a p-value, whatever the distribution of scores, for samples that
are drawn independently, also with replacement. The capital is split over a few fixed bets, since the best one
depends on the rates, which are not known. No bet is above 1, so the capital stays positive at every P, and the p-value
rises with P. Samples are taken in one order, drawn before they are looked at. A set whose own ratio is below P never
passes, however high the capital stood on the way: that only makes the test stricter.

Source: Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting, JRSS-B 86 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from etbac.metrics import Floats, Scores
from etbac.planner.guarantee import MOST_SAMPLES, check_delta, check_precision

BETS = np.array([1.0, 0.5, 0.25, 0.125])
STAKES = np.array([0.4, 0.3, 0.2, 0.1])
"""The share of the capital that each bet begins with: large bets decide small sets, small ones many repairs."""
ORDER_SEED = 0


def betting_test(chain: Scores, full: Scores, precision: float) -> float:
    """The p-value of the hypothesis that the chain's metric is less than `precision` of the full model's."""
    check_precision(precision)
    return _game(chain, full)(precision)


def best_precision(chain: Scores, full: Scores, delta: float) -> float:
    """The highest precision that these samples certify at level `delta` (0 where there is none)."""
    check_delta(delta)
    p_value = _game(chain, full)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) <= delta else (low, middle)
    return low


def samples_needed(growth: Floats, delta: float) -> int | None:
    """How many samples would certify a precision by whose bets the capital grows so (`growth`), without any luck.

    None where no number would.
    """
    check_delta(delta)
    enough = -math.log(delta)
    low, high = 0, 1
    while _mixed(growth * high) < enough:
        low, high = high, high * 2
        if high > MOST_SAMPLES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _mixed(growth * middle) >= enough else (middle, high)
    return high


def growth(chain: Scores, full: Scores, precision: float) -> Floats:
    """[bets]: what a sample adds to the logarithm of each bet's capital, on the mean."""
    check_precision(precision)
    mean: Floats = _gains(chain, full, precision).mean(axis=0)
    return mean


def log_capital(counts: Floats, precision: float, grain: float = 1.0) -> Floats:
    """Logarithm of the capital after [..., 3] samples kept right, lost, and repaired; it begins with 1.

    `grain`: what a lost or repaired one is worth, where that is less than a whole right answer.
    """
    gains = np.log1p(BETS * np.array([[1 - precision], [1 - grain - precision], [grain]]))
    return _mixed(counts @ gains)


def _mixed(by_bet: Floats) -> Floats:
    """[..., bets] logarithms of what each bet has made of 1 -> the logarithm of what all have made of their stakes."""
    peak = by_bet.max(axis=-1)
    log: Floats = peak + np.log(np.exp(by_bet - peak[..., None]) @ STAKES)
    return log


def _game(chain: Scores, full: Scores) -> Callable[[float], float]:
    """The p-value by the precision."""
    order = np.random.default_rng(ORDER_SEED).permutation(len(full))
    chain, full = chain[order], full[order]
    if chain.dtype == np.bool_ and full.dtype == np.bool_:
        return partial(_p_value_by_counts, _path(chain, full))
    return partial(_p_value_by_sample, chain.astype(np.float64), full.astype(np.float64))


def _path(chain: Scores, full: Scores) -> Floats:
    """[times, 3] counts at the times when the capital can be highest: before each harm, and at the end."""
    counts = np.cumsum([chain & full, full & ~chain, chain & ~full], axis=1, dtype=np.float64).T
    before = np.flatnonzero(full & ~chain)
    return np.concatenate([np.zeros((1, 3)), counts[before[before > 0] - 1], counts[-1:]])


def _p_value_by_counts(path: Floats, precision: float) -> float:
    kept, harms, repairs = path[-1]
    if kept + repairs < precision * (kept + harms):
        return 1.0
    return min(1.0, math.exp(-log_capital(path, precision).max()))


def _p_value_by_sample(chain: Floats, full: Floats, precision: float) -> float:
    if chain.sum() < precision * full.sum():
        return 1.0
    highest = _mixed(_gains(chain, full, precision).cumsum(axis=0)).max()
    return min(1.0, math.exp(-highest))


def _gains(chain: Scores, full: Scores, precision: float) -> Floats:
    """[n, bets]: what each sample adds to the logarithm of each bet's capital."""
    gains: Floats = np.log1p(BETS * (chain.astype(np.float64) - precision * full)[:, None])
    return gains
