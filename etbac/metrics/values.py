"""The metric of numbers: Pearson's correlation with the targets."""

from __future__ import annotations

import math

import numpy as np

from etbac.errors import InputError
from etbac.metrics.base import Array, Floats, Prediction, divided, one_field


def closeness(prediction: Prediction, targets: Array) -> Floats:
    """1 ÷ (1 + |error|), the error in the targets' unit: 1 where the number is right, ½ where it is one off.

    Numbers [N] or [N, 1], targets float [N]. NaN scores 0.
    """
    numbers, targets = _checked(prediction, targets)
    return np.nan_to_num(1 / (1 + np.abs(numbers - targets)), nan=0.0)


def moments(prediction: Prediction, targets: Array) -> Floats:
    """[N, 5]: number, target, their squares, and their product."""
    numbers, targets = _checked(prediction, targets)
    return np.stack([numbers, targets, numbers**2, targets**2, numbers * targets], axis=1)


def pearson(means: Floats) -> float:
    """Of the means of `moments`; 0 where the numbers, or the targets, are all the same."""
    x, y, xx, yy, xy = means.tolist()
    return divided(xy - x * y, math.sqrt(max(0.0, xx - x * x)) * math.sqrt(max(0.0, yy - y * y)))


def _checked(prediction: Prediction, targets: Array) -> tuple[Floats, Floats]:
    numbers = one_field(prediction, "pearson")
    targets = np.asarray(targets)
    if numbers.shape not in (targets.shape, (*targets.shape, 1)) or targets.ndim != 1:
        raise InputError(
            f"pearson needs one number and one target a sample; found {list(numbers.shape)} and {list(targets.shape)}"
        )
    return numbers.reshape(-1).astype(np.float64), targets.astype(np.float64)
