"""What a chain answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from etbac.backends.interface import Array

Prediction: TypeAlias = Array | dict[str, Array]
"""The raw output, `[rows, …]`; for a model of several fields a dictionary of them."""


@dataclass(frozen=True)
class Part:
    """The samples that left at one exit: `rows` (int64, places in the batch as it was given) and their answers."""

    rows: npt.NDArray[np.int64]
    prediction: Prediction
    exit_id: int
    confidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    """A batch's answers, rows in the order given.

    `prediction`: the head's raw output, `[rows, …]`; for a model of several fields a dict of them. `exit_id`: int64, 0
    where the full model answered. `exit`: int64, the exit's place in the chain, from 0; the full model's comes last.
    `confidence`: float32, that of the exit where the sample left; NaN where the full model answered, which has none.
    """

    prediction: Prediction
    exit_id: npt.NDArray[np.int64]
    exit: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class AllExits:
    """Every exit's answers for every sample, exits on axis 0 in the order of `exit_ids` (the full model's 0 last).

    `prediction`: `[exits, rows, …]`; for a model of several fields a dict of them. `confidence`: float32
    `[exits, rows]`, NaN in the full model's row.
    """

    exit_ids: tuple[int, ...]
    prediction: Prediction
    confidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class StageRun:
    """One run of one engine: its place in the chain, and for how many rows it ran, fillers among them."""

    stage: int
    rows: int


def join(results: Sequence[Result]) -> Result:
    """The answers of several batches as one batch's."""
    if len(results) == 1:
        return results[0]
    predictions = [result.prediction for result in results]
    return Result(
        _join_predictions(predictions),
        np.concatenate([result.exit_id for result in results]),
        np.concatenate([result.exit for result in results]),
        np.concatenate([result.confidence for result in results]),
    )


def fields(prediction: Prediction) -> dict[str, Array]:
    """The prediction by field; a single one is called "prediction"."""
    return prediction if isinstance(prediction, dict) else {"prediction": prediction}


def _join_predictions(predictions: Sequence[Prediction]) -> Prediction:
    if isinstance(predictions[0], dict):
        return {field: np.concatenate([fields(each)[field] for each in predictions]) for field in predictions[0]}
    return np.concatenate([fields(each)["prediction"] for each in predictions])
