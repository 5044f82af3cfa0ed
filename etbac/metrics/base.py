"""What a metric is: figures of single samples, and how they make one figure of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float64]

Prediction: TypeAlias = Array | Mapping[str, Array]
"""A model's raw output, rows on axis 0: one array, or one per field."""

Scores: TypeAlias = Array
"""[N], one figure a sample: bool where an answer is right or wrong, else float64 in [0, 1]."""


@dataclass(frozen=True)
class Metric:
    """`score(prediction, truth)`: what a planner adds up over samples, `Scores`.

    `truth` is the targets, or the full model's prediction where `needs_labels` is False. Where the metric is no mean of
    such scores, `parts(prediction, truth)` gives float64 [N, k], and the metric is `value` of their mean over samples.
    """

    name: str
    score: Callable[[Prediction, Any], Scores]
    needs_labels: bool
    parts: Callable[[Prediction, Any], Floats] | None = None
    value: Callable[[Floats], float] | None = None

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean of its scores: then it can be certified."""
        return self.parts is None

    def rows(self, prediction: Prediction, truth: Any) -> Array:
        """A row for each sample, of which `of` makes the metric of any samples."""
        return self.score(prediction, truth) if self.parts is None else self.parts(prediction, truth)

    def of(self, rows: Array) -> float:
        return self.of_mean(rows.mean(axis=0))

    def of_mean(self, row: Array) -> float:
        return float(row if self.value is None else self.value(row))


def one_field(prediction: Prediction, metric: str) -> Array:
    """The prediction of a model that has a single field; an InputError otherwise."""
    if isinstance(prediction, Mapping):
        raise InputError(f"{metric} is of one field; this model has {', '.join(prediction)}")
    return prediction


def divided(above: float, below: float) -> float:
    """0 where there is nothing to divide by."""
    return above / below if below else 0.0
