"""`etbac plan`: exits and thresholds chosen on the search set and tested once on the certify set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from etbac.contract import Plan
from etbac.engine_dir import write_plan
from etbac.errors import EtbacError, UsageError
from etbac.metrics import metric as find_metric
from etbac.planner import figures
from etbac.planner.candidate import Candidate
from etbac.planner.certify import certify, next_level
from etbac.planner.chance import Ahead
from etbac.planner.choices import Choices
from etbac.planner.collect import check_labels, passes
from etbac.planner.demands import TAIL, Demands
from etbac.planner.goal import Goal, check_test
from etbac.planner.guarantee import check_delta, check_precision
from etbac.planner.memory import UNLIMITED, Memory
from etbac.planner.prediction import chain_latency
from etbac.planner.prices import Prices
from etbac.planner.recorded import collect_once
from etbac.planner.samples import SampleSet, load_search_and_certify
from etbac.planner.sequence import candidates
from etbac.planner.statistics import ExitStatistics
from etbac.planner.subset import Gates, best_subset, gates_with_memory, keep, recomputes
from etbac.planner.words import not_likely
from etbac.profiles.matrix import Matrix
from etbac.profiles.pieces import head_bytes
from etbac.profiles.profiler import find_or_make
from etbac.runtime.chain import Chain, load

BATCH_SIZE = 16
TEST = "betting"
TAIL_FROM = 8
"""Batch size from which a plan's p99 is not to be above the full model's: of a batch of one, the sample that goes to
the end pays for every head."""
MEGA = 1_000_000
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
    max_latency: float | None = None,
    min_class_precision: float | None = None,
    max_head_memory: float | None = None,
    thresholds: Mapping[int, float] | None = None,
    uncertified: bool = False,
    read: bool = True,
    counted_in: Path | None = None,
    seed: int = 0,
    backend: str | None = None,
    dtype: str | None = None,
    trust: bool = False,
    note: Callable[[str], None] = lambda sentence: None,
    bar: Bar = lambda name, whole: lambda done: None,
) -> Plan:
    """Choose exits and a threshold for each, certify what they keep, and put the plan in force.

    The chain is made fast at `batch_size` (16, or the chain's largest if that is less); what is certified, at level
    `delta`, is that its metric is at least `precision` times the full model's. `data`: an .npz file (inputs by name,
    `labels`, and `units` where several samples are of one), split in halves by `seed`, or the folder of the
    checkpoint's data set; by default where the checkpoint recorded it. `metric`: by default the checkpoint's. `test`:
    "betting", which counts what the chain repairs, or "exact", which counts losses alone. `max_latency`: what the 99th
    percentile of a batch's predicted latency may be, in milliseconds; by default the full model's, from batches of 8
    on, if there is such a plan. `min_class_precision`: what the precision must be on every class of the search set.
    `max_head_memory`: what the weights of the heads of the plan's exits may take, in millions of bytes, of a chain that
    is built with these alone. `thresholds`: by exit id, the one plan to certify, as of a chain that this one was
    rebuilt from. `counted_in`: the engine directory where readings of the certify set are counted, if it is another.
    `backend`, `dtype`, `trust`: which engines, see `load`.

    A metric that is no mean of scores (F1, mIoU, …) cannot be certified: a plan whose ratio has a lower bound, by a
    paired bootstrap, of that precision is put in force all the same, marked and with the reason.

    Raises EtbacError, and changes nothing, where the precision cannot be certified, or shown so; with `uncertified` the
    search set's plan is put in force instead, marked and with the reason. Without `read` it is only returned: the
    certify set is not looked at, and the plan in force stays. It is then of the exits that are best to build, also
    where gates read earlier exits' predictions, which a chain that is built has all to keep.
    """
    check_precision(precision)
    check_delta(delta)
    if min_class_precision is not None and not 0 < min_class_precision <= 1:
        raise UsageError(f"--min-class-precision {min_class_precision:g}: it is a ratio, above 0 and at most 1")
    if max_head_memory is not None and not 0 <= max_head_memory < math.inf:
        raise UsageError(f"--max-head-memory {max_head_memory:g}: it is a number of megabytes, 0 or more")
    asked = None if metric is None else find_metric(metric)
    with load(engine_dir, backend, dtype, trust) as chain:
        if chain.note:
            note(chain.note)
        goal = Goal.of(asked or find_metric(chain.manifest.metric), test, precision, delta)
        batch = _batch_size(batch_size, chain.manifest.max_batch)
        search_set, certify_set = load_search_and_certify(chain.engine_dir, data, seed, note)
        check_labels(search_set, goal.metric)

        profile = find_or_make(chain, note, search_set.length)
        whole = passes(goal.metric) * len(search_set)
        search = collect_once(chain, search_set, goal.metric, progress=bar("search set", whole))
        check_test(goal, search)
        memory = UNLIMITED if max_head_memory is None else Memory(head_bytes(chain), round(max_head_memory * MEGA))
        matrix = profile.matrix_at(search_set.length)
        if batch > (last := matrix.batch_sizes[-1]):
            note(
                f"batch {batch} is larger than any that was measured: its latency is predicted in proportion to that "
                f"of {last}; etbac profile --max-batch {batch} measures it"
            )
        book = counted_in or chain.engine_dir.path
        ahead = _ahead(book, certify_set, goal, search)
        stateful = gates_with_memory(chain.manifest)
        if stateful:
            search, matrix, memory = _with_memory(
                search, matrix, stateful, batch, ahead, memory, may_drop=not read, note=note
            )
        choices = _choices(search, matrix, batch, ahead, max_latency, min_class_precision, memory, note)
        carried = None if thresholds is None else _carried(search, matrix, batch, thresholds)
        outcome = _Outcome(reason=NOT_READ)
        if read:
            sequence = candidates(choices, ahead) if carried is None else (carried,)
            outcome = _certified(chain, certify_set, goal, sequence, bar, book, partial(not_likely, ahead, choices))
        if outcome.reason is not None and outcome.candidate is None and read and not uncertified:
            raise EtbacError(outcome.reason)
        chosen = outcome.candidate or carried or choices.fastest(precision)
        made = Plan(
            exits=tuple(exit_id for exit_id in search.exits if stateful or exit_id in chosen.thresholds),
            thresholds=dict(chosen.thresholds),
            precision=precision,
            certified=outcome.certificate is not None,
            reason=outcome.reason,
            certificate=outcome.certificate,
            estimate=outcome.estimate,
            predicted=figures.predicted(matrix, batch, search, chosen),
            padding=figures.padding(matrix),
            search={
                "metric": goal.metric.name,
                "batch_size": batch,
                "length": search_set.length,
                "set_sha256": search_set.sha256,
                "seed": seed,
                **figures.of_search_set(search, chosen),
                **figures.demanded(choices.demands, chosen),
                "front": [figures.on_front(each, search) for each in choices.front],
                "static_cut": figures.best_static_cut(matrix, batch, search, goal),
            },
        )
        if read:
            write_plan(chain.engine_dir, profile.name, made)
    return made


@dataclass(frozen=True)
class _Outcome:
    """A candidate that passed its test, with its certificate, or with its estimate and the reason why that is none; or
    the reason why none passed."""

    candidate: Candidate | None = None
    certificate: Mapping[str, Any] | None = None
    estimate: Mapping[str, Any] | None = None
    reason: str | None = None


def _choices(
    search: ExitStatistics,
    matrix: Matrix,
    batch: int,
    ahead: Ahead,
    max_latency: float | None,
    min_class_precision: float | None,
    memory: Memory,
    note: Callable[[str], None],
) -> Choices:
    """The plans to choose from; a UsageError where none is as fast as asked for.

    Without `max_latency` the full model's p99 is a wish: it yields where only slower plans let samples leave early and
    are likely to be certified, or keep the precision at all.
    """
    prices, exactly = Prices.expected(matrix, batch, search.n), Prices.exactly(matrix, batch)

    def within(most_ms: float | None) -> Choices:
        demands = Demands(search, exactly, most_ms, min_class_precision, memory)
        return Choices(search, prices, demands, ahead.test.credits)

    def early(choices: Choices) -> list[Candidate]:
        return [each for each in candidates(choices, ahead) if each.thresholds]

    if min_class_precision is not None and search.classes is None:
        raise UsageError("--min-class-precision needs labels that are one class a sample, and these data have none")
    full_ms = matrix.full_quantile(batch, TAIL) if batch >= TAIL_FROM else None
    found = within(full_ms if max_latency is None else max_latency)
    if found.plans and (max_latency is not None or early(found)):
        return found
    free = within(None)
    if not free.plans:
        raise UsageError(_class_below(free.demands))
    if max_latency is not None:
        lowest = min(free.demands.tail_ms(choice.candidate.thresholds) for choice in free.plans)
        raise UsageError(
            f"--max-latency {max_latency:g}: no plan is predicted to have such a p99 at batch {batch}; the "
            f"lowest is {lowest:.3f} ms"
        )
    likely, leaving_early = candidates(free, ahead), early(free)
    kept = candidates(found, ahead) or (found.keeps(ahead.precision) and not likely)
    if full_ms is None or (kept and not leaving_early):
        return found
    slower = leaving_early or likely or [free.fastest(ahead.precision)]
    lowest = min(free.demands.tail_ms(each.thresholds) for each in slower)
    note(
        f"no plan that is likely to be certified keeps the predicted p99 at batch {batch} to the full model's "
        f"{full_ms:.3f} ms; the lowest is {lowest:.3f} ms"
    )
    return free


def _with_memory(
    search: ExitStatistics,
    matrix: Matrix,
    gates: Gates,
    batch: int,
    ahead: Ahead,
    memory: Memory,
    may_drop: bool,
    note: Callable[[str], None],
) -> tuple[ExitStatistics, Matrix, Memory]:
    """Of a chain with the exits that are best to build, all of whose heads are needed: of all exits, if none `may_drop`
    or what the gates would say with fewer cannot be told."""
    name = next(iter(gates.values())).name
    if may_drop and matrix.head_ms is not None and recomputes(search, gates):
        exits = best_subset(search, matrix, gates, batch, ahead.precision, ahead.test.credits[0], memory)
        search, matrix = keep(search, exits, gates), matrix.with_exits(exits)
    else:
        matrix = replace(matrix, head_ms=None, cut_ms=None)
        note(
            f"gate {name}: how sure an exit is depends on the exits before it, so none is left out of the plan; etbac "
            "optimize chooses which to build"
        )
    if not memory.holds(search.exits):
        raise UsageError(
            f"--max-head-memory {memory.most / MEGA:g}: gate {name} needs the head of every exit, and those of exits "
            f"{', '.join(map(str, search.exits))} take {memory.taken(search.exits) / MEGA:g}"
        )
    return search, matrix, UNLIMITED


def _class_below(demands: Demands) -> str:
    """The sentence where not even the whole chain, with no exit, keeps what every class must."""
    classes, ratios = demands.class_precisions({})
    return (
        f"--min-class-precision {demands.class_precision:g}: no plan keeps it for class {classes[ratios.argmin()]}, "
        f"which the chain without exits brings to {ratios.min():.4f}; ask for that at most, or for another --dtype"
    )


def _carried(search: ExitStatistics, matrix: Matrix, batch: int, thresholds: Mapping[int, float]) -> Candidate:
    """A plan with these thresholds; a UsageError for an exit that the chain has not."""
    unknown = set(thresholds) - set(search.exits)
    if unknown:
        raise UsageError(f"a threshold is given for exit {min(unknown)}, which this chain has not")
    replay = search.replay(thresholds)
    cost_ms = chain_latency(matrix, batch, replay.survivors / search.n)
    return Candidate(dict(thresholds), cost_ms, replay.pairs.harms, replay.pairs.repairs, replay.pairs.grain)


def _ahead(book: Path, samples: SampleSet, goal: Goal, search: ExitStatistics) -> Ahead:
    """The test to come; of the set that it will read nothing is known but its size."""
    level, n = next_level(book, samples, goal.delta), samples.independent
    return Ahead(goal.test, goal.precision, level, n, round(n * search.n_right / search.n))


def _certified(
    chain: Chain,
    samples: SampleSet,
    goal: Goal,
    sequence: Sequence[Candidate],
    bar: Bar,
    book: Path,
    unlikely: Callable[[], str],
) -> _Outcome:
    """Test a sequence of candidates that was fixed before the set is read; `unlikely` says why there are none."""
    if not sequence:
        return _Outcome(reason=f"{unlikely()}. Ask for a lower --precision, or add data with --data")
    done = certify(chain, samples, goal, sequence, bar("certify set", passes(goal.metric) * len(samples)), book)
    if done.winner is None:
        return _Outcome(reason=f"{done.failure}. Ask for a lower --precision, or add data with --data")
    if goal.metric.is_mean:
        return _Outcome(done.winner.candidate, done.certificate(done.winner, chain))
    return _Outcome(done.winner.candidate, None, done.estimate(done.winner), done.estimated(done.winner))


def _batch_size(asked: int | None, largest: int) -> int:
    if asked is None:
        return min(BATCH_SIZE, largest)
    if not 1 <= asked <= largest:
        raise UsageError(f"--batch-size {asked}: this chain runs batches of 1 to {largest}")
    return asked
