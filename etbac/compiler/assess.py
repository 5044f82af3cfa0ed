"""Whether early exits are worth training: linear probes on the frozen trunk, priced with a rough matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from etbac.compiler.compile import CompileOptions, compile_model
from etbac.errors import UsageError
from etbac.frontend.torch_export import from_module
from etbac.models.attach import ExitNetwork, attach_exits
from etbac.models.data.loader import NO_LABEL
from etbac.models.data.parts import Subset
from etbac.planner.candidate import Candidate
from etbac.planner.choices import Choices
from etbac.planner.demands import Demands
from etbac.planner.plan import BATCH_SIZE
from etbac.planner.prediction import rebuilt_latency
from etbac.planner.prices import Prices
from etbac.planner.statistics import ExitStatistics
from etbac.profiles.matrix import Matrix
from etbac.profiles.profiler import SHORT_BUDGET_S, profile
from etbac.training.batches import read
from etbac.training.begin import Begin
from etbac.training.example import example_inputs
from etbac.training.frozen import LOOK, FrozenTrunk
from etbac.training.losses import Seen
from etbac.training.probes import probe

SAMPLES = 2_000
WORTH_IT = 0.1
"""Share of the latency that a plan must spare to be worth the training."""
CLASSES = ("classification", "text", "speech")

Note = Callable[[str], None]


@dataclass(frozen=True)
class Assessment:
    """What to expect before any training, of samples that the probes have not seen: a rough guess, nothing certified.

    `accuracy`: of each probe by exit id, the full model's under 0. `candidate`: the fastest plan of that precision with
    probes for exits. `shares`: who would leave where, by exit id. `saved`: share of the full model's latency that is
    saved by batch size, of a chain with the plan's exits alone.
    """

    places: Mapping[int, str]
    accuracy: Mapping[int, float]
    candidate: Candidate
    shares: Mapping[int, float]
    saved: Mapping[int, float]
    batch_size: int
    precision: float

    @property
    def exits(self) -> tuple[int, ...]:
        return tuple(self.candidate.thresholds)

    @property
    def is_worth_it(self) -> bool:
        return bool(self.exits) and self.saved[self.batch_size] >= WORTH_IT


def assess(
    begin: Begin,
    precision: float = 0.9968,
    *,
    exits: str = "all",
    samples: int = SAMPLES,
    batch_size: int = BATCH_SIZE,
    budget_s: float = SHORT_BUDGET_S,
    note: Note = lambda sentence: None,
) -> Assessment:
    """Of the trained trunk that `begin` holds, with exits after all of its blocks (`exits`: as `at` of `attach_exits`).

    Probes are fitted to `samples` samples of the training set and tried on as many of the search set. Where the data
    have no labels, the trunk's own answers are right. Raises UsageError for a trunk that is not trained and for answers
    that are no classes.
    """
    task, data = begin.task, begin.data
    if task not in CLASSES or (data.opened.labelled and not data.opened.class_names):
        what = f"{task} has others" if task not in CLASSES else "these data have numbers"
        raise UsageError(f"assess knows answers that are classes ({', '.join(CLASSES)}); {what}")
    if not begin.trained:
        raise UsageError("the model is not trained; train it first (etbac train … --exits none), then assess it")
    train, search = (_first(data.of(name), samples) for name in ("train", "search"))
    example = example_inputs(begin)
    network = attach_exits(begin.trunk, task, exits, example_inputs=example).eval()
    note(f"{len(network.exits)} places for exits; probing with {len(train):,} samples, trying on {len(search):,}")
    statistics = _statistics(network, train, search)
    note(f"measuring a chain with untrained heads for {budget_s:g} s")
    matrix = _matrix(network, example, batch_size, budget_s)
    chosen = _fastest(statistics, matrix, batch_size, precision)
    replay = statistics.replay(chosen.thresholds)
    used = [exit_id in chosen.thresholds for exit_id in statistics.exits]
    reach = replay.survivors / statistics.n
    right = {0: float(statistics.full_scores.mean())}
    right.update(zip(statistics.exits, statistics.scores[:-1].mean(axis=1).tolist(), strict=True))
    return Assessment(
        places={spec.id: spec.module for spec in network.exits},
        accuracy=right,
        candidate=chosen,
        shares=dict(zip((*statistics.exits, 0), replay.shares.tolist(), strict=True)),
        saved={
            size: 1 - rebuilt_latency(matrix, size, reach, used) / matrix.full_at(size)
            for size in sorted({*matrix.batch_sizes, batch_size})
        },
        batch_size=batch_size,
        precision=precision,
    )


def _first(samples: Subset, count: int) -> Subset:
    """So many of them, drawn at random."""
    order = np.random.default_rng(0).permutation(len(samples))[:count]
    return Subset(samples.part, samples.rows[np.sort(order)])


def _statistics(network: ExitNetwork, train: Subset, search: Subset) -> ExitStatistics:
    known, fresh = (_seen(network, part) for part in (train, search))
    classes = known.prediction.shape[1]
    answers = [
        probe(known.pooled[spec.id].flatten(1), known.targets, classes, fresh.pooled[spec.id].flatten(1))
        for spec in network.exits
    ]
    right = [each.argmax(1) == fresh.targets for each in (*answers, fresh.prediction)]
    return ExitStatistics(
        tuple(spec.id for spec in network.exits),
        torch.stack([each.amax(1) for each in answers]).numpy(),
        torch.stack(right).numpy(),
        right[-1].numpy(),
        fresh.targets.numpy(),
    )


def _seen(network: ExitNetwork, part: Subset) -> Seen:
    trunk = FrozenTrunk(network, torch.device("cpu"), partial(torch.autocast, "cpu", enabled=False))
    batches = [np.arange(start, min(start + LOOK, len(part))) for start in range(0, len(part), LOOK)]
    every = [trunk.see(batch) for batch in read(part, batches)]
    pooled = {spec.id: torch.cat([seen.pooled[spec.id] for seen in every]) for spec in network.exits}
    prediction, targets = (torch.cat([getattr(seen, name) for seen in every]) for name in ("prediction", "targets"))
    return Seen(pooled, prediction, torch.where(targets == NO_LABEL, prediction.argmax(1), targets))


def _matrix(network: ExitNetwork, example: Mapping[str, torch.Tensor], batch_size: int, budget_s: float) -> Matrix:
    inputs = {name: value.numpy() for name, value in example.items()}
    exit_model = from_module(network, inputs, {"path": type(network.trunk).__name__})
    with TemporaryDirectory() as folder:
        compile_model(exit_model, Path(folder, "engines"), CompileOptions(max_batch=batch_size))
        return profile(Path(folder, "engines"), max_batch=batch_size, budget_s=budget_s).matrix_at(None)


def _fastest(statistics: ExitStatistics, matrix: Matrix, batch_size: int, precision: float) -> Candidate:
    prices = Prices.expected(matrix, batch_size, statistics.n)
    demands = Demands(statistics, Prices.exactly(matrix, batch_size))
    return Choices(statistics, prices, demands).fastest(precision)


def describe(found: Assessment) -> str:
    """The verdict, in a sentence or two."""
    saved = found.saved[found.batch_size]
    if not found.is_worth_it:
        return (
            f"don't: with linear probes for exits the best plan at precision {found.precision:g} saves {saved:.0%} of "
            f"a batch of {found.batch_size}; early exits are not worth training for this model and these data"
        )
    exits = ",".join(map(str, found.exits))
    return (
        f"expect about {saved:.0%} less latency at batch {found.batch_size} and precision {found.precision:g}, with "
        f"exits {exits}: linear probes reach that, and trained heads usually more. Train them: etbac train … --exits "
        f"{exits}"
    )
