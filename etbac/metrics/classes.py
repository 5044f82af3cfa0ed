"""Metrics of classes: accuracy, agreement with the full model, and F1 and MCC of two classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.metrics.base import Array, Floats, Prediction, divided, one_field

Right: TypeAlias = npt.NDArray[np.bool_]


def accuracy(prediction: Prediction, labels: npt.ArrayLike) -> Right:
    """Top-1: the largest of the scores [N, C] stands at the label, int [N]. A row with NaN is wrong.

    Raises InputError where the shapes are others.
    """
    scores, labels = one_field(prediction, "accuracy"), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise InputError(
            f"accuracy needs scores [N, C] and one label a sample; found scores {list(scores.shape)}"
            f" and labels {list(labels.shape)}"
        )
    right: Right = (scores.argmax(axis=1) == labels) & ~np.isnan(scores).any(axis=1)
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


def confusion(prediction: Prediction, labels: npt.ArrayLike) -> Floats:
    """[N, 4]: 1 where a sample is a true positive, a false positive, a false negative, a true negative.

    Scores [N, 2], labels 0 or 1, which is the positive class. A row with NaN is wrong.
    """
    right, labels = accuracy(prediction, labels), np.asarray(labels)
    classes = one_field(prediction, "f1").shape[1]
    if classes != 2 or not np.isin(labels, (0, 1)).all():
        raise InputError(f"f1 and mcc are of two classes, 0 and 1; found scores of {classes} and labels {_few(labels)}")
    positive = labels == 1
    return np.stack([right & positive, ~right & ~positive, ~right & positive, right & ~positive], axis=1).astype(float)


def f1(counts: Floats) -> float:
    """Of the positive class; 0 where nothing is positive, or said to be."""
    hits, false, missed, _ = counts.tolist()
    return divided(2 * hits, 2 * hits + false + missed)


def mcc(counts: Floats) -> float:
    """Matthews' correlation coefficient; 0 where one class alone is there, or answered."""
    hits, false, missed, rest = counts.tolist()
    below = (hits + false) * (hits + missed) * (rest + false) * (rest + missed)
    return divided(hits * rest - false * missed, math.sqrt(below))


def _same_decision(ours: Array, theirs: Array) -> Right:
    if ours.shape != theirs.shape:
        raise InputError(f"agreement compares equal shapes; found {list(ours.shape)} and {list(theirs.shape)}")
    same = _decision(ours) == _decision(theirs)
    positions = tuple(range(1, same.ndim))
    right: Right = same.all(axis=positions)
    return right


def _decision(values: Array) -> Array:
    scores = values.ndim >= 2 and np.issubdtype(values.dtype, np.floating)
    return values.argmax(axis=1) if scores else values


def _few(labels: npt.NDArray[Any]) -> str:
    found = np.unique(labels)[:4].tolist()
    return ", ".join(map(str, found))
