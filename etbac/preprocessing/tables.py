"""Text files as rows: .csv with a header, .jsonl with one object a line, .txt with one text a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etbac.errors import InputError

SUFFIXES = frozenset({".txt", ".jsonl", ".csv"})
LARGEST_FIELD = 1 << 30
TEXT, SECOND = "text", "text2"

Row = Mapping[str, Any]


def read_rows(path: Path) -> Sequence[Row]:
    """Every row by column; a .txt file's only column is `text`. InputError for a damaged file or one without rows."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _READERS[path.suffix](path, file.read())
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file or folder") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 ({error})") from None
    if not rows:
        raise InputError(f"{path} holds no texts")
    return rows


def read_texts(path: Path) -> list[str | tuple[str, str]]:
    """The column `text`, or pairs of `text` and `text2` where there is one; of a file with one column, that one."""
    rows = read_rows(path)
    columns = list(rows[0])
    first = columns[0] if len(columns) == 1 else TEXT
    return [text_of(path, place, row, first, SECOND if SECOND in columns else None) for place, row in enumerate(rows)]


def text_of(path: Path, place: int, row: Row, first: str, second: str | None) -> str | tuple[str, str]:
    """The text of the row at `place` (from 0), or its two texts."""
    one = _string(path, place, row, first)
    return one if second is None else (one, _string(path, place, row, second))


def _string(path: Path, place: int, row: Row, column: str) -> str:
    value = row.get(column)
    if isinstance(value, str):
        return value
    found = ", ".join(str(name) for name in row)
    raise InputError(f"{path}: row {place + 1} has no text in a column {column!r}; its columns are {found}")


def _lines(content: str) -> list[str]:
    """Only line feeds end a line: texts may hold other separators of Unicode's."""
    lines = [line.removesuffix("\r") for line in content.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _of_txt(path: Path, content: str) -> list[Row]:
    return [{TEXT: line} for line in _lines(content)]


def _of_csv(path: Path, content: str) -> list[Row]:
    csv.field_size_limit(LARGEST_FIELD)
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; it is not CSV with a header") from None
    for place, row in enumerate(rows):
        if None in row or None in row.values():
            raise InputError(f"{path}: row {place + 1} has not the {len(reader.fieldnames or ())} fields of the header")
    return list(rows)


def _of_jsonl(path: Path, content: str) -> list[Row]:
    rows: list[Row] = []
    for place, line in enumerate(_lines(content)):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {place + 1} is not JSON ({error})") from None
        if not isinstance(row, dict):
            raise InputError(f'{path}, line {place + 1} is no object like {{"text": "…", "label": 0}}')
        rows.append(row)
    return rows


_READERS = {".txt": _of_txt, ".jsonl": _of_jsonl, ".csv": _of_csv}
