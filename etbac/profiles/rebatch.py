"""Continuous rebatching, priced by the profile."""

from __future__ import annotations

from etbac.errors import UsageError
from etbac.profiles.stored import read
from etbac.runtime.chain import Chain
from etbac.runtime.exits import Thresholds
from etbac.runtime.rebatching import Costs, Rebatcher

ROOM = 256


def rebatch(chain: Chain, room: int = ROOM, workers: int = 1, thresholds: Thresholds = None) -> Rebatcher:
    """Answer requests that arrive at any time: samples of several requests run together, survivors too.

    `room`: samples that may be in the chain at once; beyond them a request is refused with a FullError. `workers`:
    engines that run at the same time. `thresholds`: as of `Chain.run`. Raises UsageError where the engines were not
    measured on this machine: the scheduler needs their latency.
    """
    return Rebatcher(chain, costs(chain)[0], room, workers, thresholds)


def costs(chain: Chain) -> tuple[Costs, Costs]:
    """Of the chain's stages, and of the full model as if it were one stage; UsageError where there is no profile."""
    found = read(chain)
    if found is None:
        raise UsageError(
            f"{chain.engine_dir.path} has no profile of these engines on this machine, and without one nobody knows "
            f"which batch is worth waiting for; run etbac profile --engine-dir {chain.engine_dir.path}"
        )
    matrix, most = found.matrix_at(None), chain.manifest.max_batch
    stages, (full,) = matrix.at(matrix.stage_ms, most), matrix.at(matrix.full_ms[None], most)
    return Costs(stages[:, 1:] / 1e3), Costs(full[None, 1:] / 1e3)
