"""`etbac plan`: thresholds chosen on the search set, tested once on the certify set, priced with the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etbac.contract import FULL_MODEL_ID, Plan
from etbac.engine_dir import write_plan
from etbac.errors import EtbacError, UsageError
from etbac.metrics import metric as find_metric
from etbac.planner.certify import certify, next_level, too_few
from etbac.planner.chance import Ahead
from etbac.planner.collect import check_labels, judge_full, passes
from etbac.planner.evidence import find_test
from etbac.planner.goal import Goal
from etbac.planner.guarantee import check_delta, check_precision
from etbac.planner.prediction import chain_latency, stage_costs
from etbac.planner.recorded import collect_once
from etbac.planner.samples import SampleSet, load_search_and_certify
from etbac.planner.search import Candidate, cheapest
from etbac.planner.sequence import candidates
from etbac.planner.static_cut import static_cut
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Floats, Matrix
from etbac.profiles.profiler import find_or_make
from etbac.runtime.chain import Chain, load

BATCH_SIZE = 16
TEST = "betting"
NOT_READ = "the certify set was not read"

Bar = Callable[[str, int], Callable[[int], None]]
"""(what is being done, its whole) -> a function that takes what has been done since."""


def plan(
    engine_dir: Path | str,
    precision: float = 0.9968,
    delta: float = 0.05,
    *,
    data: Path | None = None,
    metric: str | None = None,
    test: str = TEST,
    batch_size: int | None = None,
    uncertified: bool = False,
    read: bool = True,
    seed: int = 0,
    backend: str | None = None,
    dtype: str | None = None,
    trust: bool = False,
    note: Callable[[str], None] = lambda sentence: None,
    bar: Bar = lambda name, whole: lambda done: None,
) -> Plan:
    """Choose a threshold for every exit, certify what they keep, and put the plan in force.

    The chain is made fast at `batch_size` (16, or the chain's largest if that is less); what is certified, at level
    `delta`, is that its metric is at least `precision` times the full model's. `data`: an .npz file (inputs by name,
    `labels`), split in halves by `seed`, or the folder of the checkpoint's data set; by default where the checkpoint
    recorded it. `metric`: by default the checkpoint's. `test`: "betting", which counts what the chain repairs, or
    "exact", which counts losses alone. `backend`, `dtype`, `trust`: which engines, see `load`.

    Raises EtbacError, and changes nothing, where the precision cannot be certified; with `uncertified` the search
    set's plan is put in force instead, marked and with the reason; without `read` it always is, and the certify set is
    not looked at.
    """
    check_precision(precision)
    check_delta(delta)
    asked = None if metric is None else find_metric(metric)
    with load(engine_dir, backend, dtype, trust) as chain:
        if chain.note:
            note(chain.note)
        goal = Goal(asked or find_metric(chain.manifest.metric), find_test(test), precision, delta)
        batch = _batch_size(batch_size, chain.manifest.max_batch)
        search_set, certify_set = load_search_and_certify(chain.engine_dir, data, seed, note)
        check_labels(search_set, goal.metric)

        profile = find_or_make(chain, note)
        whole = passes(goal.metric) * len(search_set)
        search = collect_once(chain, search_set, goal.metric, progress=bar("search set", whole))
        costs = stage_costs(profile.matrix, batch, np.arange(search.n + 1) / search.n)
        outcome = _certified(chain, certify_set, goal, search, costs, bar) if read else _Outcome(reason=NOT_READ)
        if outcome.reason is not None and read and not uncertified:
            raise EtbacError(outcome.reason)
        chosen = outcome.candidate or cheapest(search, costs, int((1 - precision) * search.n_right))
        made = Plan(
            exits=chain.exits,
            thresholds=dict(chosen.thresholds),
            precision=precision,
            certified=outcome.certificate is not None,
            reason=outcome.reason,
            certificate=outcome.certificate,
            predicted=_predicted(profile.matrix, search, chosen),
            search={
                "metric": goal.metric.name,
                "batch_size": batch,
                "set_sha256": search_set.sha256,
                "seed": seed,
                **_figures(search, chosen),
                "static_cut": _static_cut(profile.matrix, search, goal),
            },
        )
        write_plan(chain.engine_dir, profile.name, made)
    return made


@dataclass(frozen=True)
class _Outcome:
    """A certified candidate with its certificate, or the reason why there is none."""

    candidate: Candidate | None = None
    certificate: Mapping[str, Any] | None = None
    reason: str | None = None


def _certified(
    chain: Chain, samples: SampleSet, goal: Goal, search: ExitStatistics, costs: Floats, bar: Bar
) -> _Outcome:
    """Fix the sequence of candidates before any exit's answer on the certify set is known, then test it."""
    full_right = judge_full(chain, samples, goal.metric, bar("certify set: full model", len(samples)))
    n_right, level = int(full_right.sum()), next_level(chain.engine_dir, samples, goal.delta)
    sequence = candidates(search, costs, Ahead(goal.test, goal.precision, level, len(samples), n_right))
    if not sequence:
        return _Outcome(reason=f"{too_few(len(samples), n_right, goal, level)}. Add data with --data")
    done = certify(chain, samples, full_right, goal, sequence, bar("certify set: exits", len(samples)))
    if done.winner is None:
        return _Outcome(reason=f"{done.failure}. Ask for a lower --precision, or add data with --data")
    return _Outcome(done.winner.candidate, done.certificate(done.winner, chain))


def _batch_size(asked: int | None, largest: int) -> int:
    if asked is None:
        return min(BATCH_SIZE, largest)
    if not 1 <= asked <= largest:
        raise UsageError(f"--batch-size {asked}: this chain runs batches of 1 to {largest}")
    return asked


def _predicted(matrix: Matrix, search: ExitStatistics, chosen: Candidate) -> dict[int, dict[str, float]]:
    """At every batch size of the profile, for samples like those of the search set."""
    reach = search.replay(chosen.thresholds).survivors / search.n
    return {
        size: {"chain_ms": chain_latency(matrix, size, reach), "full_ms": matrix.full_at(size)}
        for size in matrix.batch_sizes
    }


def _figures(search: ExitStatistics, chosen: Candidate) -> dict[str, Any]:
    """What the search set says of the plan, of the full model and of each exit alone."""
    replay, stages = search.replay(chosen.thresholds), (*search.exits, FULL_MODEL_ID)
    return {
        "n": search.n,
        "n_right": search.n_right,
        "harms": replay.harms,
        "repairs": replay.repairs,
        "precision": replay.precision if search.n_right else None,
        "full": search.n_right / search.n,
        "exits": {str(id_): float(right.mean()) for id_, right in zip(stages, search.right, strict=True)},
        "shares": {str(id_): float(share) for id_, share in zip(stages, replay.shares, strict=True)},
    }


def _static_cut(matrix: Matrix, search: ExitStatistics, goal: Goal) -> dict[str, Any] | None:
    """The best cut without a gate, as the search set sees it: information, nothing is certified."""
    cut = static_cut(search, goal.precision, goal.delta)
    if cut is None:
        return None
    predicted = {str(size): cut.latency(matrix, size) for size in matrix.batch_sizes}
    return {"exit_id": cut.exit_id, "precision": cut.precision, "predicted": predicted}
