"""Thresholds that minimise the predicted latency within a budget of harm.

What makes the search finite: letting a harmless sample leave earlier costs nothing and lowers every later stage, so a
best threshold always stands just above a harmful sample's confidence. An exit that is used therefore lets
d = 0, 1, 2, … harmful samples go, and stops below the next one: it takes d + 1 blocks of the budget (see
`guarantee.pass_probability`). Dynamic programming over exits and blocks would be exact if a state were the blocks
spent; it is also *who* survives, so a beam keeps several states for each number of blocks, ranked by the cost so far
and by what their survivors would go on to cost under the best plan known (a rollout), which the next round improves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etbac.planner.statistics import Bools, ExitStatistics
from etbac.profiles.matrix import Floats

BEAM = 12
ROUNDS = 4


@dataclass(frozen=True)
class Candidate:
    """Thresholds by exit id, the blocks of harm that they take, and the expected cost of a batch in milliseconds."""

    thresholds: Mapping[int, float]
    blocks: int
    cost_ms: float


@dataclass(frozen=True)
class _State:
    """Exits so far decided: who is left, what it has cost, and the thresholds chosen."""

    alive: Bools
    blocks: int
    cost: float
    thresholds: Mapping[int, float]


@dataclass(frozen=True)
class _Move:
    """One decision at one exit: `cut` samples in order of falling confidence leave if they are still there."""

    state: _State
    blocks: int
    cost: float
    rank: float
    cut: int
    threshold: float | None


def cheapest(statistics: ExitStatistics, costs: Floats, most_blocks: int) -> Candidate:
    """The cheapest thresholds that take at most `most_blocks` blocks.

    `costs` [exits + 1, n + 1]: what stage k costs a batch when s of the n samples reach it, at [k, s].
    """
    best = _no_exit(statistics, costs)
    for _ in range(ROUNDS):
        found = min(_sweep(statistics, costs, most_blocks, best), key=lambda candidate: candidate.cost_ms, default=best)
        if found.cost_ms >= best.cost_ms:
            break
        best = found
    return best


def _no_exit(statistics: ExitStatistics, costs: Floats) -> Candidate:
    return Candidate({}, int(statistics.harmful[-1].sum()), float(costs[:, statistics.n].sum()))


def _sweep(statistics: ExitStatistics, costs: Floats, most_blocks: int, best: Candidate) -> Iterator[Candidate]:
    """One pass of the beam over the exits; what comes out keeps the budget."""
    n, harmful = statistics.n, statistics.harmful
    later = _later_costs(statistics, costs, best)
    beam = [_State(np.ones(n, bool), 0, float(costs[0, n]), {})]
    for e, exit_id in enumerate(statistics.exits):
        order = _Order.of(statistics.confidence[e])
        moves = [
            move for state in beam for move in _moves(state, order, harmful[e], costs[e + 1], later[e], most_blocks)
        ]
        beam = [_apply(move, order, exit_id) for move in _select(moves)]
    for state in beam:
        blocks = state.blocks + int(harmful[-1, state.alive].sum())
        if blocks <= most_blocks:
            yield Candidate(state.thresholds, blocks, state.cost)


@dataclass(frozen=True)
class _Order:
    """Samples by falling confidence.

    `tied_from[i]` is the first place with the confidence of place i; NaN never leaves, so only the first `valid` can.
    """

    samples: npt.NDArray[np.intp]
    confidence: npt.NDArray[np.float32]
    tied_from: npt.NDArray[np.intp]
    valid: int

    @staticmethod
    def of(confidence: npt.NDArray[np.float32]) -> _Order:
        samples = np.argsort(-confidence, kind="stable")
        ordered = confidence[samples]
        tied_from = np.searchsorted(-ordered, -ordered, side="left")
        return _Order(samples, ordered, tied_from, int((~np.isnan(ordered)).sum()))


def _moves(
    state: _State, order: _Order, harmful: Bools, next_costs: Floats, later: Floats, most_blocks: int
) -> Iterator[_Move]:
    """Nobody leaves; or all above the first harmful survivor, above the second, …; or everybody."""
    alive = state.alive[order.samples]
    left = np.concatenate([[0], alive.cumsum()])
    value = np.concatenate([[0.0], np.where(alive, later[order.samples], 0.0).cumsum()])
    survivors = left[-1]

    def move(blocks: int, cut: int, threshold: float | None) -> _Move:
        cost = state.cost + float(next_costs[survivors - left[cut]])
        return _Move(state, blocks, cost, cost + float(value[-1] - value[cut]), cut, threshold)

    yield move(state.blocks, 0, None)
    harms = np.flatnonzero(alive[: order.valid] & harmful[order.samples][: order.valid])
    cuts = [*order.tied_from[harms[: most_blocks - state.blocks]], order.valid]
    for d, cut in enumerate(cuts):
        blocks = state.blocks + d + 1
        if blocks > most_blocks or left[cut] == (left[cuts[d - 1]] if d else 0):
            continue
        last = int(np.searchsorted(left, left[cut], side="left")) - 1
        yield move(blocks, int(cut), float(order.confidence[last]))


def _select(moves: list[_Move]) -> list[_Move]:
    """The `BEAM` best for each number of blocks, each rank once."""
    chosen: dict[int, dict[float, _Move]] = {}
    for move in sorted(moves, key=lambda move: move.rank):
        kept = chosen.setdefault(move.blocks, {})
        if len(kept) < BEAM:
            kept.setdefault(round(move.rank, 12), move)
    return [move for kept in chosen.values() for move in kept.values()]


def _apply(move: _Move, order: _Order, exit_id: int) -> _State:
    if move.threshold is None:
        return _State(move.state.alive, move.blocks, move.cost, move.state.thresholds)
    alive = move.state.alive.copy()
    alive[order.samples[: move.cut]] = False
    return _State(alive, move.blocks, move.cost, {**move.state.thresholds, exit_id: move.threshold})


def _later_costs(statistics: ExitStatistics, costs: Floats, plan: Candidate) -> Floats:
    """[exits, n]: what a sample that survives exit e costs from the stage after the next one on, under `plan`.

    A stage's cost is shared equally by the samples that it runs, under the plan.
    """
    survivors = statistics.replay(plan.thresholds).survivors
    stages = np.arange(len(survivors))
    each = costs[stages, survivors] / np.maximum(survivors, 1)
    later = np.zeros((len(statistics.exits), statistics.n))
    onwards = np.full(statistics.n, each[-1])
    for e in reversed(range(len(statistics.exits) - 1)):
        limit = np.float32(plan.thresholds.get(statistics.exits[e + 1], np.inf))
        stays = ~((statistics.confidence[e + 1] >= limit) & (limit < np.inf))
        later[e] = np.where(stays, onwards, 0.0)
        onwards = each[e + 1] + later[e]
    return later
