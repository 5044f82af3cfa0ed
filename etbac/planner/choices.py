"""The plans that the search set offers, of those that meet the demands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.planner.candidate import Candidate
from etbac.planner.demands import Demands
from etbac.planner.prices import Prices
from etbac.planner.search import THOROUGH, Effort, Search
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Floats

FEWER_EXITS = (3, 2, 1)
WEIGHTS = (4.0, 16.0)
MOST_TRIES = 4


@dataclass(frozen=True)
class Choice:
    """A plan, and the search that has found it and can find others near it."""

    search: Search
    candidate: Candidate


class Choices:
    """Plans are searched for without the demands first, but for the memory that they may take. Where some don't meet
    them, also with fewer exits (whose heads a batch's last samples pay for), and with more weight on the classes that
    come off badly.

    `credits`: what a repair may make up for, in harms. Each is searched with: a test that counts repairs counts them
    for less where samples are few, since many repairs and many harms scatter more than few of both.
    """

    def __init__(
        self,
        statistics: ExitStatistics,
        prices: Prices,
        demands: Demands,
        credits: tuple[float, ...] = (0.0,),
        effort: Effort = THOROUGH,
    ) -> None:
        self.statistics, self.demands = statistics, demands
        self._prices, self._credits, self._effort = prices, credits, effort

    @cached_property
    def plans(self) -> list[Choice]:
        """Plans that meet the demands; no exit at all is always considered."""
        found = ((search, [search.nothing, *search.front]) for search in self._searches)
        return [Choice(search, each) for search, front in found for each in self.fitting(front)]

    @cached_property
    def front(self) -> list[Candidate]:
        """Of falling precision on the search set, and cost; none is beaten by another."""
        found = sorted((choice.candidate for choice in self.plans), key=lambda each: (-each.net, each.cost_ms))
        front: list[Candidate] = []
        for each in found:
            if not front or each.cost_ms < front[-1].cost_ms:
                front.append(each)
        return front

    def keeps(self, precision: float) -> bool:
        """Whether some plan has that precision on the search set."""
        return any(self._kept(choice.candidate, precision) for choice in self.plans)

    def fastest(self, precision: float) -> Candidate:
        """The fastest plan with that precision on the search set; the one with the highest where none has it."""
        kept = [choice for choice in self.plans if self._kept(choice.candidate, precision)]
        if not kept:
            return max((choice.candidate for choice in self.plans), key=lambda each: (each.net, -each.cost_ms))
        found = min(kept, key=lambda choice: choice.candidate.cost_ms)
        if self.statistics.parts is not None:
            return self.between(found, lambda each: self._kept(each, precision))
        credit, most = found.search.credit, self._may_lose(precision)

        def least(near: Candidate) -> float:
            """What the search takes off a plan's worth for exits and repairs is not taken off its precision."""
            return -most - found.search.toll * len(near.thresholds) - (1 - credit) * near.repairs

        return self.near(found, least, lambda each: self._kept(each, precision), MOST_TRIES)

    def between(self, choice: Choice, kept: Callable[[Candidate], bool]) -> Candidate:
        """As `near`, where what a plan must be worth to be kept is not known: halfway between what is and what is not,
        again and again."""
        search = choice.search
        bolder = [search.worth(each) for each in search.front if each.cost_ms < choice.candidate.cost_ms]
        if not bolder:
            return choice.candidate
        low, high = max(bolder), search.worth(choice.candidate)

        def least(near: Candidate) -> float:
            nonlocal low, high
            worth = search.worth(near)
            low, high = (low, min(high, worth)) if kept(near) else (max(low, worth), high)
            return (low + high) / 2

        return self.near(choice, least, kept, MOST_TRIES)

    def near(
        self, choice: Choice, least: Callable[[Candidate], float], kept: Callable[[Candidate], bool], tries: int
    ) -> Candidate:
        """The cheapest plan between those that were found that is `kept` and meets the demands, or `choice` itself.

        `least`: what a plan must be worth, if it has the exits and repairs of the one before, which may have others.
        """
        best = near = choice.candidate
        tried: set[float] = set()
        while (worth := least(near)) not in tried and len(tried) < tries:
            tried.add(worth)
            found = choice.search.cheapest(worth)
            if found is None:
                break
            near = found
            if found.cost_ms < best.cost_ms and kept(found) and self.demands.met_by(found.thresholds):
                best = found
        return best

    def fitting(self, found: Iterable[Candidate]) -> list[Candidate]:
        """Those that meet the demands."""
        return [each for each in found if self.demands.met_by(each.thresholds)]

    def _kept(self, candidate: Candidate, precision: float) -> bool:
        """By the metric itself where that is no mean of scores."""
        if self.statistics.parts is not None:
            return self.statistics.pairs(candidate.thresholds).ratio >= precision
        return candidate.net >= -self._may_lose(precision)

    def _may_lose(self, precision: float) -> float:
        lost = (1 - precision) * self.statistics.n_right
        return int(lost) if self.statistics.is_right_or_wrong else lost

    @cached_property
    def _searches(self) -> list[Search]:
        return [search for credit in self._credits for search in self._with(credit)]

    def _with(self, credit: float) -> Iterator[Search]:
        worth = credit * self.statistics.repaired.astype(np.float64) - self.statistics.harmful
        plain = self._search(worth, credit, effort=self._effort)
        yield plain
        yield from self._narrower(plain.front, worth, credit)

    def _narrower(self, front: list[Candidate], worth: Floats, credit: float) -> Iterator[Search]:
        if not all(self.demands.in_time(each.thresholds) for each in front):
            for most in FEWER_EXITS:
                yield self._search(worth, credit, most_exits=most)
        below = np.unique(np.concatenate([self.demands.classes_below(each.thresholds) for each in front]))
        if below.size:
            for weight in WEIGHTS:
                yield self._search(worth * self._weights(below, weight), credit)

    def _search(self, worth: Floats, credit: float, **more: Any) -> Search:
        statistics, memory = self.statistics, self.demands.memory
        return Search(statistics, self._prices, worth, credit, statistics.grain, memory=memory, **more)

    def _weights(self, classes: npt.NDArray[np.int64], weight: float) -> Floats:
        own = self.statistics.classes
        return np.ones(self.statistics.n) if own is None else np.where(np.isin(own, classes), weight, 1.0)
