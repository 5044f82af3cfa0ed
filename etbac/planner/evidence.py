"""What samples say of one plan, and the tests that can be put to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from etbac.errors import UsageError
from etbac.metrics import Floats, Scores
from etbac.planner import betting, guarantee

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


def excess(scores: Scores, over: Scores) -> Scores:
    """What `scores` have more than those `over` which they are set: bool where both are, else in [0, 1]."""
    if scores.dtype == np.bool_ and over.dtype == np.bool_:
        return scores & ~over
    return np.maximum(scores.astype(np.float64) - over, 0.0)


def total(scores: Scores) -> int | float:
    """A count where scores are right or wrong."""
    return int(scores.sum()) if scores.dtype == np.bool_ else float(scores.sum())


@dataclass(frozen=True)
class Parts:
    """Of a metric that is no mean of scores: `chain` [..., n, k] and `full` [n, k], whose means over samples make the
    metric by `value`."""

    chain: Floats
    full: Floats
    value: Callable[[Floats], float]

    def take(self, rows: Any) -> Parts:
        return replace(self, chain=self.chain[..., rows, :], full=self.full[rows])


@dataclass(frozen=True)
class Pairs:
    """Scores of the same samples, in their order, [n]: the chain's and the full model's.

    `parts`: see `Parts`, chain [n, k]. `units`, int64 [n]: which samples are of one independent unit; None: each is its
    own.
    """

    chain: Scores
    full: Scores
    parts: Parts | None = None
    units: Counts | None = None

    @property
    def n(self) -> int:
        return len(self.full)

    @property
    def independent(self) -> int:
        """How many samples, or units."""
        return self.n if self.units is None else len(np.unique(self.units))

    @property
    def n_right(self) -> int | float:
        """The full model's scores added up: where these are right or wrong, how many samples it gets right."""
        return total(self.full)

    @cached_property
    def harms(self) -> int | float:
        """What the chain loses of that."""
        return total(excess(self.full, self.chain))

    @cached_property
    def repairs(self) -> int | float:
        """What the chain has more elsewhere."""
        return total(excess(self.chain, self.full))

    @property
    def grain(self) -> float:
        """How large a single harm is, on the mean over all that is lost: 1 where answers are right or wrong."""
        lost = excess(self.full, self.chain)
        if lost.dtype == np.bool_ or not lost.any():
            return 1.0
        return float((lost**2).sum() / lost.sum())

    @property
    def ratio(self) -> float:
        """The chain's metric ÷ the full model's; NaN where that is not above 0."""
        if self.parts is not None:
            chain, full = self.chain_metric, self.full_metric
        else:
            chain, full = float(self.chain.sum()), float(self.full.sum())
        return chain / full if full > 0 else math.nan

    @property
    def chain_metric(self) -> float:
        return float(self.chain.mean() if self.parts is None else self.parts.value(self.parts.chain.mean(axis=0)))

    @property
    def full_metric(self) -> float:
        return float(self.full.mean() if self.parts is None else self.parts.value(self.parts.full.mean(axis=0)))

    def take(self, rows: Any) -> Pairs:
        units = None if self.units is None else self.units[rows]
        return Pairs(self.chain[rows], self.full[rows], None if self.parts is None else self.parts.take(rows), units)

    def by_unit(self) -> Pairs:
        """What a test takes: samples that are independent. Of a unit with several, the means, each unit counting alike;
        but metrics with parts are made of all samples."""
        if self.units is None or self.parts is not None:
            return self
        _, place, sizes = np.unique(self.units, return_inverse=True, return_counts=True)
        if len(sizes) == self.n:
            return self
        chain, full = (np.bincount(place, each, len(sizes)) / sizes for each in (self.chain, self.full))
        return Pairs(chain, full)


