"""Which chains cannot have survivors of several batches run together, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etbac.backends.interface import Array, Tensor
from etbac.runtime import inputs as checking
from etbac.runtime.chain import Chain
from etbac.runtime.exits import NEVER


def unpoolable(chain: Chain) -> str | None:
    """A boundary tensor without a batch that is not the same for every batch, found by running batches of one and of
    two samples; None where there is none."""
    contracts = [entry.contract for entry in chain.manifest.segments]
    if all(spec.batch_axis is not None for contract in contracts for spec in contract.boundary):
        return None
    sizes = range(1, min(2, chain.manifest.max_batch) + 1)
    samples = checking.check(chain.manifest.inputs, chain.engine_dir.read_samples()).arrays
    found = [_boundaries(chain, checking.tile(chain.manifest.inputs, samples, size)) for size in sizes]
    for stage, contract in enumerate(contracts):
        for place, spec in enumerate(contract.boundary):
            first, *others = (each[stage][place] for each in found)
            if spec.batch_axis is None and not all(np.array_equal(first, other) for other in others):
                return spec.name
    return None


def _boundaries(chain: Chain, batch: dict[str, Array]) -> list[list[Array]]:
    carried: Sequence[Tensor] = [batch[name] for name in chain.stages[0].inputs]
    rows = next(
        batch[spec.name].shape[spec.batch_axis] for spec in chain.manifest.inputs if spec.batch_axis is not None
    )
    boundaries = []
    for stage in chain.stages:
        carried = stage.run(carried, np.arange(rows), NEVER).boundary
        boundaries.append([np.asarray(tensor) for tensor in carried])
    return boundaries
