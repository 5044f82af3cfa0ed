"""What a plan records of the latency that is predicted, and of its search set."""

from __future__ import annotations

import math
from typing import Any

from etbac.contract import FULL_MODEL_ID
from etbac.planner.candidate import Candidate
from etbac.planner.demands import TAIL, Demands, tail_ms
from etbac.planner.goal import Goal
from etbac.planner.prediction import chain_latency, rebuilt_latency
from etbac.planner.prices import Prices
from etbac.planner.static_cut import static_cut
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix


def sizes(matrix: Matrix, batch: int) -> list[int]:
    """Those of the profile, and the plan's own."""
    return sorted({*matrix.batch_sizes, batch})


def predicted(matrix: Matrix, batch: int, search: ExitStatistics, chosen: Candidate) -> dict[int, dict[str, float]]:
    """At every one of `sizes`, for samples like those of the search set: of the chain as it is, and of one that is
    built with the chosen exits alone."""
    replay = search.replay(chosen.thresholds)
    reach, every = replay.survivors / search.n, range(len(search.exits))
    used = [exit_id in chosen.thresholds for exit_id in search.exits]
    return {
        size: {
            "chain_ms": chain_latency(matrix, size, reach),
            "chain_p99_ms": tail_ms(Prices.exactly(matrix, size), replay.shares, every),
            "rebuilt_ms": rebuilt_latency(matrix, size, reach, used),
            "full_ms": matrix.full_at(size),
            "full_p99_ms": matrix.full_quantile(size, TAIL),
        }
        for size in sizes(matrix, batch)
    }


def padding(matrix: Matrix) -> dict[int, dict[int, int]]:
    """For each stage's exit id, the numbers of rows that are padded, and to how many."""
    tables = zip(matrix.stages, matrix.padded(matrix.batch_sizes[-1]).tolist(), strict=True)
    larger = {exit_id: {reach: rows for reach, rows in enumerate(each) if rows > reach} for exit_id, each in tables}
    return {exit_id: sizes for exit_id, sizes in larger.items() if sizes}


def of_search_set(search: ExitStatistics, chosen: Candidate) -> dict[str, Any]:
    """What the search set says of the plan, of the full model and of each exit alone."""
    replay, stages = search.replay(chosen.thresholds), (*search.exits, FULL_MODEL_ID)
    return {
        "n": search.n,
        "n_right": search.n_right,
        "harms": replay.pairs.harms,
        "repairs": replay.pairs.repairs,
        "precision": _or_none(replay.precision),
        "full": replay.pairs.full_metric,
        "exits": {str(exit_id): search.at(place).chain_metric for place, exit_id in enumerate(stages)},
        "shares": {str(id_): float(share) for id_, share in zip(stages, replay.shares, strict=True)},
    }


def demanded(demands: Demands, chosen: Candidate) -> dict[str, Any]:
    """The tail of a batch's latency, what the heads take, and the class that comes off worst."""
    memory = demands.memory
    classes, ratios = demands.class_precisions(chosen.thresholds)
    worst = {"class": int(classes[ratios.argmin()]), "precision": float(ratios.min())} if classes.size else None
    return {
        "p99_ms": demands.tail_ms(chosen.thresholds),
        "most_ms": demands.most_ms,
        "head_bytes": memory.taken(chosen.thresholds) if memory.is_limited else None,
        "most_head_bytes": memory.most if memory.is_limited else None,
        "worst_class": worst,
        "min_class_precision": demands.class_precision,
    }


def on_front(candidate: Candidate, search: ExitStatistics) -> dict[str, Any]:
    return {
        "precision": _or_none(search.pairs(candidate.thresholds).ratio),
        "predicted_ms": candidate.cost_ms,
        "thresholds": {str(exit_id): threshold for exit_id, threshold in candidate.thresholds.items()},
    }


def best_static_cut(matrix: Matrix, batch: int, search: ExitStatistics, goal: Goal) -> dict[str, Any] | None:
    """The best cut without a gate, as the search set sees it: information, nothing is certified."""
    cut = static_cut(search, goal.precision, goal.delta, goal.test)
    if cut is None:
        return None
    predicted = {str(size): cut.latency(matrix, size) for size in sizes(matrix, batch)}
    return {"exit_id": cut.exit_id, "precision": cut.precision, "predicted": predicted}


def _or_none(ratio: float) -> float | None:
    return None if math.isnan(ratio) else ratio