class PrecisionTest(Protocol):
    """A test of the hypothesis that the chain's metric is less than `precision` of the full model's."""

    name: str
    credits: tuple[float, ...]
    """What a repair may make up for, in harms."""

    def p_value(self, pairs: Pairs, precision: float) -> float: ...

    def best_precision(self, pairs: Pairs, level: float) -> float:
        """The highest precision that passes at `level`."""
        ...

    def samples_needed(self, pairs: Pairs, precision: float, level: float) -> int | None:
        """How many samples like these would do; None where no number would."""
        ...


class CountingTest(PrecisionTest, Protocol):
    """One that certifies, and whose outcome sums alone tell beforehand."""

    fractions: bool
    """Whether it takes scores between right and wrong."""

    def right_needed(self, precision: float, level: float) -> int:
        """How many samples that the full model gets right would do if none were lost and none repaired."""
        ...

    def passes(
        self, n_right: int, harms: Counts, repairs: Counts, precision: float, level: float, grain: float = 1.0
    ) -> Bools:
        """Whether sets with these counts, each harm and repair of size `grain`, pass; `n_right`: of each set."""
        ...


class BettingTest:
    """Counts repairs (`etbac.planner.betting`)."""

    name = "betting"
    credits: tuple[float, ...] = (0.5, 0.0)
    fractions = True

    def p_value(self, pairs: Pairs, precision: float) -> float:
        return betting.betting_test(pairs.chain, pairs.full, precision)

    def best_precision(self, pairs: Pairs, level: float) -> float:
        return betting.best_precision(pairs.chain, pairs.full, level)

    def samples_needed(self, pairs: Pairs, precision: float, level: float) -> int | None:
        return betting.samples_needed(betting.growth(pairs.chain, pairs.full, precision), level)

    def right_needed(self, precision: float, level: float) -> int:
        right = np.ones(1, np.bool_)
        needed = betting.samples_needed(betting.growth(right, right, precision), level)
        assert needed is not None
        return needed

    def passes(
        self, n_right: int, harms: Counts, repairs: Counts, precision: float, level: float, grain: float = 1.0
    ) -> Bools:
        counts = np.stack([n_right - harms, harms, repairs], axis=-1).astype(np.float64)
        passed: Bools = betting.log_capital(counts, precision, grain) >= -np.log(level)
        return passed


class ExactTest:
    """Counts harms alone (`etbac.planner.guarantee`): of answers that are right or wrong."""

    name = "exact"
    credits: tuple[float, ...] = (0.0,)
    fractions = False

    def p_value(self, pairs: Pairs, precision: float) -> float:
        return guarantee.exact_test(*self._counts(pairs), precision)

    def best_precision(self, pairs: Pairs, level: float) -> float:
        return guarantee.best_precision(*self._counts(pairs), level)

    def samples_needed(self, pairs: Pairs, precision: float, level: float) -> int | None:
        n_right, harms = self._counts(pairs)
        if n_right == 0:
            return None
        right = guarantee.samples_needed(precision, level, harms / n_right)
        return None if right is None else -(-right * pairs.n // n_right)

    def right_needed(self, precision: float, level: float) -> int:
        needed = guarantee.samples_needed(precision, level)
        assert needed is not None
        return needed

    def passes(
        self, n_right: int, harms: Counts, repairs: Counts, precision: float, level: float, grain: float = 1.0
    ) -> Bools:
        return harms <= guarantee.allowed_harms(n_right, precision, level)

    def _counts(self, pairs: Pairs) -> tuple[int, int]:
        n_right, harms = pairs.n_right, pairs.harms
        if isinstance(n_right, int) and isinstance(harms, int):
            return n_right, harms
        raise ValueError("the exact test counts answers that are right or wrong")


TESTS: Mapping[str, CountingTest] = MappingProxyType({test.name: test for test in (BettingTest(), ExactTest())})


def find_test(name: str) -> CountingTest:
    """The test of that name; a UsageError that lists the names otherwise."""
    if name not in TESTS:
        raise UsageError(f"--test {name}: there is no such test; there are {', '.join(TESTS)}")
    return TESTS[name]
