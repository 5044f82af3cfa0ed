"""Continuous rebatching, priced by the profile."""

from __future__ import annotations

import numpy as np

from etbac.errors import UsageError
from etbac.profiles.profile import Profile
from etbac.profiles.stored import read
from etbac.runtime.chain import Chain
from etbac.runtime.exits import Thresholds
from etbac.runtime.rebatching import Costs, Rebatcher
from etbac.runtime.trace import Untraced

ROOM = 256


def rebatch(
    chain: Chain, room: int = ROOM, workers: int = 1, thresholds: Thresholds = None, trace: Untraced | None = None
) -> Rebatcher:
    """Answer requests that arrive at any time: samples of several requests run together, survivors too (see Rebatcher).

    `room`: samples that may be in the chain at once; beyond them a request is refused with a FullError. `workers`:
    engines that run at the same time. `thresholds`: as of `Chain.run`. `trace` is told of every request, batch and run
    of an engine. Raises UsageError where the engines were not measured on this machine: the scheduler needs their
    latency.
    """
    return Rebatcher(chain, costs(chain)[0], room, workers, thresholds, trace)


def costs(chain: Chain) -> tuple[Costs, Costs]:
    """Of the chain's stages, and of the full model as if it were one stage; UsageError where there is no profile."""
    found = read(chain)
    if found is None:
        raise UsageError(
            f"{chain.engine_dir.path} has no profile of these engines on this machine, and without one nobody knows "
            f"which batch is worth waiting for; run etbac profile --engine-dir {chain.engine_dir.path}"
        )
    return costs_of(found, chain.manifest.max_batch)


def costs_of(profile: Profile, max_batch: int) -> tuple[Costs, Costs]:
    """Of the stages, padded where that is faster, and of the full model: engines, and what a run costs beyond them."""
    matrix = profile.matrix
    stages, full = matrix.stages_at(max_batch)[:, 1:], matrix.at(matrix.full_ms[None], max_batch)[:, 1:]
    beyond = np.array([matrix.beyond_at(batch)[:, batch] for batch in range(1, max_batch + 1)]).T
    runs = matrix.runs_at(max_batch)[:, 1:]
    return Costs((stages + beyond) / 1e3, runs), Costs((full + beyond[:1]) / 1e3, matrix.full_runs_at(max_batch)[:, 1:])
