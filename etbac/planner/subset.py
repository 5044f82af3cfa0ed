"""Which exits to build a chain with where a gate reads predictions of earlier exits.

Such a gate's confidences change with the exits that a chain has, and it needs a head also where nobody leaves. So
each subset of exits is a chain of its own: its confidences are recomputed from what every exit has answered, and its
stages priced as they would be built. From all exits, that exit is left out whose absence makes the fastest plan
faster, until there is none (backward elimination).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from etbac.contract import Manifest
from etbac.passes.gates import GateWithMemory, create
from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.memory import Memory
from etbac.planner.prices import Prices
from etbac.planner.search import EPS, QUICK
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix

Gates = Mapping[int, GateWithMemory]
Score = tuple[float, float]


def gates_with_memory(manifest: Manifest) -> dict[int, GateWithMemory]:
    """By exit id, the gates that read earlier exits' predictions."""
    found = {}
    for entry in manifest.segments:
        name, options = entry.contract.gate.get("name"), dict(entry.contract.gate)
        gate = None if name is None else create(options.pop("name"), options)
        if isinstance(gate, GateWithMemory):
            found[entry.contract.exit_id] = gate
    return found


def keep(statistics: ExitStatistics, exits: tuple[int, ...], gates: Gates) -> ExitStatistics:
    """What the statistics would be of a chain with these exits alone, ids in the order of the chain."""
    places = [statistics.exits.index(exit_id) for exit_id in exits]
    confidence, summaries = statistics.confidence[places], statistics.summaries
    if summaries is None:
        raise ValueError("statistics without summaries are of the exits that they were taken with")
    for row, exit_id in enumerate(exits):
        if exit_id in gates:
            confidence[row] = gates[exit_id].recomputed(summaries[places[: row + 1]])
    stages, parts = [*places, -1], statistics.parts
    return replace(
        statistics,
        exits=exits,
        confidence=confidence,
        scores=statistics.scores[stages],
        summaries=summaries[places],
        parts=None if parts is None else replace(parts, chain=parts.chain[stages]),
    )


def recomputes(statistics: ExitStatistics, gates: Gates) -> bool:
    """Whether the summaries tell the confidences that the chain itself gives, with all its exits."""
    if statistics.summaries is None:
        return False
    again = keep(statistics, statistics.exits, gates).confidence
    return np.array_equal(again, statistics.confidence, equal_nan=True)


def best_subset(
    statistics: ExitStatistics,
    matrix: Matrix,
    gates: Gates,
    batch: int,
    precision: float,
    credit: float,
    memory: Memory,
) -> tuple[int, ...]:
    """The exits of the chain with the fastest plan of that precision, among those that fit into `memory`.

    `credit`: what a repair may make up for, in harms.
    """

    def score(exits: tuple[int, ...]) -> Score:
        kept, built = keep(statistics, exits, gates), matrix.with_exits(exits)
        demands = Demands(kept, Prices.exactly(built, batch))
        choices = Choices(kept, Prices.expected(built, batch, kept.n), demands, (credit,), QUICK)
        excess = max(0.0, memory.taken(exits) - memory.most) if memory.is_limited else 0.0
        return excess, choices.fastest(precision).cost_ms

    best, kept = score(statistics.exits), statistics.exits
    while len(kept) > 1:
        found, fewer = min((score(fewer), fewer) for fewer in _without_one(kept))
        if found >= (best[0], best[1] - EPS):
            break
        best, kept = found, fewer
    return kept


def _without_one(exits: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return (exits[:place] + exits[place + 1 :] for place in range(len(exits)))
