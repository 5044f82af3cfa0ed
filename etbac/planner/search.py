"""Which exits to use, and at which thresholds: the fastest chain that keeps a worth.

The worth of a plan is a sum over samples of what each is worth where it leaves (an answer that is right, or one that is
not lost), less a toll for every exit that is used. The search minimises cost - price * worth at a price of worth (a
Lagrangian), at many prices: that is a front of plans, each the fastest of its worth. At one price it is a descent over
exits. All other exits held fixed, *every* threshold of an exit is priced at once, exactly: samples by falling
confidence, cumulative sums of what leaving now is worth more than leaving later, and of how many would have reached
each later stage. Not using an exit at all is one of its thresholds, so the descent chooses the exits too; where it
stands still, used exits are swapped for others. The prices' path is walked in both directions, each step from the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.planner.candidate import Candidate
from etbac.planner.evidence import Bools
from etbac.planner.memory import UNLIMITED, Memory
from etbac.planner.prices import Prices
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Floats

Limits = npt.NDArray[np.float32]
"""A threshold for every exit; +inf: it is not used."""

UNUSED = np.float32(np.inf)
ROUNDS = 20
STEPS = 24
FEW = 8
"""Exits up to which more starts are tried, and where no sample is left out more exchanges, of up to `STEPS` steps."""
EPS = 1e-9


@dataclass(frozen=True)
class Effort:
    """`prices` on the path; samples, `coarse`, above which it is walked on so many of them; whether it is walked `back`
    too, used exits are swapped, and plans polished, from several starts and in pairs of exits."""

    prices: int = 14
    coarse: int = 2_500
    back: bool = True
    swaps: bool = True
    pairs: bool = True


THOROUGH = Effort()
QUICK = Effort(prices=10, coarse=1_000, back=False, swaps=False, pairs=False)


@dataclass(frozen=True)
class _State:
    """Thresholds, and what they cost and are worth."""

    limits: Limits
    cost: float
    worth: float

    def loss(self, price: float) -> float:
        return self.cost - price * self.worth


@dataclass(frozen=True)
class _Scan:
    """All thresholds of one exit, the first being "not used": what each costs and is worth with the others held."""

    limits: npt.NDArray[np.float32]
    cost: Floats
    worth: Floats

    def state(self, limits: Limits, place: int, row: int) -> _State:
        """One of them, with the others' `limits`."""
        return _State(_with(limits, place, self.limits[row]), float(self.cost[row]), float(self.worth[row]))

    def cheapest(self, state: _State, place: int, least: float) -> _State:
        """The cheapest that is worth `least`; `state` as it was where none is."""
        cost = np.where(self.worth >= least - EPS, self.cost, np.inf)
        row = int(cost.argmin())
        return self.state(state.limits, place, row) if np.isfinite(cost[row]) else state


