"""Metrics of masks: the share of pixels that are right, and the mean over classes of intersection ÷ union.

Predictions are scores [N, C, h, w], targets int [N, H, W], classes 0 to C - 1 and 255 where a pixel is not counted.
Scores of another size are brought to the mask's, as networks do it: bilinear, pixels' middles kept in place
(align_corners=False). A pixel with NaN is of no class, so it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError
from etbac.metrics.base import Array, Floats, Prediction, one_field

NOT_COUNTED = 255
NO_CLASS = -1


def pixel_accuracy(prediction: Prediction, masks: Array) -> Floats:
    """Share of a picture's counted pixels that are right.

    A picture without any scores 0, whatever the answer: in a ratio of metrics it is left out, and proves nothing.
    """
    scores = _checked(prediction, masks)
    right = [float((answer == truth).mean()) if truth.size else 0.0 for answer, truth in _pixels(scores, masks)]
    return np.array(right, np.float64)


def picture_iou(prediction: Prediction, masks: Array) -> Floats:
    """Mean intersection ÷ union over the classes that a picture has, or is said to have; 0 as in `pixel_accuracy`."""
    return np.array([miou(each) for each in areas(prediction, masks)], np.float64)


def areas(prediction: Prediction, masks: Array) -> Floats:
    """[N, 2 C]: pixels of each class's intersection of answer and mask, then of their union."""
    scores = _checked(prediction, masks)
    return np.array([_areas(answer, truth, scores.shape[1]) for answer, truth in _pixels(scores, masks)], np.float64)


def miou(found: Floats) -> float:
    """Of `areas`: the mean over the classes that are anywhere, in an answer or in a mask; 0 without any."""
    intersection, union = np.split(found, 2)
    there = union > 0
    return float((intersection[there] / union[there]).mean()) if there.any() else 0.0


def resized(scores: Array, height: int, width: int) -> Floats:
    """[C, h, w] to [C, height, width], bilinear."""
    resized: Floats = _weights(scores.shape[1], height) @ scores @ _weights(scores.shape[2], width).T
    return resized


@lru_cache(maxsize=8)
def _weights(old: int, new: int) -> npt.NDArray[np.float32]:
    """[new, old]: how much of each old place is in each new one."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    before = np.minimum(place.astype(np.int64), max(old - 2, 0))
    weights = np.zeros((new, old), np.float32)
    weights[np.arange(new), before] = 1 - (place - before)
    weights[np.arange(new), np.minimum(before + 1, old - 1)] += place - before
    return weights


def _checked(prediction: Prediction, masks: Array) -> Array:
    scores = one_field(prediction, "a metric of masks")
    if scores.ndim != 4 or masks.ndim != 3 or len(scores) != len(masks):
        raise InputError(
            f"metrics of masks need scores [N, C, h, w] and masks [N, H, W]; found scores {list(scores.shape)} and "
            f"masks {list(masks.shape)}"
        )
    found = int(masks[masks != NOT_COUNTED].max(initial=0))
    if found >= scores.shape[1] or masks.min(initial=0) < 0:
        raise InputError(
            f"masks hold the class {found if found >= scores.shape[1] else int(masks.min())}, and the model scores "
            f"{scores.shape[1]} classes, from 0; {NOT_COUNTED} is what is not counted"
        )
    return scores


def _pixels(scores: Array, masks: Array) -> Iterator[tuple[Array, Array]]:
    """For each picture, the classes answered and the true ones of its counted pixels."""
    for each, mask in zip(scores, masks, strict=True):
        same = each.shape[1:] == mask.shape
        here = each if same else resized(each.astype(np.float32, copy=False), *mask.shape)
        answer = np.where(np.isnan(here).any(axis=0), NO_CLASS, here.argmax(axis=0))
        counted = mask != NOT_COUNTED
        yield answer[counted], mask[counted]


def _areas(answer: Array, truth: Array, classes: int) -> Floats:
    said, true, both = (
        np.bincount(each[each != NO_CLASS], minlength=classes) for each in (answer, truth, answer[answer == truth])
    )
    return np.concatenate([both, said + true - both]).astype(np.float64)
