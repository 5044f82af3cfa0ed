"""A batch's answers as they come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array
from etbac.runtime.results import Prediction, Result


class Leaving(NamedTuple):
    """Samples that leave: the exit's place in the chain, their rows, a tensor for each field, confidences."""

    place: int
    rows: npt.NDArray[np.int64]
    predictions: Sequence[Array]
    confidence: npt.NDArray[np.float32]


class Answers:
    """A batch's answers as they come in, put where the samples stood."""

    def __init__(self, rows: int, ids: npt.ArrayLike) -> None:
        self._rows = self._missing = rows
        self.ids = np.asarray(ids)
        self._predictions: list[Array] = []

    @property
    def complete(self) -> bool:
        return self._missing == 0

    def put(self, left: Leaving) -> None:
        self._missing -= len(left.rows)
        if len(left.rows) == self._rows:
            self._predictions, self._confidence = list(left.predictions), left.confidence
            self._places = np.full(self._rows, left.place)
            return
        if not self._predictions:
            self._predictions = [np.empty((self._rows, *tensor.shape[1:]), tensor.dtype) for tensor in left.predictions]
            self._places, self._confidence = np.empty(self._rows, np.int64), np.empty(self._rows, np.float32)
        self._places[left.rows] = left.place
        self._confidence[left.rows] = left.confidence
        for whole, tensor in zip(self._predictions, left.predictions, strict=True):
            whole[left.rows] = tensor

    def result(self, fields: tuple[str, ...]) -> Result:
        return Result(by_field(fields, self._predictions), self.ids[self._places], self._places, self._confidence)


def by_field(fields: tuple[str, ...], predictions: Sequence[Array]) -> Prediction:
    return predictions[0] if len(fields) == 1 else dict(zip(fields, predictions, strict=True))
