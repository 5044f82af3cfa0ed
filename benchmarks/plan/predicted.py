"""Latency of a planned chain: predicted from its matrix, and measured in the rounds that the matrix was measured in."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from benchmarks.measures import Measure, at_most
from etbac.planner.demands import TAIL, tail_ms
from etbac.planner.prediction import chain_latency
from etbac.planner.prices import Prices
from etbac.planner.samples import SampleSet
from etbac.profiles.profiler import measure_chain
from etbac.profiles.race import FEWEST_FOR_P99, Batch, random_batches
from etbac.profiles.timer import WARM_UPS
from etbac.runtime.chain import Chain

SIZES = (1, 8, 16, 32)
MATRIX_SIZES = (1, 2, 4, 8, 16, 32)
MEAN_OFF, TAIL_OFF = 0.05, 0.15
TAILS_OF = ("Fashion-MNIST",)
"""Models whose batches are short enough for as many as a p99 takes."""


@dataclass(frozen=True)
class Predicted:
    """Milliseconds of batches of one size and random composition; p99 where enough of them were measured."""

    model: str
    batch: int
    batches: int
    predicted_ms: float
    measured_ms: float
    predicted_p99_ms: float
    measured_p99_ms: float | None

    @property
    def mean_off(self) -> float:
        """How far the measured mean is from the predicted one, ÷ the predicted."""
        return abs(self.measured_ms / self.predicted_ms - 1)

    @property
    def tail_off(self) -> float | None:
        return None if self.measured_p99_ms is None else abs(self.measured_p99_ms / self.predicted_p99_ms - 1)


class _Timed:
    """Runs one batch after the other through the chain and keeps the milliseconds of each."""

    def __init__(self, chain: Chain, batches: Iterator[Batch]) -> None:
        self._chain, self._batches = chain, batches
        self.milliseconds: list[float] = []

    def __call__(self) -> None:
        batch = next(self._batches)
        begun = time.perf_counter_ns()
        self._chain.run(batch)
        self.milliseconds.append((time.perf_counter_ns() - begun) / 1e6)


def predicted(
    model: str, chain: Chain, samples: SampleSet, budget_s: float, repeats: int, sizes: Sequence[int] = SIZES
) -> list[Predicted]:
    """The chain with its plan on batches drawn from `samples`, `repeats` of each size a round, among its engines."""
    endless = {size: random_batches(samples.inputs, size, 1 << 40, seed=size) for size in sizes}
    timed = {size: [_Timed(chain, endless[size]) for _ in range(repeats)] for size in sizes}
    calls = list(itertools.chain.from_iterable(timed.values()))
    matrix = measure_chain(chain, MATRIX_SIZES, budget_s, target_error=0.0, apart=False, also=calls).matrix
    exits = np.concatenate([chain.run(batch.inputs).exit for batch in samples.batches(chain.manifest.max_batch)])
    shares = np.bincount(exits, minlength=len(chain.ids)) / len(exits)
    found = []
    for size, each in timed.items():
        measured = np.concatenate([one.milliseconds[WARM_UPS:] for one in each])
        enough = len(measured) >= FEWEST_FOR_P99
        found.append(
            Predicted(
                model=model,
                batch=size,
                batches=len(measured),
                predicted_ms=chain_latency(matrix, size, shares[::-1].cumsum()[::-1]),
                measured_ms=float(measured.mean()),
                predicted_p99_ms=tail_ms(Prices.exactly(matrix, size), shares, range(len(chain.exits))),
                measured_p99_ms=float(np.quantile(measured, TAIL)) if enough else None,
            )
        )
    return found


def table(found: Sequence[Predicted]) -> Table:
    shown = Table(
        *("planned chain of", "batch", "batches", "predicted ms", "measured mean ms", "÷ predicted"),
        *("predicted p99", "measured p99", "÷ predicted"),
        caption=f"measured p99: from {FEWEST_FOR_P99:,} batches on",
    )
    for each in found:
        tail = each.measured_p99_ms
        shown.add_row(
            *(each.model, str(each.batch), f"{each.batches:,}", f"{each.predicted_ms:.3f}", f"{each.measured_ms:.3f}"),
            f"{each.measured_ms / each.predicted_ms:.3f}",
            f"{each.predicted_p99_ms:.3f}",
            *(("–", "–") if tail is None else (f"{tail:.3f}", f"{tail / each.predicted_p99_ms:.3f}")),
        )
    return shown


def measures(found: Sequence[Predicted]) -> list[Measure]:
    means = [at_most(f"{p.model}, batch {p.batch}: mean off prediction", p.mean_off, MEAN_OFF) for p in found]
    return [*means, *(_tail(p) for p in found if p.model in TAILS_OF)]


def _tail(found: Predicted) -> Measure:
    name = f"{found.model}, batch {found.batch}: p99 off prediction"
    if found.tail_off is None:
        return Measure(name, f"≤ {TAIL_OFF:.3f}", f"{found.batches:,} batches are too few", False)
    return at_most(name, found.tail_off, TAIL_OFF)
