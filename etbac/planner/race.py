"""The chain against the full model, on the same random batches of a set, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from etbac.planner.samples import SampleSet
from etbac.profiles.race import Batch, Timings, measure, random_rows
from etbac.runtime.chain import Chain

CHAIN, FULL = "chain", "full"
WARM_UP = 20


def race(
    chain: Chain,
    samples: SampleSet,
    batch_size: int,
    batches: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Timings:
    """Seconds of `batches` batches, under CHAIN and FULL; `progress` gets the batches done, WARM_UP more than these."""

    def drawn() -> Iterator[Batch]:
        for rows in random_rows(len(samples), batch_size, batches + WARM_UP):
            progress(1)
            yield samples.take(rows).inputs

    return measure({CHAIN: chain.run, FULL: chain.full}, drawn(), WARM_UP)
