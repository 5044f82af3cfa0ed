"""What a set of engines costs against the portable fp32 chain: differences, decisions, metric, and what it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.metrics import Metric, Prediction
from etbac.runtime.chain import Chain
from etbac.runtime.results import AllExits
from etbac.verification.chain import Inputs

Array = npt.NDArray[Any]
MIXED = 0.05
"""Of the output's scale: a row that differs so much from itself in another batch has been mixed up with another row."""


@dataclass(frozen=True)
class EnginesCost:
    """A set of engines against the portable chain, over `samples` samples.

    `largest` and `typical` (the median over samples): difference of the prediction where nobody leaves early, ÷ the
    output's scale. `flips`: samples that leave elsewhere at the same thresholds. `figures`: the `metric` of the full
    model and of both chains, where labels are there or none are needed. `broken`: what is wrong whatever the format, or
    None.
    """

    engines: str
    samples: int
    largest: float
    typical: float
    flips: int
    metric: str | None
    figures: Mapping[str, float]
    broken: str | None


def compare_engines(
    chain: Chain,
    portable: Chain,
    inputs: Inputs,
    labels: Array | None = None,
    metric: Metric | None = None,
    thresholds: Mapping[int, float] | None = None,
) -> EnginesCost:
    """Run both over all rows of `inputs`; `thresholds` by exit id, by default nobody leaves."""
    limits = dict(thresholds or {})
    every, expected = chain.run_all(inputs), portable.run_all(inputs)
    gaps = _gaps(_at_last(every.prediction), _at_last(expected.prediction))
    early, usual = chain.run(inputs, thresholds=limits), portable.run(inputs, thresholds=limits)
    figures = {}
    if metric is not None and (labels is not None or not metric.needs_labels):
        full = portable.full(inputs)
        answers = {"full model": full, "fp32 chain": usual.prediction, f"{chain.dtype} chain": early.prediction}
        truth = labels if metric.needs_labels else full
        figures = {name: metric.of(metric.rows(answer, truth)) for name, answer in answers.items()}
    return EnginesCost(
        engines=f"{chain.backend}-{chain.device}-{chain.dtype}",
        samples=len(early.exit),
        largest=float(gaps.max(initial=0.0)),
        typical=float(np.median(gaps)) if gaps.size else 0.0,
        flips=int((early.exit_id != usual.exit_id).sum()),
        metric=None if metric is None else metric.name,
        figures=figures,
        broken=_broken(chain, inputs, every),
    )


def _broken(chain: Chain, inputs: Inputs, every: AllExits) -> str | None:
    for name, tensor in _named(every.prediction):
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            return f"{name} holds numbers that are not finite"
    forced = np.random.default_rng(0).choice(np.array(chain.ids), len(every.confidence[0]))
    places = np.array([chain.ids.index(exit_id) for exit_id in forced])
    result = chain.run(inputs, exit_at=forced)
    rows = np.arange(len(forced))
    expected = [(name, tensor[places, rows]) for name, tensor in _named(every.prediction)]
    for (name, wanted), (_, found) in zip(expected, _named(result.prediction), strict=True):
        if wanted.shape != found.shape:
            return f"{name} has the shape {list(found.shape)} where samples leave, {list(wanted.shape)} elsewhere"
        gaps = _gaps(found, wanted)
        if gaps.max(initial=0.0) > MIXED:
            return f"row {int(gaps.argmax())} of {name} differs by {gaps.max():.2g} of its scale when others have left"
    return None


def _gaps(found: Prediction, wanted: Prediction) -> npt.NDArray[np.float64]:
    """[rows]: the largest difference of a row over all fields, ÷ the field's scale."""
    worst: npt.NDArray[np.float64] = np.zeros(0)
    for (_, ours), (_, theirs) in zip(_named(found), _named(wanted), strict=True):
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        gap = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1, initial=0.0)
        scaled = np.where(np.isfinite(gap), gap / (np.abs(theirs).max(initial=0.0) or 1.0), np.inf)
        worst = scaled if not worst.size else np.maximum(worst, scaled)
    return worst


def _named(prediction: Prediction) -> list[tuple[str, Array]]:
    return [*prediction.items()] if isinstance(prediction, Mapping) else [("prediction", prediction)]


def _at_last(prediction: Prediction) -> Prediction:
    if isinstance(prediction, Mapping):
        return {name: tensor[-1] for name, tensor in prediction.items()}
    last: Array = prediction[-1]
    return last