class Search:
    """The plans of one search set.

    `worth` [stages, n] is what a sample is worth where it leaves (`credit` is what that is for a whole repair; such a
    harm is -1); `toll` is taken off for every exit used; at most `most_exits` are, and no more than fit into `memory`.
    """

    def __init__(
        self,
        statistics: ExitStatistics,
        prices: Prices,
        worth: npt.NDArray[np.floating],
        credit: float = 0.0,
        toll: float = 1.0,
        most_exits: int | None = None,
        effort: Effort = THOROUGH,
        memory: Memory = UNLIMITED,
    ) -> None:
        self.statistics, self.credit, self.toll = statistics, credit, toll
        self._prices, self._effort, self._memory = prices, effort, memory
        self._worth = worth.astype(np.float64)
        self._exits = len(statistics.exits)
        self._most = self._exits if most_exits is None else most_exits
        self._orders = np.argsort(-statistics.confidence, axis=1, kind="stable")  # NaN, which never leaves, is last
        self._few = self._exits <= FEW and effort.pairs
        self._small = self._few and statistics.n <= effort.coarse
        self._starts = 4 if self._small else 1
        self._segments: dict[tuple[int, int], Floats] = {}

    @cached_property
    def front(self) -> list[Candidate]:
        """Plans of falling worth and cost, from no exit at all to the boldest; none is beaten by another."""
        return [self._candidate(state) for state in self._front]

    @cached_property
    def nothing(self) -> Candidate:
        """The plan that uses no exit."""
        return self._candidate(self._nothing())

    def worth(self, candidate: Candidate) -> float:
        """What the search takes it to be worth, all classes weighing alike."""
        return self.credit * candidate.repairs - candidate.harms - self.toll * len(candidate.thresholds)

    def cheapest(self, least: float) -> Candidate | None:
        """The cheapest plan that is worth `least`; None where there is none."""
        kept = [state for state in self._front if state.worth >= least - EPS]
        beyond = [state for state in self._front if state.worth < least - EPS]
        if not kept:
            return None
        starts = [*kept[-self._starts :], *(beyond[: self._starts] if self._effort.pairs else [])]
        if beyond and self._effort.pairs:
            price = (kept[-1].cost - beyond[0].cost) / (kept[-1].worth - beyond[0].worth)
            seeds = self._seeds(price) if self._few else []
            starts += [self._settle(state, price) for state in (kept[-1], beyond[0], *seeds)]
        feasible = [found for state in starts if (found := self._lift(state, least)).worth >= least - EPS]
        ways = {state.limits.tobytes(): state for state in feasible}.values()
        better = sorted((self._alone(state, least) for state in ways), key=lambda state: state.cost)
        if self._effort.pairs:
            better = [self._in_pairs(state, least) for state in better[: self._starts]]
        return self._candidate(min(better, key=_cost))

    def _seeds(self, price: float) -> list[_State]:
        """Every exit alone, and every two."""
        alone = [self._best(self._nothing(), place, price) for place in range(self._exits)]
        pairs = combinations(range(self._exits), 2)
        return [*alone, *(self._best(alone[first], second, price) for first, second in pairs)]

    @cached_property
    def _front(self) -> list[_State]:
        """Found on some of the samples where there are many, and then refined on all."""
        nothing = self._nothing()
        prices = nothing.cost / self.statistics.n * np.geomspace(3_000, 0.3, self._effort.prices)
        if self.statistics.n > self._effort.coarse:
            starts = self._thinned()._walk(prices * self.statistics.n / self._effort.coarse)
            own = [self._evaluate(state.limits) for state in starts]
            return _pareto([nothing, *map(self._refine, own, prices)])
        return _pareto([nothing, *self._walk(prices)])

    def _nothing(self) -> _State:
        return self._evaluate(np.full(self._exits, UNUSED, np.float32))

    def _walk(self, prices: Floats) -> list[_State]:
        """The best state found at each price, there and back, each step from the last."""
        there = list(accumulate(prices, self._descend, initial=self._nothing()))[1:]
        if not self._effort.back:
            return there
        back = list(accumulate(prices[::-1], self._descend, initial=there[-1]))[:0:-1]
        return [
            min(states, key=lambda state: state.loss(price)) for price, *states in zip(prices, there, back, strict=True)
        ]

    def _thinned(self) -> Search:
        n, some = self.statistics.n, self._effort.coarse
        rows = np.random.default_rng(0).permutation(n)[:some]
        prices, toll = self._prices.at(np.linspace(0, n, some + 1).round().astype(int)), self.toll * some / n
        some_of, worth = self.statistics.take(rows), self._worth[:, rows]
        return Search(some_of, prices, worth, self.credit, toll, self._most, self._effort, self._memory)

    def _descend(self, state: _State, price: float) -> _State:
        for _ in range(ROUNDS):
            settled = self._settle(state, price)
            moved = self._swap(settled, price) if self._effort.swaps else settled
            if moved.loss(price) >= state.loss(price) - EPS:
                return moved
            state = moved
        return state

    def _settle(self, state: _State, price: float) -> _State:
        """One exit after the other takes its best threshold, until none has a better one."""
        for _ in range(ROUNDS):
            refined = self._refine(state, price)
            settled = self._each(refined, price, range(self._exits))
            if settled.loss(price) >= refined.loss(price) - EPS:
                return refined
            state = settled
        return state

    def _refine(self, state: _State, price: float) -> _State:
        """As `_settle`, of the exits that are used alone."""
        for _ in range(ROUNDS):
            refined = self._each(state, price, np.flatnonzero(state.limits < UNUSED).tolist())
            if refined.loss(price) >= state.loss(price) - EPS:
                return refined
            state = refined
        return state

    def _each(self, state: _State, price: float, places: Iterable[int]) -> _State:
        for place in places:
            state = min(state, self._best(state, place, price), key=lambda each: each.loss(price))
        return state

    def _swap(self, state: _State, price: float) -> _State:
        """The best exchange of one used exit for another one, if that is better."""
        best = state
        for used, others in self._gaps(state.limits):
            without = self._evaluate(_with(state.limits, used, UNUSED))
            for place in others:
                best = min(best, self._best(without, place, price), key=lambda each: each.loss(price))
        return best

    def _gaps(self, limits: Limits) -> Iterator[tuple[int, list[int]]]:
        """Each used exit, with the unused ones between the used ones on its two sides."""
        used = [-1, *np.flatnonzero(limits < UNUSED).tolist(), self._exits]
        for before, place, after in zip(used, used[1:], used[2:], strict=False):
            reach = range(self._exits) if self._small else range(before + 1, after)
            yield place, [other for other in reach if other != place and limits[other] == UNUSED]

    def _best(self, state: _State, place: int, price: float) -> _State:
        scan = self._scan(state, place)
        row = int((scan.cost - price * scan.worth).argmin())
        return scan.state(state.limits, place, row)

    def _alone(self, state: _State, least: float) -> _State:
        """One exit after the other takes its cheapest threshold that leaves the plan worth `least`."""
        for _ in range(ROUNDS):
            before = state
            for place in range(self._exits):
                state = self._scan(state, place).cheapest(state, place, least)
            if state.cost >= before.cost - EPS or not self._few:
                break
        return state

    def _in_pairs(self, state: _State, least: float) -> _State:
        """One used exit a little more cautious or left out, and another one bolder for it, as long as that pays."""
        for _ in range(ROUNDS):
            before = state
            for used, gap in self._gaps(state.limits):
                state = min(self._exchanged(state, used, gap, least), key=_cost, default=state)
            if state.cost >= before.cost - EPS:
                break
            state = self._alone(state, least)
        return state

    def _exchanged(self, state: _State, used: int, gap: list[int], least: float) -> Iterator[_State]:
        yield state
        others = [place for place in np.flatnonzero(state.limits < UNUSED).tolist() if place != used]
        scan = self._scan(state, used)
        now = int((scan.limits >= state.limits[used]).sum()) - 1
        for row in {0, *range(max(0, now - (STEPS if self._small else 2)), now)}:
            first = scan.state(state.limits, used, row)
            for place in others + gap if row == 0 or self._small else others:
                exchanged = self._scan(first, place).cheapest(first, place, least)
                if exchanged.worth >= least - EPS:
                    yield exchanged

    def _lift(self, state: _State, least: float) -> _State:
        """Raise thresholds until the plan is worth `least`, each time where a unit of worth costs the least."""
        while state.worth < least - EPS:
            steps = []
            for place in np.flatnonzero(state.limits < UNUSED).tolist():
                scan = self._scan(state, place)
                up = np.flatnonzero(scan.worth > state.worth + EPS)
                rate = (scan.cost[up] - state.cost) / (np.minimum(scan.worth[up], least) - state.worth)
                if up.size:
                    steps.append((float(rate.min()), place, scan, int(up[rate.argmin()])))
            if not steps:
                return state
            _, place, scan, row = min(steps, key=lambda step: step[0])
            state = scan.state(state.limits, place, row)
        return state

    def _scan(self, state: _State, place: int) -> _Scan:
        order, used = self._orders[place], np.flatnonzero(state.limits < UNUSED)
        before, later = used[used < place], used[used > place]
        previous = int(before[-1]) if before.size else -1
        there, cost_before, worth_before = self._reach(state.limits, before)
        samples = order[there[order]]
        count = len(samples)

        out = self._leaves_at(state.limits, later)[samples]
        now = self._worth[place][samples]
        stay = self._worth[out, samples]
        worth = worth_before - self.toll * len(later) + stay.sum() + _from_zero(now - stay)
        worth[1:] -= self.toll
        ordered = self.statistics.confidence[place][samples]
        exits = [self.statistics.exits[each] for each in (*before, place, *later)]
        one_too_many = len(exits) > self._most or not self._memory.holds(exits)
        rows = np.append(0, [] if one_too_many else _cuts(ordered, worth)).astype(np.intp)

        cost = np.full(len(rows), cost_before + self._segment(previous, place)[count])
        left, at = count - rows, place
        skipped, skipped_left, skipped_at = cost_before, count, previous
        for exit_ in (*later.tolist(), self._prices.end):
            cost += self._segment(at, exit_)[left]
            skipped += self._segment(skipped_at, exit_)[skipped_left]
            leaving = np.flatnonzero(out == exit_)
            left, at = left - (len(leaving) - np.searchsorted(leaving, rows)), exit_
            skipped_left, skipped_at = skipped_left - len(leaving), exit_
        cost[0] = skipped
        return _Scan(np.append(UNUSED, ordered[rows[1:] - 1]), cost, worth[rows])

    def _segment(self, before: int, place: int) -> Floats:
        if (before, place) not in self._segments:
            self._segments[before, place] = self._prices.segment(before, place)
        return self._segments[before, place]

    def _reach(self, limits: Limits, before: npt.NDArray[np.intp]) -> tuple[Bools, float, float]:
        """Who gets past these exits, and what they have cost and been worth."""
        there, cost, worth, at = np.ones(self.statistics.n, bool), 0.0, 0.0, -1
        for place in before.tolist():
            cost += float(self._segment(at, place)[there.sum()])
            fires = there & (self.statistics.confidence[place] >= limits[place])
            worth += float(self._worth[place, fires].sum()) - self.toll
            there, at = there & ~fires, place
        return there, cost, worth

    def _leaves_at(self, limits: Limits, later: npt.NDArray[np.intp]) -> npt.NDArray[np.int16]:
        out = np.full(self.statistics.n, self._exits, np.int16)
        for place in later[::-1].tolist():
            out[self.statistics.confidence[place] >= limits[place]] = place
        return out

    def _evaluate(self, limits: Limits) -> _State:
        used = np.flatnonzero(limits < UNUSED)
        there, cost, worth = self._reach(limits, used)
        last = self._segment(int(used[-1]) if used.size else -1, self._prices.end)[there.sum()]
        return _State(limits, cost + float(last), worth + float(self._worth[-1, there].sum()))

    def _candidate(self, state: _State) -> Candidate:
        used = np.flatnonzero(state.limits < UNUSED)
        thresholds = {self.statistics.exits[place]: float(state.limits[place]) for place in used}
        pairs = self.statistics.pairs(thresholds)
        return Candidate(thresholds, state.cost, pairs.harms, pairs.repairs, pairs.grain)


