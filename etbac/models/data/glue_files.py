"""GLUE's files as texts and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, MissingPackageError, one_line
from etbac.models.data.parts import Texts, numbered

ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True)
class Form:
    """What one task's files hold.

    `columns`: the texts' in the parquet files. `classes`: none for values. `tsv`: the texts' columns in the TSV files,
    by name or, without a header, by place, where they are others; `label`: its label's. `test`: how the development
    part's name ends.
    """

    folder: str
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    metric: str
    tsv: tuple[str | int, ...] = ()
    label: str | int = "label"
    header: bool = True
    test: str = ""


def read_tsv(files: Sequence[Path], form: Form) -> Texts:
    """Tabs separate, nothing quotes. Rows that lack fields are left out: QQP's training file has some."""
    texts, labels = [], []
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not text in UTF-8 ({error})") from None
        rows = [line.removesuffix("\r").split("\t") for line in lines if line.strip()]
        header = rows.pop(0) if form.header and rows else []
        places = [_place(path, header, column) for column in (*(form.tsv or form.columns), form.label)]
        # MNLI's files and others have the label last; a row that lacks fields lacks that.
        whole = [row for row in rows if len(row) >= max(len(header), max(places) + 1)]
        if len(whole) < 0.9 * len(rows) or not whole:
            raise InputError(
                f"{path} is no TSV file of {form.folder}: {len(whole)} of {len(rows)} rows have all their fields"
            )
        *of_texts, of_label = places
        texts += [tuple(row[place] for place in of_texts) for row in whole]
        labels += [row[of_label] for row in whole]
    return _texts(files[0], form, texts, labels)


def read_parquet(files: Sequence[Path], form: Form) -> Texts:
    """The hub's files; classes are numbers there. MissingPackageError without pyarrow."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingPackageError(f"{files[0]} needs pyarrow. Install it: pip install pyarrow") from None
    texts, labels = [], []
    for path in files:
        try:
            table = parquet.read_table(path, columns=[*form.columns, "label"]).to_pydict()
        except (ArrowException, OSError, KeyError) as error:
            raise InputError(
                f"{path} is not a whole parquet file with {', '.join(form.columns)} and label ({one_line(error)[:200]})"
            ) from None
        if lacking := [name for name in (*form.columns, "label") if name not in table]:
            raise InputError(f"{path} has no column {lacking[0]!r}; GLUE's {form.folder} has it")
        texts += list(zip(*(table[name] for name in form.columns), strict=True))
        labels += table["label"]
    return _texts(files[0], form, texts, labels)


def _place(path: Path, header: list[str], column: str | int) -> int:
    if isinstance(column, int):
        return column
    if column not in header:
        raise InputError(f"{path} has no column {column!r}; its header is {', '.join(header) or 'empty'}")
    return header.index(column)


def _texts(path: Path, form: Form, texts: Sequence[tuple[str, ...]], labels: Sequence[Any]) -> Texts:
    if len(form.columns) == 1:
        return Texts([text for (text,) in texts], _targets(path, form, labels))
    pairs = [(first, second) for first, second in texts]
    return Texts(pairs, _targets(path, form, labels), numbered([first for first, _ in pairs]))


def _targets(path: Path, form: Form, labels: Sequence[Any]) -> npt.NDArray[Any]:
    """Classes int64 by name or by number, or values float32."""
    try:
        if not form.classes:
            return np.array(labels, np.float32)
        known = {name: place for place, name in enumerate(form.classes)}
        places = np.array([known[label] if label in known else int(label) for label in labels], np.int64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: a label is none of {', '.join(form.classes) or 'numbers'} ({error})") from None
    if ((places < 0) | (places >= len(form.classes))).any():
        raise InputError(f"{path} holds labels below 0 or above {len(form.classes) - 1}: the test files have none")
    return places
