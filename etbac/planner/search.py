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
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from etbac.planner.statistics import Bools, ExitStatistics
from etbac.profiles.matrix import Floats

BEAM = 12
"""States kept for each level of spending."""
LEVELS = 24
"""Numbers of blocks that are told apart: a budget up to this is searched block by block, a larger one in steps."""
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
class _Moves:
    """Decisions at one exit, one a row: of state `state`, the first `cut` samples by falling confidence leave if they
    are still there, the last of them at `threshold` (NaN: nobody leaves). `blocks` and `cost` are those after it, and
    `rank` adds what the survivors are expected to cost from there on."""

    state: npt.NDArray[np.intp]
    blocks: npt.NDArray[np.int64]
    cost: Floats
    rank: Floats
    cut: npt.NDArray[np.int64]
    threshold: Floats


def cheapest(statistics: ExitStatistics, costs: Floats, most_blocks: int) -> Candidate:
    """The cheapest thresholds that take at most `most_blocks` blocks; none at all where nothing keeps to that.

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
        each = [_moves(beam, k, order, harmful[e], costs[e + 1], later[e], most_blocks) for k in range(len(beam))]
        moves = _Moves(*(np.concatenate([getattr(part, field.name) for part in each]) for field in fields(_Moves)))
        beam = [_apply(beam, moves, row, order, exit_id) for row in _select(moves, most_blocks)]
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
    beam: list[_State], place: int, order: _Order, harmful: Bools, next_costs: Floats, later: Floats, most_blocks: int
) -> _Moves:
    """Of one state: nobody leaves; or all above the first harmful survivor, above the second, …; or everybody."""
    state = beam[place]
    alive = state.alive[order.samples]
    left = np.concatenate([[0], alive.cumsum()])
    value = np.concatenate([[0.0], np.where(alive, later[order.samples], 0.0).cumsum()])

    harms = np.flatnonzero(alive[: order.valid] & harmful[order.samples[: order.valid]])
    cuts = np.append(order.tied_from[harms], order.valid)
    passed_by = _steps(min(len(cuts), most_blocks - state.blocks))
    cut = np.concatenate([[0], cuts[passed_by]])
    blocks = state.blocks + np.concatenate([[0], passed_by + 1])
    new = np.concatenate([[True], left[cut[1:]] > left[cut[:-1]]])
    cut, blocks = cut[new], blocks[new]

    cost = state.cost + next_costs[left[-1] - left[cut]]
    last = np.searchsorted(left, left[cut], side="left") - 1
    threshold = np.where(cut > 0, order.confidence[last], np.nan)
    return _Moves(np.full(len(cut), place), blocks, cost, cost + value[-1] - value[cut], cut, threshold)


def _steps(count: int) -> npt.NDArray[np.int64]:
    """0 … count - 1; of more than `LEVELS`, the first few and then steps that widen."""
    if count <= LEVELS:
        return np.arange(max(count, 0))
    few = LEVELS // 4
    return np.unique(np.concatenate([np.arange(few), np.geomspace(few, count - 1, LEVELS - few).round()]).astype(int))


def _select(moves: _Moves, most_blocks: int) -> npt.NDArray[np.intp]:
    """Rows of the `BEAM` best moves for each level of spending, each rank once."""
    level = -(-moves.blocks * min(LEVELS, most_blocks) // max(1, most_blocks))
    rank = moves.rank.round(12)
    ordered = np.lexsort([moves.blocks, rank, level])
    level, rank = level[ordered], rank[ordered]
    first = np.append(True, (level[1:] != level[:-1]) | (rank[1:] != rank[:-1]))
    ordered, level = ordered[first], level[first]
    place = np.arange(len(level)) - np.searchsorted(level, level, side="left")
    rows: npt.NDArray[np.intp] = ordered[place < BEAM]
    return rows


def _apply(beam: list[_State], moves: _Moves, row: int, order: _Order, exit_id: int) -> _State:
    state = beam[moves.state[row]]
    blocks, cost, threshold = int(moves.blocks[row]), float(moves.cost[row]), float(moves.threshold[row])
    if np.isnan(threshold):
        return _State(state.alive, blocks, cost, state.thresholds)
    alive = state.alive.copy()
    alive[order.samples[: moves.cut[row]]] = False
    return _State(alive, blocks, cost, {**state.thresholds, exit_id: threshold})


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