def _cuts(ordered: npt.NDArray[np.float32], worth: Floats) -> npt.NDArray[np.intp]:
    """How many of the samples, by falling confidence, leave at each threshold behind which worth is lost.

    A threshold is a sample's confidence; those behind which the next one is worth no less are beaten by that one.
    """
    following = np.append(ordered[1:], np.float32(np.nan))[: len(ordered)]
    cuts: npt.NDArray[np.intp] = 1 + np.flatnonzero(np.isfinite(ordered) & (ordered != following))
    return cuts[np.append(np.diff(worth[cuts]) < 0, True)] if cuts.size else cuts


def _cost(state: _State) -> float:
    return state.cost


def _with(limits: Limits, place: int, limit: np.float32 | float) -> Limits:
    changed: Limits = limits.copy()
    changed[place] = limit
    return changed


def _from_zero(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """0 and then the cumulative sums."""
    sums = np.zeros(len(values) + 1, np.float64 if values.dtype.kind == "f" else np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _pareto(states: list[_State]) -> list[_State]:
    """Of falling worth; each cheaper than all before it."""
    front: list[_State] = []
    for state in sorted(states, key=lambda each: (-each.worth, each.cost)):
        if not front or state.cost < front[-1].cost - EPS:
            front.append(state)
    return front
