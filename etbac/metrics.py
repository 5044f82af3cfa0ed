"""Metrics, once, in NumPy. The unit is the sample: a metric is the mean of one figure per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, UsageError

Prediction: TypeAlias = npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]
"""A model's raw output, rows on axis 0: one array, or one per field."""

Right: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Metric:
    """`right(prediction, truth)` says for each sample whether it counts, bool [N].

    `truth` is the labels, or the full model's prediction where `needs_labels` is False.
    """

    name: str
    right: Callable[[Prediction, Any], Right]
    needs_labels: bool


def accuracy(prediction: Prediction, labels: npt.ArrayLike) -> Right:
    """Top-1: the largest of the scores [N, C] stands at the label, int [N]. A row with NaN is wrong.

    Raises InputError where the shapes are others.
    """
    if isinstance(prediction, Mapping):
        raise InputError(f"accuracy is of one field of class scores; this model has {', '.join(prediction)}")
    labels = np.asarray(labels)
    if prediction.ndim != 2 or labels.shape != prediction.shape[:1]:
        raise InputError(
            f"accuracy needs scores [N, C] and one label a sample; found scores {list(prediction.shape)}"
            f" and labels {list(labels.shape)}"
        )
    right: Right = (prediction.argmax(axis=1) == labels) & ~np.isnan(prediction).any(axis=1)
    return right


def agreement(prediction: Prediction, reference: Prediction) -> Right:
    """The prediction decides as the reference does, in every field and at every position.

    A field of floats [N, C, …] decides by its largest score along axis 1; any other field is its own decision.
    """
    if isinstance(prediction, Mapping) != isinstance(reference, Mapping):
        raise InputError("agreement compares predictions with the same fields")
    ours = prediction if isinstance(prediction, Mapping) else {"prediction": prediction}
    theirs = reference if isinstance(reference, Mapping) else {"prediction": reference}
    if ours.keys() != theirs.keys():
        raise InputError(f"agreement compares the same fields; found {sorted(ours)} and {sorted(theirs)}")
    right: Right = np.logical_and.reduce([_same_decision(ours[name], theirs[name]) for name in ours])
    return right


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric("accuracy", accuracy, needs_labels=True),
        "agreement": Metric("agreement", agreement, needs_labels=False),
    }
)


def metric(name: str) -> Metric:
    """The metric of that name; a UsageError that lists the names otherwise."""
    if name not in METRICS:
        raise UsageError(f"there is no metric {name!r}; there are {', '.join(METRICS)}")
    return METRICS[name]


def _same_decision(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> Right:
    if ours.shape != theirs.shape:
        raise InputError(f"agreement compares equal shapes; found {list(ours.shape)} and {list(theirs.shape)}")
    same = _decision(ours) == _decision(theirs)
    positions = tuple(range(1, same.ndim))
    right: Right = same.all(axis=positions)
    return right


def _decision(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    scores = values.ndim >= 2 and np.issubdtype(values.dtype, np.floating)
    return values.argmax(axis=1) if scores else values
