"""Metrics, once, in NumPy. The unit is the sample: a metric is made of one row for each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from etbac.errors import UsageError
from etbac.metrics.base import Array, Floats, Metric, Prediction, Scores
from etbac.metrics.classes import accuracy, agreement, confusion, f1, mcc
from etbac.metrics.joints import pckh
from etbac.metrics.masks import areas, miou, picture_iou, pixel_accuracy
from etbac.metrics.values import closeness, moments, pearson

__all__ = ["METRICS", "Array", "Floats", "Metric", "Prediction", "Scores", "accuracy", "agreement", "metric"]

_ALL = (
    Metric("accuracy", accuracy, needs_labels=True),
    Metric("agreement", agreement, needs_labels=False),
    Metric("f1", accuracy, needs_labels=True, parts=confusion, value=f1),
    Metric("mcc", accuracy, needs_labels=True, parts=confusion, value=mcc),
    Metric("miou", picture_iou, needs_labels=True, parts=areas, value=miou),
    Metric("pckh", pckh, needs_labels=True),
    Metric("pearson", closeness, needs_labels=True, parts=moments, value=pearson),
    Metric("pixel-accuracy", pixel_accuracy, needs_labels=True),
)
METRICS: Mapping[str, Metric] = MappingProxyType({each.name: each for each in _ALL})


def metric(name: str) -> Metric:
    """The metric of that name; a UsageError that lists the names otherwise."""
    if name not in METRICS:
        raise UsageError(f"there is no metric {name!r}; there are {', '.join(METRICS)}")
    return METRICS[name]
