"""Which plans are put to the test, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from etbac.planner.bootstrap import BootstrapTest
from etbac.planner.candidate import Candidate
from etbac.planner.chance import Ahead, chance, chance_by_bootstrap
from etbac.planner.choices import Choice, Choices
from etbac.planner.evidence import Pairs, PrecisionTest
from etbac.planner.statistics import ExitStatistics

PASS_PROBABILITIES = (0.99, 0.9, 0.7, 0.5, 0.3, 0.15)
"""How likely each candidate would be to pass if it had not been chosen among many: the first is nearly sure to. Bold
ones cost nothing: they come last, and where one fails the one before it has been certified."""

EVEN = 0.5
"""A set is not read for candidates none of which has an even chance."""


TRIES = 2
"""To come near to a probability: the more a plan is fitted to it, the more it is chosen for its luck."""


@dataclass(frozen=True)
class Trial:
    """A candidate after its test on the certify set."""

    candidate: Candidate
    pairs: Pairs
    p_value: float
    passed: bool


@lru_cache(maxsize=4)
def candidates(choices: Choices, ahead: Ahead) -> tuple[Candidate, ...]:
    """The cheapest plan for each of `PASS_PROBABILITIES`, the most cautious first; none if none is likely to pass."""
    odds = [(choice, _odds(choices, ahead, choice.candidate)) for choice in choices.plans]
    chosen: list[Candidate] = []
    for probability in PASS_PROBABILITIES:
        if probability < EVEN and not chosen:
            break
        found = _likely(choices, ahead, [choice for choice, chance_ in odds if chance_ >= probability], probability)
        if found is not None and not (chosen and found.cost_ms >= chosen[-1].cost_ms):
            chosen.append(found)
    return tuple(chosen)


def run_sequence(
    sequence: Sequence[Candidate], certify: ExitStatistics, test: PrecisionTest, precision: float, level: float
) -> list[Trial]:
    """Test one candidate after the other, each at `level`, until one fails; the last that passed is certified.

    Testing in a sequence that was fixed before the data were read keeps the level for all of them together (the fixed
    sequence procedure: Maurer, Hothorn & Lehmacher, 1995).
    """
    trials: list[Trial] = []
    for candidate in sequence:
        pairs = certify.pairs(candidate.thresholds).by_unit()
        p_value = test.p_value(pairs, precision)
        trials.append(Trial(candidate, pairs, p_value, p_value <= level))
        if not trials[-1].passed:
            break
    return trials


def _likely(choices: Choices, ahead: Ahead, likely: Sequence[Choice], probability: float) -> Candidate | None:
    """The cheapest plan that passes with that probability: one of those that do, or one between two of them."""
    if not likely:
        return None
    found = min(likely, key=lambda choice: choice.candidate.cost_ms)

    def kept(near: Candidate) -> bool:
        return _odds(choices, ahead, near) >= probability

    def least(near: Candidate) -> float:
        return found.search.credit * near.repairs - near.grain * _budget(choices, ahead, near, probability)

    if isinstance(ahead.test, BootstrapTest):
        return choices.between(found, kept)
    return choices.near(found, least, kept, TRIES)


def _odds(choices: Choices, ahead: Ahead, candidate: Candidate) -> float:
    if isinstance(ahead.test, BootstrapTest):
        return chance_by_bootstrap(ahead, choices.statistics.pairs(candidate.thresholds))
    return _chance(choices, ahead, candidate, candidate.blocks)


def _budget(choices: Choices, ahead: Ahead, candidate: Candidate, probability: float) -> int:
    """The most blocks with which a plan with as many repairs passes with that probability."""
    low, high = 0, round(choices.statistics.n_right) + 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = _chance(choices, ahead, candidate, middle) >= probability
        low, high = (middle, high) if enough else (low, middle)
    return low


def _chance(choices: Choices, ahead: Ahead, candidate: Candidate, blocks: float) -> float:
    search, grain = choices.statistics, candidate.grain
    return chance(ahead, blocks, candidate.repairs / grain, search.n, search.n_right, grain)
