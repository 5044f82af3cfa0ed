"""Metrics that are no mean of scores (F1, mIoU, correlations): the ratio of the chain's to the full model's, by a
paired bootstrap.

Samples are drawn again with replacement, chain and full model the same ones; where units are known, units are. The
share of such draws in which the ratio is below the precision is taken for the probability that it is: that is right
for many samples, and of a given number nothing is certified.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

import math

import numpy as np

from etbac.metrics import Floats
from etbac.planner.evidence import Pairs

RESAMPLES = 2_000
SEED = 1979
"""Not 0, which data are often made with: draws would be related to them."""


class BootstrapTest:
    """The share of `RESAMPLES` draws in which the ratio is below the precision."""

    name = "bootstrap"
    credits: tuple[float, ...] = (1.0, 0.5)

    def p_value(self, pairs: Pairs, precision: float) -> float:
        below = int((ratios(pairs) < precision).sum())
        return (1 + below) / (1 + RESAMPLES)

    def best_precision(self, pairs: Pairs, level: float) -> float:
        """The lower bound of the ratio at `level`; 0 where there is none."""
        place = math.floor(level * (1 + RESAMPLES) + 1e-9) - 1
        return max(0.0, float(ratios(pairs)[place])) if place >= 0 else 0.0

    def samples_needed(self, pairs: Pairs, precision: float, level: float) -> int | None:
        """The bound comes nearer with the square root of the number."""
        room, now = pairs.ratio - precision, pairs.ratio - self.best_precision(pairs, level)
        return math.ceil(pairs.n * (now / room) ** 2) if room > 0 else None


BOOTSTRAP = BootstrapTest()


def ratios(pairs: Pairs, resamples: int = RESAMPLES) -> Floats:
    """Of the draws, in rising order; -inf where the full model's metric is not above 0."""
    if pairs.parts is None:
        raise ValueError("the mean of scores needs no bootstrap")
    units = np.arange(pairs.n) if pairs.units is None else np.unique(pairs.units, return_inverse=True)[1]
    count, k = int(units.max()) + 1, pairs.parts.full.shape[1]
    sums = np.zeros((count, 1 + 2 * k))
    np.add.at(sums, units, np.hstack([np.ones((pairs.n, 1)), pairs.parts.chain, pairs.parts.full]))
    rng, found = np.random.default_rng(SEED), []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count) @ sums
        found.append(_ratio(pairs, drawn[1 : 1 + k] / drawn[0], drawn[1 + k :] / drawn[0]))
    return np.sort(found)


def _ratio(pairs: Pairs, chain: Floats, full: Floats) -> float:
    assert pairs.parts is not None
    below = pairs.parts.value(full)
    found = pairs.parts.value(chain) / below if below > 0 else math.nan
    return -math.inf if math.isnan(found) else found
