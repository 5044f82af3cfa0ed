from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.published import texts

from etbac.errors import InputError, UsageError
from etbac.models.data.parts import TextPart, Texts
from etbac.models.data.text_file import TextFile
from etbac.preprocessing import TextPreprocessing


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextPreprocessing:
    return TextPreprocessing.from_files(texts.write_vocabulary(tmp_path_factory.mktemp("vocabulary")), 24)


def loaded(part: Any) -> Texts:
    assert isinstance(part, TextPart)
    return part.load()


@pytest.mark.parametrize("write", [texts.write_csv, texts.write_jsonl])
def test_both_forms_hold_the_same(tmp_path: Path, write: Any, tokenizer: TextPreprocessing) -> None:
    sentences, labels = texts.sentences(40)
    sentences[3] = 'one, "two"\nthree'
    suffix = "csv" if write is texts.write_csv else "jsonl"
    names = [("no", "yes")[label] for label in labels]
    for part in ("train", "test"):
        write(tmp_path / f"{part}.{suffix}", {"label": names, "text": sentences})
    opened = TextFile().open(tmp_path, tokenizer)
    assert opened.class_names == ("no", "yes")
    for found in map(loaded, opened.parts.values()):
        assert found.texts == sentences
        assert found.targets.tolist() == labels
        assert found.units is None


def test_without_a_test_file_a_fifth_is_held_out_unit_by_unit(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    sentences, labels = texts.sentences(40)
    authors = [f"author {place // 4}" for place in range(40)]
    texts.write_csv(tmp_path / "train.csv", {"text": sentences, "label": labels, "author": authors})
    opened = TextFile(unit="author").open(tmp_path, tokenizer)
    train, test = (loaded(opened.parts[part]) for part in ("train", "test"))
    assert (len(train.texts), len(test.texts)) == (32, 8)
    by_text = dict(zip(sentences, authors, strict=True))
    assert {by_text[str(text)] for text in train.texts}.isdisjoint({by_text[str(text)] for text in test.texts})
    assert test.units is not None
    assert sorted(np.bincount(test.units)) == [4, 4]


def test_pairs_values_and_other_names_of_columns(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    first, second, scores = ["a day", "the film"], ["a song", "the day"], [0.5, 3]
    for part in ("train", "dev"):
        texts.write_jsonl(tmp_path / f"{part}.jsonl", {"s1": first, "s2": second, "score": scores})
    loader = TextFile(text="s1", text2="s2", label="score", regression=True)
    opened = loader.open(tmp_path, tokenizer)
    assert opened.class_names == ()
    found = loaded(opened.parts["test"])
    assert found.texts == list(zip(first, second, strict=True))
    assert (found.targets.tolist(), found.targets.dtype) == (scores, np.float32)


def test_a_column_text2_makes_pairs_by_itself(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    texts.write_csv(tmp_path / "train.csv", {"text": ["a"] * 9, "text2": ["b"] * 9, "label": [0, 1, 0] * 3})
    assert set(loaded(TextFile().open(tmp_path, tokenizer).parts["train"]).texts) == {("a", "b")}


def test_numbers_are_ordered_as_numbers(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    labels = [10, 9, 2, -1] * 3
    texts.write_csv(tmp_path / "train.csv", {"text": ["a"] * 12, "label": labels})
    assert TextFile().open(tmp_path, tokenizer).class_names == ("-1", "2", "9", "10")


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        ({"text": ["a"] * 4, "class": [0, 1] * 2}, {}, InputError, "no column 'label' in every row"),
        ({"body": ["a"] * 4, "label": [0, 1] * 2}, {}, InputError, "no text in a column 'text'; its columns are body"),
        ({"text": ["a"] * 4, "label": [0, 1] * 2}, {"unit": "author"}, InputError, "no column 'author'"),
        ({"text": ["a"] * 4, "label": "abab"}, {"regression": True}, InputError, "a label is no number"),
        ({"text": ["a"] * 4, "label": [1] * 4}, {}, UsageError, "1 different labels in 4 rows"),
        ({"text": ["a"] * 4, "label": [1.1, 1.2, 1.3, 1.4]}, {}, UsageError, "give the option regression"),
    ],
)
def test_what_does_not_fit_is_said(
    tmp_path: Path,
    columns: dict[str, Any],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    tokenizer: TextPreprocessing,
) -> None:
    texts.write_csv(tmp_path / "train.csv", columns)
    with pytest.raises(error, match=message):
        len(TextFile(**options).open(tmp_path, tokenizer).parts["train"])


def test_a_label_that_training_has_not_is_refused(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    texts.write_csv(tmp_path / "train.csv", {"text": ["a"] * 4, "label": ["x", "y"] * 2})
    texts.write_csv(tmp_path / "val.csv", {"text": ["a"], "label": ["z"]})
    parts = TextFile().open(tmp_path, tokenizer).parts
    with pytest.raises(InputError, match=r"val\.csv holds the label 'z', unknown in training: x, y"):
        len(parts["test"])
