from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.published.texts import write_csv, write_jsonl

from etbac.errors import InputError
from etbac.preprocessing.tables import read_rows, read_texts

# A carriage return by itself ends a line in CSV, and a mark of the byte order is left out where a file begins.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\0\ufeff")
TEXTS = st.lists(st.text(LETTERS), min_size=1, max_size=8)


@given(TEXTS, st.booleans())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, texts: list[str], pairs: bool) -> None:
    folder = tmp_path_factory.mktemp("tables")
    columns: dict[str, list[str]] = {"label": ["x"] * len(texts), "text": texts}
    if pairs:
        columns["text2"] = texts[::-1]
    expected = list(zip(texts, texts[::-1], strict=True)) if pairs else texts
    assert read_texts(write_csv(folder / "a.csv", columns)) == expected
    assert read_texts(write_jsonl(folder / "a.jsonl", columns)) == expected
    if not any("\n" in text for text in texts):
        (folder / "a.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        assert read_texts(folder / "a.txt") == texts


def test_a_file_with_one_column_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffreview\r\ngood\r\n", encoding="utf-8", newline="")
    assert read_texts(tmp_path / "a.csv") == ["good"]


def test_long_texts_are_read(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", {"text": ["x" * 300_000], "label": [0]})
    assert len(read_texts(path)[0]) == 300_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\ngood\n", "row 1 has not the 2 fields of the header"),
        ("a.csv", b"text,label\ngood,1,2\n", "row 1 has not the 2 fields of the header"),
        ("a.csv", b'text,label\n"good,1\n', "it is not CSV with a header"),
        ("a.csv", b"text,label\n", "holds no texts"),
        ("a.csv", b"body,label\ngood,1\n", "row 1 has no text in a column 'text'; its columns are body, label"),
        ("a.jsonl", b'{"text": "a"}\n{"text":\n', "line 2 is not JSON"),
        ("a.jsonl", b'"a"\n', "line 1 is no object"),
        ("a.jsonl", b'{"text": 1}\n', "row 1 has no text in a column 'text'"),
        ("a.txt", b"", "holds no texts"),
        ("a.txt", b"\xff\xfe\n", "is not text in UTF-8"),
        ("a.txt", None, "no such file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.\w+.*{message}"):
        read_texts(tmp_path / name)


def test_rows_keep_their_columns(tmp_path: Path) -> None:
    columns = {"a": ["1", "2"], "b": ["x", "y"]}
    assert list(read_rows(write_csv(tmp_path / "a.csv", columns))) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]
