"""One pass of a set through every exit and through the full model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.metrics import Metric, Prediction
from etbac.passes.gates import LEARNED_FIELD, GateWithMemory
from etbac.planner.samples import SampleSet
from etbac.planner.statistics import Bools, ExitStatistics
from etbac.planner.subset import gates_with_memory
from etbac.runtime.chain import Chain

Progress = Callable[[int], None]


def collect(chain: Chain, samples: SampleSet, metric: Metric, progress: Progress = lambda done: None) -> ExitStatistics:
    """Confidence of every exit, and whether each stage and the full model are right.

    `progress` gets the samples done, for each of the `passes`.
    """
    full_right = judge_full(chain, samples, metric, progress)
    confidence: list[npt.NDArray[np.float32]] = []
    right: list[Bools] = []
    summaries: list[npt.NDArray[np.int64]] = []
    reader = next(iter(gates_with_memory(chain.manifest).values()), None)
    for batch in samples.batches(chain.engine_dir.manifest.max_batch):
        every = chain.run_all(batch.inputs)
        truth = batch.labels if metric.needs_labels else chain.full(batch.inputs)
        confidence.append(every.confidence[: len(chain.exits)])
        right.append(np.stack([metric.right(_at(every.prediction, k), truth) for k in range(len(every.exit_ids))]))
        if reader is not None:
            summaries.append(np.stack([_summary(reader, _at(every.prediction, k)) for k in range(len(chain.exits))]))
        progress(len(batch))
    return ExitStatistics(
        chain.exits,
        np.concatenate(confidence, axis=1),
        np.concatenate(right, axis=1),
        full_right,
        _classes(samples.labels),
        np.concatenate(summaries, axis=1) if summaries else None,
    )


def judge_full(chain: Chain, samples: SampleSet, metric: Metric, progress: Progress = lambda done: None) -> Bools:
    """[n]: whether the full model is right; no exit is looked at."""
    check_labels(samples, metric)
    if not metric.needs_labels:
        return np.ones(len(samples), bool)
    judged: list[Bools] = []
    for batch in samples.batches(chain.engine_dir.manifest.max_batch):
        judged.append(metric.right(chain.full(batch.inputs), batch.labels))
        progress(len(batch))
    return np.concatenate(judged)


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
