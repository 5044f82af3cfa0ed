"""`etbac verify`: an engine directory against the model that it came from, as far as that is here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etbac.contract import FULL_MODEL_ID, Manifest
from etbac.engine_dir import EngineDir, clear_leftovers
from etbac.errors import EtbacError
from etbac.frontend.load import load_model
from etbac.metrics import metric as find_metric
from etbac.runtime.chain import Chain
from etbac.runtime.selection import portable as portable_sources
from etbac.runtime.selection import select
from etbac.verification.chain import BATCHES, Fields, Inputs, Report, verify_chain
from etbac.verification.decisions import Decisions, comparable, compare_decisions
from etbac.verification.engines import EnginesCost, compare_engines
from etbac.verification.uncut import UncutModel, all_draws

if TYPE_CHECKING:
    from etbac.models.attach import ExitNetwork
    from etbac.models.data.sets import DataSet

Bar = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class Verified:
    """What was compared, and what could not be: a sentence for each part left out.

    `report` and `decisions` are of the portable fp32 chain; `engines` of those in force or asked for, where these are
    others.
    """

    report: Report
    decisions: Decisions | None
    engines: EnginesCost | None
    left_out: Sequence[str]

    @property
    def passed(self) -> bool:
        sound = self.engines is None or self.engines.broken is None
        decided = self.decisions is None or self.decisions.passed
        return all(check.passed for check in self.report.checks) and decided and sound


def verify(
    engine_dir: str | Path = "engines",
    *,
    data: Path | None = None,
    backend: str | None = None,
    dtype: str | None = None,
    trust: bool = False,
    batches: Sequence[int] = BATCHES,
    bar: Bar = lambda name, whole: lambda done: None,
) -> Verified:
    """Compare the chain with the uncut model, and its decisions with the plain torch model on the test set.

    Where the source is no longer what it was, the directory's own full model stands in for it, with exits off. `data`:
    where the checkpoint's data are now. Both are about the portable fp32 chain; the engines in force, or of `backend`
    and `dtype`, are compared with that chain. Raises EngineDirError for a directory that cannot be loaded.
    """
    directory = EngineDir.open(engine_dir)
    clear_leftovers(directory)
    left_out: list[str] = []
    chosen = select(directory, backend, dtype, trust)
    with Chain(directory, portable_sources(directory)) as portable:
        missing = _why_no_source(directory.manifest)
        found = None if missing else _test_set(directory.manifest, data, left_out)
        report = _against_full(portable, batches) if missing else _against_source(portable, batches)
        decisions = None if found is None else _decisions(portable, found, bar, left_out)
        left_out += [missing] if missing else []
        left_out += [chosen.note] if chosen.note else []
        if chosen == portable_sources(directory):
            return Verified(report, decisions, None, left_out)
        with Chain(directory, chosen) as chain:
            return Verified(report, decisions, _cost(chain, portable, found), left_out)


def _against_source(chain: Chain, batches: Sequence[int]) -> Report:
    with UncutModel(load_model(chain.manifest.source["path"])) as uncut:
        real = chain.engine_dir.read_samples() if chain.manifest.samples_kind == "real" else None
        return verify_chain(chain, uncut, all_draws(chain.manifest.inputs, uncut, real), batches)


def _cost(chain: Chain, portable: Chain, found: _TestSet | None) -> EnginesCost:
    """On the test set, or on the directory's samples where there is none."""
    if found is None:
        return compare_engines(chain, portable, chain.engine_dir.read_samples())
    thresholds = None if chain.plan is None else chain.plan.thresholds
    metric = find_metric(chain.manifest.metric)
    return compare_engines(chain, portable, found.data.inputs, found.data.labels, metric, thresholds)


@dataclass(frozen=True)
class _FullModel:
    """The directory's own full model as a reference; it has no exits."""

    chain: Chain

    def answers(self, inputs: Inputs) -> Mapping[int, Fields]:
        prediction = self.chain.full(inputs)
        fields = prediction if isinstance(prediction, dict) else {self.chain.manifest.fields[0]: prediction}
        return {FULL_MODEL_ID: fields}


def _against_full(chain: Chain, batches: Sequence[int]) -> Report:
    samples = chain.engine_dir.read_samples()
    rng = np.random.default_rng(0)
    axes = {spec.name: spec.batch_axis for spec in chain.manifest.inputs}

    def draw(batch: int) -> Inputs:
        count = next(samples[name].shape[axis] for name, axis in axes.items() if axis is not None)
        rows = rng.integers(0, count, batch)
        return {name: a if axes[name] is None else a.take(rows, axes[name]) for name, a in samples.items()}

    return verify_chain(chain, _FullModel(chain), {"the directory's": draw}, batches, forced=False)


@dataclass(frozen=True)
class _TestSet:
    """The checkpoint's network and its test set."""

    network: ExitNetwork
    data: DataSet


def _test_set(manifest: Manifest, folder: Path | None, left_out: list[str]) -> _TestSet | None:
    if manifest.source["kind"] != "checkpoint":
        left_out.append("decisions on data: the source is not a checkpoint that records any")
        return None
    from etbac.models import checkpoint

    try:
        found = checkpoint.load(Path(manifest.source["path"]))
        return _TestSet(found.network, checkpoint.load_set(found, "test", folder))
    except EtbacError as error:
        left_out.append(f"decisions on the test set: {error}")
        return None


def _decisions(chain: Chain, found: _TestSet, bar: Bar, left_out: list[str]) -> Decisions | None:
    reason = comparable(chain.manifest)
    if reason is not None:
        left_out.append(f"decisions on the test set: {reason}")
        return None
    thresholds: Mapping[int, float] = {} if chain.plan is None else chain.plan.thresholds
    test, progress = found.data, bar("test set in torch", len(found.data))
    metric = find_metric(chain.manifest.metric)
    return compare_decisions(chain, found.network, test.inputs, test.labels, thresholds, metric, progress)


def _why_no_source(manifest: Manifest) -> str | None:
    """None where the model file is what it was; otherwise a sentence."""
    source: Mapping[str, Any] = manifest.source
    path = Path(source["path"])
    left_out = "the exits and decisions (the full model alone was compared, on the directory's samples)"
    if source["kind"] not in ("checkpoint", "onnx"):
        return f"{left_out}: a {source['kind']} is not read again"
    if not path.is_file():
        return f"{left_out}: {path} is not there any more"
    if hashlib.sha256(path.read_bytes()).hexdigest() != source["sha256"]:
        return f"{left_out}: {path} has changed since it was compiled"
    return None
