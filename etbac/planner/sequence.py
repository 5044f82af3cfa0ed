"""Which plans are put to the test, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etbac.planner.chance import Ahead, chance
from etbac.planner.evidence import Pairs, PrecisionTest
from etbac.planner.search import Candidate, cheapest
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Floats

PASS_PROBABILITIES = (0.99, 0.9, 0.7, 0.5)
"""How likely each candidate would be to pass if it had not been chosen among many: the first is nearly sure to, and the
last is at least as fast as an even chance allows."""


@dataclass(frozen=True)
class Trial:
    """A candidate after its test on the certify set."""

    candidate: Candidate
    pairs: Pairs
    p_value: float
    passed: bool


def candidates(search: ExitStatistics, costs: Floats, ahead: Ahead) -> list[Candidate]:
    """The cheapest plan at each of a few budgets of harm, the most cautious first.

    A budget is the largest that passes the test ahead with one of `PASS_PROBABILITIES`. Empty where not even a plan
    without harm is likely to.
    """
    if chance(ahead, 0, 0, search.n, search.n_right) < PASS_PROBABILITIES[-1]:
        return []
    budgets = [_budget(probability, search, ahead) for probability in PASS_PROBABILITIES]
    found = [cheapest(search, costs, max(1, budget)) for budget in sorted(set(budgets))]
    return [each for place, each in enumerate(found) if each not in found[:place]]


def run_sequence(
    sequence: Sequence[Candidate], certify: ExitStatistics, test: PrecisionTest, precision: float, level: float
) -> list[Trial]:
    """Test one candidate after the other, each at `level`, until one fails; the last that passed is certified.

    Testing in a sequence that was fixed before the data were read keeps the level for all of them together (the fixed
    sequence procedure: Maurer, Hothorn & Lehmacher, 1995).
    """
    trials: list[Trial] = []
    for candidate in sequence:
        pairs = certify.pairs(candidate.thresholds)
        p_value = test.p_value(pairs, precision)
        trials.append(Trial(candidate, pairs, p_value, p_value <= level))
        if not trials[-1].passed:
            break
    return trials


def _budget(probability: float, search: ExitStatistics, ahead: Ahead) -> int:
    """The most blocks with which a plan that repairs nothing passes with that probability."""
    low, high = 0, search.n_right + 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = chance(ahead, middle, 0, search.n, search.n_right) >= probability
        low, high = (middle, high) if enough else (low, middle)
    return low
