"""The betting test of a precision: it counts what the chain repairs as well as what it loses.

Of each sample the chain's metric is c and the full model's f, both 0 or 1; precision P holds iff E[c - P f] >= 0.
A gambler who stakes the share `bet` of his capital on x = c - P f multiplies it by 1 + bet x. Under "the precision is
lower" E[x] < 0, so the capital is a supermartingale and exceeds 1 / delta at any time with probability at most delta
(Ville's inequality): 1 / its highest value is a p-value, whatever the distribution of harms and repairs, for samples
that are drawn independently, also with replacement. The capital is split over a few fixed bets, since the best one
depends on the rates, which are not known. No bet is above 1, so the capital stays positive at every P, and the p-value
rises with P. Samples are taken in one order, drawn before they are looked at. A set whose own ratio is below P never
passes, however high the capital stood on the way: that only makes the test stricter.

Source: Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting, JRSS-B 86 (2024).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from etbac.planner.guarantee import MOST_SAMPLES, check_delta, check_precision

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

BETS = np.array([1.0, 0.5, 0.25, 0.125])
STAKES = np.array([0.4, 0.3, 0.2, 0.1])
"""The share of the capital that each bet begins with: large bets decide small sets, small ones many repairs."""
ORDER_SEED = 0


def betting_test(chain_right: Bools, full_right: Bools, precision: float) -> float:
    """The p-value of the hypothesis that the chain's metric is less than `precision` of the full model's."""
    check_precision(precision)
    return _p_value(_path(chain_right, full_right), precision)


def best_precision(chain_right: Bools, full_right: Bools, delta: float) -> float:
    """The highest precision that these samples certify at level `delta` (0 where there is none)."""
    check_delta(delta)
    path = _path(chain_right, full_right)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _p_value(path, middle) <= delta else (low, middle)
    return low


def samples_needed(kept: float, harms: float, repairs: float, precision: float, delta: float) -> int | None:
    """How many samples would certify `precision` if they had these shares (of all samples) without any luck.

    None where no number would.
    """
    check_precision(precision)
    check_delta(delta)
    rates, enough = np.array([[kept, harms, repairs]]), -math.log(delta)
    low, high = 0, 1
    while log_capital(rates * high, precision)[0] < enough:
        low, high = high, high * 2
        if high > MOST_SAMPLES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if log_capital(rates * middle, precision)[0] >= enough else (middle, high)
    return high


def log_capital(counts: Floats, precision: float) -> Floats:
    """Logarithm of the capital after [times, 3] samples kept right, lost, and repaired; it begins with 1."""
    gains = np.log1p(BETS * np.array([[1 - precision], [-precision], [1.0]]))
    by_bet = counts @ gains
    peak = by_bet.max(axis=-1)
    log: Floats = peak + np.log(np.exp(by_bet - peak[..., None]) @ STAKES)
    return log


def _path(chain_right: Bools, full_right: Bools) -> Floats:
    """[times, 3] counts at the times when the capital can be highest: before each harm, and at the end."""
    order = np.random.default_rng(ORDER_SEED).permutation(len(full_right))
    chain, full = chain_right[order], full_right[order]
    counts = np.cumsum([chain & full, full & ~chain, chain & ~full], axis=1, dtype=np.float64).T
    before = np.flatnonzero(full & ~chain)
    return np.concatenate([np.zeros((1, 3)), counts[before[before > 0] - 1], counts[-1:]])


def _p_value(path: Floats, precision: float) -> float:
    kept, harms, repairs = path[-1]
    if kept + repairs < precision * (kept + harms):
        return 1.0
    return min(1.0, math.exp(-log_capital(path, precision).max()))
