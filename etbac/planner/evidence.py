"""What a certify set says of one plan, and the tests that can be put to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from etbac.errors import UsageError
from etbac.planner import betting, guarantee

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Of the same samples, in their order, bool [n]: whether the chain is right and whether the full model is."""

    chain_right: Bools
    full_right: Bools

    @property
    def n(self) -> int:
        return len(self.full_right)

    @property
    def n_right(self) -> int:
        return int(self.full_right.sum())

    @property
    def harms(self) -> int:
        """Answers that the full model gets right and the chain loses."""
        return int((self.full_right & ~self.chain_right).sum())

    @property
    def repairs(self) -> int:
        """Answers that the full model gets wrong and the chain right."""
        return int((self.chain_right & ~self.full_right).sum())


class PrecisionTest(Protocol):
    """A test of the hypothesis that the chain's metric is less than `precision` of the full model's."""

    name: str
    credits: tuple[float, ...]
    """What a repair may make up for, in harms."""

    def p_value(self, pairs: Pairs, precision: float) -> float: ...

    def best_precision(self, pairs: Pairs, level: float) -> float:
        """The highest precision that is certified at `level`."""
        ...

    def samples_needed(self, pairs: Pairs, precision: float, level: float) -> int | None:
        """How many samples with the same rates would do; None where no number would."""
        ...

    def right_needed(self, precision: float, level: float) -> int:
        """How many samples that the full model gets right would do if none were lost and none repaired."""
        ...

    def passes(self, n_right: int, harms: Counts, repairs: Counts, precision: float, level: float) -> Bools:
        """Whether sets with these counts, `n_right` of each right by the full model, pass."""
        ...


class BettingTest:
    """Counts repairs (`etbac.planner.betting`)."""

    name = "betting"
    credits: tuple[float, ...] = (0.5, 0.0)

    def p_value(self, pairs: Pairs, precision: float) -> float:
        return betting.betting_test(pairs.chain_right, pairs.full_right, precision)

    def best_precision(self, pairs: Pairs, level: float) -> float:
        return betting.best_precision(pairs.chain_right, pairs.full_right, level)

    def samples_needed(self, pairs: Pairs, precision: float, level: float) -> int | None:
        kept, harms, repairs = pairs.n_right - pairs.harms, pairs.harms, pairs.repairs
        return betting.samples_needed(kept / pairs.n, harms / pairs.n, repairs / pairs.n, precision, level)

    def right_needed(self, precision: float, level: float) -> int:
        needed = betting.samples_needed(1.0, 0.0, 0.0, precision, level)
        assert needed is not None
        return needed

    def passes(self, n_right: int, harms: Counts, repairs: Counts, precision: float, level: float) -> Bools:
        counts = np.stack([n_right - harms, harms, repairs], axis=-1).astype(np.float64)
        passed: Bools = betting.log_capital(counts, precision) >= -np.log(level)
        return passed


class ExactTest:
    """Counts harms alone (`etbac.planner.guarantee`)."""

    name = "exact"
    credits: tuple[float, ...] = (0.0,)

    def p_value(self, pairs: Pairs, precision: float) -> float:
        return guarantee.exact_test(pairs.n_right, pairs.harms, precision)

    def best_precision(self, pairs: Pairs, level: float) -> float:
        return guarantee.best_precision(pairs.n_right, pairs.harms, level)

    def samples_needed(self, pairs: Pairs, precision: float, level: float) -> int | None:
        if pairs.n_right == 0:
            return None
        right = guarantee.samples_needed(precision, level, pairs.harms / pairs.n_right)
        return None if right is None else -(-right * pairs.n // pairs.n_right)

    def right_needed(self, precision: float, level: float) -> int:
        needed = guarantee.samples_needed(precision, level)
        assert needed is not None
        return needed

    def passes(self, n_right: int, harms: Counts, repairs: Counts, precision: float, level: float) -> Bools:
        return harms <= guarantee.allowed_harms(n_right, precision, level)


TESTS: Mapping[str, PrecisionTest] = MappingProxyType({test.name: test for test in (BettingTest(), ExactTest())})


def find_test(name: str) -> PrecisionTest:
    """The test of that name; a UsageError that lists the names otherwise."""
    if name not in TESTS:
        raise UsageError(f"--test {name}: there is no such test; there are {', '.join(TESTS)}")
    return TESTS[name]
