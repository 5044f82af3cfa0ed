"""How `etbac run` shows and stores a chain's answers."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etbac.backends.interface import Array
from etbac.contract import FULL_MODEL_ID
from etbac.runtime.certificate import Standing
from etbac.runtime.results import Prediction, Result, fields

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 20
"""Rows printed; the rest is in --output and --json."""
P99_NEEDS = 2000
"""Batches from which a 99th percentile is told."""


OF_CLASSES = ("classification", "text", "speech")
"""Tasks whose answers are a class's scores, or a number."""


def write(result: Result, path: Path) -> None:
    """An .npz file: `prediction` (`prediction.<field>` where there are several), `exit_id`, `exit`, `confidence`."""
    arrays: dict[str, Any] = {**_named(result.prediction), "exit_id": result.exit_id, "exit": result.exit}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays, confidence=result.confidence)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def rows(task: str, names: Sequence[str] | None, result: Result) -> list[dict[str, Any]]:
    """One entry a sample; `prediction` is a class, or what the tensors are; the full model's `confidence` is None."""
    confidences = [value if math.isfinite(value) else None for value in result.confidence.tolist()]
    files = [None] * len(confidences) if names is None else names
    predictions = _in_words(task, result.prediction)
    each = zip(files, predictions, result.exit_id.tolist(), confidences, strict=True)
    return [
        {"row": row, "file": file, "prediction": prediction, "exit_id": exit_id, "confidence": confidence}
        for row, (file, prediction, exit_id, confidence) in enumerate(each)
    ]


def exit_shares(ids: Sequence[int], result: Result) -> list[dict[str, Any]]:
    """How many samples left at each exit, in the order of the chain."""
    counts = np.bincount(result.exit, minlength=len(ids)).tolist()
    total = len(result.exit)
    return [
        {"exit_id": exit_id, "samples": count, "share": count / total}
        for exit_id, count in zip(ids, counts, strict=True)
    ]


def latency_ms(seconds: Sequence[float]) -> dict[str, float | None]:
    """Of the batches after the first, which also pays for the start; p99 from 2,000 batches on."""
    first, warm = 1000 * seconds[0], 1000 * np.array(seconds[1:])
    if not warm.size:
        return {"first": first, "mean": None, "p50": None, "p90": None, "p99": None}
    p50, p90, p99 = np.percentile(warm, [50, 90, 99]).tolist()
    return {"first": first, "mean": warm.mean(), "p50": p50, "p90": p90, "p99": p99 if warm.size >= P99_NEEDS else None}


def row_table(entries: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    left_out = len(entries) - SHOWN
    caption = f"… and {left_out} more: write them all with --output" if left_out > 0 else None
    with_files = entries[0]["file"] is not None
    table = Table("row", *(["file"] if with_files else []), "prediction", "exit", "confidence", caption=caption)
    for entry in entries[:SHOWN]:
        confidence = "–" if entry["confidence"] is None else f"{entry['confidence']:.4f}"
        file = [entry["file"]] if with_files else []
        table.add_row(str(entry["row"]), *file, str(entry["prediction"]), _exit_name(entry["exit_id"]), confidence)
    return table


def exit_table(shares: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("exit", "samples", "share")
    for entry in shares:
        table.add_row(_exit_name(entry["exit_id"]), str(entry["samples"]), f"{entry['share']:.1%}")
    return table


def latency_line(latency: dict[str, float | None], batches: int) -> str:
    figures = ", ".join(f"{name} {'–' if value is None else f'{value:.3f}'}" for name, value in latency.items())
    return f"latency of a batch, ms ({batches} batch{'es' if batches > 1 else ''}; the first apart): {figures}"


def certificate_line(standing: Standing) -> str:
    if standing.certified:
        return f"certified: precision {standing.precision:g}"
    return f"certified: false ({standing.reason})"


def _named(prediction: Prediction) -> dict[str, Array]:
    if not isinstance(prediction, dict):
        return fields(prediction)
    return {f"prediction.{field}": tensor for field, tensor in prediction.items()}


def _in_words(task: str, prediction: Prediction) -> list[Any]:
    """A class index for scores `[rows, classes]`, the number itself of a text's `[rows, 1]`; else each tensor's dtype
    and shape."""
    by_field = fields(prediction)
    only = next(iter(by_field.values()))
    if task in OF_CLASSES and len(by_field) == 1 and only.ndim == 2 and only.dtype.kind == "f":
        is_number = task == "text" and only.shape[1] == 1
        answers: list[Any] = only[:, 0].tolist() if is_number else only.argmax(axis=1).tolist()
        return answers
    text = ", ".join(f"{field}: {tensor.dtype} {list(tensor.shape[1:])}" for field, tensor in by_field.items())
    return [text] * len(only)


def _exit_name(exit_id: int) -> str:
    return "full model" if exit_id == FULL_MODEL_ID else str(exit_id)
