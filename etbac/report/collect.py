"""The figures of a report: what the directory holds, and what is measured for it now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.backends import registry
from etbac.contract import Manifest, Plan
from etbac.errors import EtbacError, InputError
from etbac.metrics import metric as find_metric
from etbac.planner.collect import collect as ask_every_exit
from etbac.planner.collect import passes
from etbac.planner.race import CHAIN, FULL, WARM_UP, race
from etbac.planner.samples import SampleSet, load_recorded, read_npz
from etbac.planner.statistics import ExitStatistics
from etbac.profiles import stored
from etbac.profiles.device import describe
from etbac.profiles.profile import Profile
from etbac.profiles.race import Timings
from etbac.runtime.certificate import Standing, standing
from etbac.runtime.chain import Chain
from etbac.runtime.exits import switched_off

BATCH_SIZE = 16
BATCHES = 300
NAMES = {CHAIN: "chain", FULL: "full model"}

Bar = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class Tested:
    """Samples through every exit and the full model. `where`: which samples, for people; `premise`: what they were
    used for before. `leaves` [n]: the stage, from 0, where each leaves with the plan's thresholds."""

    where: str
    premise: str
    samples: SampleSet
    metric: str
    statistics: ExitStatistics
    leaves: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Figures:
    """All that a report says. What is missing is a sentence instead, which says why and how to get it."""

    path: Path
    made: str
    manifest: Manifest
    engines: str
    note: str | None
    machine: Mapping[str, Any]
    plan: Plan | None
    standing: Standing
    profile: Profile | str
    batch: int
    timed_on: str
    timings: Timings
    tested: Tested | str

    @property
    def thresholds(self) -> Mapping[int, float]:
        """In force while this was measured."""
        return {} if self.plan is None or switched_off() else self.plan.thresholds


def collect(
    chain: Chain,
    data: Path | None = None,
    batches: int = BATCHES,
    bar: Bar = lambda name, whole: lambda done: None,
) -> Figures:
    """`data`: an .npz file (inputs by name, `labels`) or the folder of the checkpoint's data, whose test set is taken.

    Raises InputError or UsageError where `data` is named and cannot be used; data that were only recorded may be gone.
    """
    manifest, plan = chain.manifest, chain.plan
    found = _find_samples(chain, data)
    own = SampleSet(manifest.inputs, chain.engine_dir.read_samples(), None)
    timed = found.samples if isinstance(found, _Found) else own
    timed_on = found.where if isinstance(found, _Found) else f"the directory's {len(own)} {manifest.samples_kind} ones"
    asked = (plan.search.get("batch_size") if plan else None) or BATCH_SIZE
    batch = min(int(asked), manifest.max_batch)
    return Figures(
        path=chain.engine_dir.path,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        manifest=manifest,
        engines=f"{chain.backend}, {chain.device}, {chain.dtype}",
        note=chain.note,
        machine=describe(registry.get(chain.backend).available().version, chain.device),
        plan=plan,
        standing=standing(chain),
        profile=stored.read(chain) or "There is no profile of these engines on this machine: run etbac profile.",
        batch=batch,
        timed_on=timed_on,
        timings=race(chain, timed, batch, batches, bar("latency", batches + WARM_UP)),
        tested=_test(chain, found, bar) if isinstance(found, _Found) else found,
    )


@dataclass(frozen=True)
class _Found:
    samples: SampleSet
    where: str
    premise: str


def _find_samples(chain: Chain, data: Path | None) -> _Found | str:
    if data is not None and data.is_file():
        samples = read_npz(data, chain.manifest.inputs)
        premise = "The plan may have been made with some of them."
        return _Found(samples, f"the {len(samples):,} samples of {data.name}", premise)
    if data is not None and not data.exists():
        raise InputError(f"--data {data}: there is no such file or folder")
    try:
        (samples,) = load_recorded(chain.engine_dir, data, ["test"])
    except EtbacError as error:
        if data is not None:
            raise
        return f"No data were looked at: {error}."
    return _Found(samples, f"the test set ({len(samples):,} samples)", "Nothing was planned or certified with them.")


def _test(chain: Chain, found: _Found, bar: Bar) -> Tested | str:
    asked = (chain.plan.search.get("metric") if chain.plan else None) or chain.manifest.metric
    metric = find_metric(asked if found.samples.labels is not None else "agreement")
    advance = bar("every exit", passes(metric) * len(found.samples))
    try:
        statistics = ask_every_exit(chain, found.samples, metric, progress=advance)
    except InputError as error:
        return f"The answers on {found.where} were not judged: {error}."
    thresholds = {} if chain.plan is None or switched_off() else chain.plan.thresholds
    leaves = statistics.leaves_at(thresholds)
    return Tested(found.where, found.premise, found.samples, metric.name, statistics, leaves)
