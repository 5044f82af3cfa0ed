"""Which plans are put to the test, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etbac.planner.guarantee import allowed_harms, exact_test, pass_probability
from etbac.planner.search import Candidate, cheapest
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Floats

PASS_PROBABILITIES = (0.99, 0.9, 0.7, 0.5)
"""How likely each candidate would be to pass if it had not been chosen among many: the first is nearly sure to, and the
last is at least as fast as an even chance allows."""


@dataclass(frozen=True)
class Trial:
    """A candidate after its test: `harms` among the `n_right` samples of the certify set."""

    candidate: Candidate
    harms: int
    n_right: int
    p_value: float
    passed: bool


def candidates(
    search: ExitStatistics, costs: Floats, n_certify: int, precision: float, delta: float
) -> list[Candidate]:
    """The cheapest plan at each of a few budgets of harm, the most conservative first.

    `n_certify`: samples of the certify set that the full model gets right. A budget is the largest at which the exact
    test of so many samples passes with one of `PASS_PROBABILITIES`. Empty where not even a plan without harm can pass.
    """
    allowed = allowed_harms(n_certify, precision, delta)
    if allowed < 0:
        return []
    budgets = [_budget(probability, search.n_right, n_certify, allowed) for probability in PASS_PROBABILITIES]
    found = [cheapest(search, costs, max(1, budget)) for budget in sorted(set(budgets))]
    return [each for place, each in enumerate(found) if each not in found[:place]]


def run_sequence(sequence: Sequence[Candidate], certify: ExitStatistics, precision: float, delta: float) -> list[Trial]:
    """Test one candidate after the other, each at level `delta`, until one fails; the last that passed is certified.

    Testing in a sequence that was fixed before the data were read keeps the level for all of them together (the fixed
    sequence procedure: Maurer, Hothorn & Lehmacher, 1995).
    """
    trials: list[Trial] = []
    for candidate in sequence:
        harms, n_right = certify.replay(candidate.thresholds).harms, certify.n_right
        p_value = exact_test(n_right, harms, precision)
        trials.append(Trial(candidate, harms, n_right, p_value, p_value <= delta))
        if not trials[-1].passed:
            break
    return trials


def _budget(probability: float, n_search: int, n_certify: int, allowed: int) -> int:
    """The most blocks with which a plan passes with that probability."""
    low, high = 0, n_search + 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = pass_probability(middle, n_search, n_certify, allowed) >= probability
        low, high = (middle, high) if enough else (low, middle)
    return low
