"""What a chain costs outside its engines: slicing, masks, lists, answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.bench.subject import Limits
from benchmarks.measures import Measure, at_most
from etbac.backends import registry
from etbac.backends.interface import Runner, Tensor
from etbac.profiles.race import Batch
from etbac.runtime.chain import Chain
from etbac.runtime.stage import Stage

BATCHES, WARM_UP = 200, 10
LIMIT_US, LIMIT_SHARE = 50.0, 0.02
"""Allowed for a stage: the larger of these, the second as a share of the time in its engine."""


class Clocked:
    """A runner that counts the seconds inside it."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.seconds = 0.0

    def run(self, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> Sequence[Tensor]:
        begun = time.perf_counter()
        results = self._runner.run(inputs, outputs)
        self.seconds += time.perf_counter() - begun
        return results

    def close(self) -> None:
        self._runner.close()

    def __enter__(self) -> Clocked:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def overhead(chain: Chain, limits: Limits, batches: Iterator[Batch]) -> dict[str, Any]:
    """Medians over batches with exits on: microseconds outside the engines, ÷ the stages that ran, and what is allowed.

    The chain's engines are loaded once more, each with a clock.
    """
    engines = chain.selection.engines
    clocks = [Clocked(registry.get(engine.backend).load(engine)) for engine in engines]
    clocked = Chain(chain.engine_dir, chain.selection)
    clocked.stages = tuple(map(Stage, chain.selection.contracts, clocks))
    outside, allowed = [], []
    for number, batch in enumerate(islice(batches, BATCHES + WARM_UP)):
        for clock in clocks:
            clock.seconds = 0.0
        begun = time.perf_counter()
        clocked.run(batch, limits)
        total = time.perf_counter() - begun
        if number < WARM_UP:
            continue
        inside = [clock.seconds for clock in clocks if clock.seconds]
        outside.append(1e6 * (total - sum(inside)) / len(inside))
        allowed.append(np.mean([max(LIMIT_US, LIMIT_SHARE * 1e6 * each) for each in inside]))
    for clock in clocks:
        clock.close()
    clocked.close()
    return {"us": float(np.median(outside)), "allowed_us": float(np.median(allowed))}


def measures_of(name: str, by_size: Mapping[int, Mapping[str, float]]) -> list[Measure]:
    """The worst batch size."""
    worst = max(by_size.values(), key=lambda each: each["us"] / each["allowed_us"])
    return [at_most(f"{name}: µs a stage outside engines, worst batch", worst["us"], worst["allowed_us"], ".0f")]
