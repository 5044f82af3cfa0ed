"""`etbac verify`: an engine directory against the model that it came from, as far as that is here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etbac.contract import FULL_MODEL_ID, Manifest
from etbac.engine_dir import clear_leftovers
from etbac.errors import EtbacError
from etbac.frontend.load import load_model
from etbac.runtime.chain import Chain, load
from etbac.verification.chain import BATCHES, Fields, Inputs, Report, verify_chain
from etbac.verification.decisions import Decisions, comparable, compare_decisions
from etbac.verification.uncut import UncutModel, all_draws

Bar = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class Verified:
    """What was compared, and what could not be: a sentence for each part left out."""

    report: Report
    decisions: Decisions | None
    left_out: Sequence[str]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.report.checks) and (self.decisions is None or self.decisions.passed)


def verify(
    engine_dir: str | Path = "engines",
    *,
    data: Path | None = None,
    batches: Sequence[int] = BATCHES,
    bar: Bar = lambda name, whole: lambda done: None,
) -> Verified:
    """Compare the chain with the uncut model, and its decisions with the plain torch model on the test set.

    Where the source is no longer what it was, the directory's own full model stands in for it, with exits off. `data`:
    where the checkpoint's data are now. Raises EngineDirError for a directory that cannot be loaded.
    """
    with load(engine_dir) as chain:
        clear_leftovers(chain.engine_dir)
        missing = _why_no_source(chain.manifest)
        if missing is not None:
            return Verified(_against_full(chain, batches), None, [missing])
        source = chain.manifest.source
        with UncutModel(load_model(source["path"])) as uncut:
            real = chain.engine_dir.read_samples() if chain.manifest.samples_kind == "real" else None
            draws = all_draws(chain.manifest.inputs, uncut, real)
            report = verify_chain(chain, uncut, draws, batches)
        if source["kind"] != "checkpoint":
            return Verified(report, None, ["decisions on data: the source is not a checkpoint that records any"])
        try:
            return Verified(report, _on_test_set(chain, Path(source["path"]), data, bar), [])
        except EtbacError as error:
            return Verified(report, None, [f"decisions on the test set: {error}"])


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


def _on_test_set(chain: Chain, path: Path, data: Path | None, bar: Bar) -> Decisions:
    reason = comparable(chain.manifest)
    if reason is not None:
        raise EtbacError(reason)
    from etbac.models import checkpoint

    found = checkpoint.load(path)
    test = checkpoint.load_set(found, "test", data)
    thresholds: Mapping[int, float] = {} if chain.plan is None else chain.plan.thresholds
    rows = len(test.labels)
    return compare_decisions(chain, found.network, test.inputs, test.labels, thresholds, bar("test set in torch", rows))


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
