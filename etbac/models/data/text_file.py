"""Texts with labels in CSV or JSONL files: any text classification or regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, UsageError
from etbac.models.data.loader import Opened, of_kind
from etbac.models.data.parts import TextPart, Texts, numbered
from etbac.models.data.splits import divide
from etbac.models.data.trees import refuse
from etbac.preprocessing import Preprocessing, TextPreprocessing
from etbac.preprocessing.tables import SECOND, Row, read_rows, text_of

SUFFIXES = (".csv", ".jsonl")
TESTS = ("test", "validation", "dev", "val")
TREE = """
train.csv                           with a header and the columns text, label and, for pairs, text2; or
train.jsonl                         {"text": "…", "label": "…"} on every line
test.csv or test.jsonl              likewise (or validation, dev, val); without it a fifth of train is the test part
"""


@dataclass(frozen=True)
class TextFile:
    """The loader `text-file`.

    Columns: `text`; `text2` (left out: the column of that name where there is one); `label`; `unit`, where rows with
    the same value are one independent unit (an author, a thread). `regression`: labels are numbers, not classes.
    Without a test file a fifth of the units, by their hash, is the test part.
    """

    name: ClassVar[str] = "text-file"
    task: ClassVar[str] = "text"

    text: str = "text"
    text2: str | None = None
    label: str = "label"
    unit: str | None = None
    regression: bool = False

    def check(self, folder: Path) -> None:
        if _file(folder, ("train",)) is None:
            refuse(folder, "a folder of texts with labels", TREE, "train.csv or train.jsonl")

    def open(self, folder: Path, preprocessing: Preprocessing | None = None) -> Opened:
        """The training file is read at once, for the classes' names."""
        self.check(folder)
        how = of_kind(self, preprocessing, TextPreprocessing, None)
        train_file, test_file = _file(folder, ("train",)), _file(folder, TESTS)
        assert train_file is not None
        rows = read_rows(train_file)
        classes = () if self.regression else self._classes(train_file, rows)
        if test_file is not None:
            test = partial(self._read, test_file, classes)
            return _opened(partial(self._texts, train_file, rows, classes), test, classes, how)
        units = [
            str(_field(train_file, row, self.unit)) if self.unit else f"row {place}" for place, row in enumerate(rows)
        ]
        train, held = divide(rows, units)
        made = [partial(self._texts, train_file, part, classes) for part in (train, held)]
        return _opened(made[0], made[1], classes, how)

    def _read(self, path: Path, classes: tuple[str, ...]) -> Texts:
        return self._texts(path, read_rows(path), classes)

    def _texts(self, path: Path, rows: Sequence[Row], classes: tuple[str, ...]) -> Texts:
        second = self.text2 or (SECOND if rows and SECOND in rows[0] else None)
        texts = [text_of(path, place, row, self.text, second) for place, row in enumerate(rows)]
        units = None if self.unit is None else numbered([_field(path, row, self.unit) for row in rows])
        return Texts(texts, self._targets(path, rows, classes), units)

    def _targets(self, path: Path, rows: Sequence[Row], classes: tuple[str, ...]) -> npt.NDArray[Any]:
        labels = [_field(path, row, self.label) for row in rows]
        if self.regression:
            try:
                return np.array([float(label) for label in labels], np.float32)
            except (TypeError, ValueError) as error:
                raise InputError(f"{path}: a label is no number, as with regression ({error})") from None
        places = {name: place for place, name in enumerate(classes)}
        if unknown := [label for label in labels if str(label) not in places]:
            raise InputError(f"{path} holds the label {unknown[0]!r}, unknown in training: {', '.join(classes)}")
        return np.array([places[str(label)] for label in labels], np.int64)

    def _classes(self, path: Path, rows: Sequence[Row]) -> tuple[str, ...]:
        """The labels, in the order of numbers where all are such."""
        labels = {str(_field(path, row, self.label)) for row in rows}
        if len(labels) < 2 or len(labels) == len(rows) > 2:
            raise UsageError(
                f"{path} has {len(labels)} different labels in {len(rows)} rows; classes are few. For numbers give the "
                "option regression"
            )
        numbers = all(label.lstrip("-").isdecimal() for label in labels)
        return tuple(sorted(labels, key=int if numbers else None))


def _opened(train: Any, test: Any, classes: tuple[str, ...], how: TextPreprocessing) -> Opened:
    parts = {"train": TextPart(train, how), "test": TextPart(test, how)}
    return Opened(parts, classes, how)


def _file(folder: Path, stems: Sequence[str]) -> Path | None:
    names = [f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _field(path: Path, row: Row, column: str) -> Any:
    if row.get(column) is None:
        raise InputError(f"{path} has no column {column!r} in every row; its columns are {', '.join(row)}")
    return row[column]
