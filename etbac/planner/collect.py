"""One pass of a set through every exit and through the full model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.metrics import Floats, Metric, Prediction, Scores
from etbac.passes.gates import LEARNED_FIELD, GateWithMemory
from etbac.planner.evidence import Parts
from etbac.planner.samples import SampleSet
from etbac.planner.statistics import ExitStatistics
from etbac.planner.subset import gates_with_memory
from etbac.runtime.chain import Chain

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Judged:
    """Of answers to n samples: their scores [..., n] and, where the metric has parts, these [..., n, k]."""

    scores: Scores
    parts: Floats | None

    @staticmethod
    def of(metric: Metric, prediction: Prediction, truth: Any) -> Judged:
        parts = None if metric.parts is None else metric.parts(prediction, truth)
        return Judged(metric.score(prediction, truth), parts)

    @staticmethod
    def stack(stages: Sequence[Judged]) -> Judged:
        parts = [each.parts for each in stages if each.parts is not None]
        return Judged(np.stack([each.scores for each in stages]), np.stack(parts) if parts else None)

    @staticmethod
    def join(batches: Sequence[Judged]) -> Judged:
        parts = [each.parts for each in batches if each.parts is not None]
        scores = np.concatenate([each.scores for each in batches], axis=-1)
        return Judged(scores, np.concatenate(parts, axis=-2) if parts else None)


def collect(chain: Chain, samples: SampleSet, metric: Metric, progress: Progress = lambda done: None) -> ExitStatistics:
    """Confidence of every exit, and what each stage and the full model score.

    `progress` gets the samples done, for each of the `passes`.
    """
    full = judge_full(chain, samples, metric, progress)
    confidence: list[npt.NDArray[np.float32]] = []
    judged: list[Judged] = []
    summaries: list[npt.NDArray[np.int64]] = []
    reader = next(iter(gates_with_memory(chain.manifest).values()), None)
    for batch in samples.batches(chain.engine_dir.manifest.max_batch):
        every = chain.run_all(batch.inputs)
        truth = batch.labels if metric.needs_labels else chain.full(batch.inputs)
        confidence.append(every.confidence[: len(chain.exits)])
        stages = range(len(every.exit_ids))
        judged.append(Judged.stack([Judged.of(metric, _at(every.prediction, k), truth) for k in stages]))
        if reader is not None:
            summaries.append(np.stack([_summary(reader, _at(every.prediction, k)) for k in range(len(chain.exits))]))
        progress(len(batch))
    found = Judged.join(judged)
    return ExitStatistics(
        chain.exits,
        np.concatenate(confidence, axis=1),
        found.scores,
        full.scores,
        _classes(samples.labels),
        np.concatenate(summaries, axis=1) if summaries else None,
        parts_of(metric, found.parts, full.parts),
        samples.units,
    )


def judge_full(chain: Chain, samples: SampleSet, metric: Metric, progress: Progress = lambda done: None) -> Judged:
    """What the full model scores; no exit is looked at."""
    check_labels(samples, metric)
    if not metric.needs_labels:
        return Judged(np.ones(len(samples), bool), None)
    judged: list[Judged] = []
    for batch in samples.batches(chain.engine_dir.manifest.max_batch):
        judged.append(Judged.of(metric, chain.full(batch.inputs), batch.labels))
        progress(len(batch))
    return Judged.join(judged)


def parts_of(metric: Metric, chain: Floats | None, full: Floats | None) -> Parts | None:
    """None where the metric has none."""
    return None if chain is None or full is None or metric.value is None else Parts(chain, full, metric.value)


def passes(metric: Metric) -> int:
    """How many passes `collect` makes: with labels the full model has its own."""
    return 2 if metric.needs_labels else 1


def check_labels(samples: SampleSet, metric: Metric) -> None:
    """An InputError where the metric needs labels and the set has none."""
    if metric.needs_labels and samples.labels is None:
        raise InputError(
            f"--metric {metric.name} needs labels, and the data have none; add an array `labels`, or certify that the "
            "chain's answer is the full model's with --metric agreement"
        )


def _classes(labels: npt.NDArray[Any] | None) -> npt.NDArray[np.int64] | None:
    return labels.astype(np.int64) if labels is not None and labels.ndim == 1 and labels.dtype.kind in "iub" else None


def _summary(reader: GateWithMemory, prediction: Prediction) -> npt.NDArray[np.int64]:
    if not isinstance(prediction, Mapping):
        return reader.summary(prediction)
    return reader.summary(prediction[reader.field or next(name for name in prediction if name != LEARNED_FIELD)])


def _at(prediction: Prediction, stage: int) -> Prediction:
    if isinstance(prediction, Mapping):
        return {field: values[stage] for field, values in prediction.items()}
    values: npt.NDArray[Any] = prediction[stage]
    return values
