from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.published import glue, texts

from etbac.errors import InputError
from etbac.models.data.glue import FORMS, Glue
from etbac.models.data.parts import TextPart
from etbac.preprocessing import TextPreprocessing


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextPreprocessing:
    return TextPreprocessing.from_files(texts.write_vocabulary(tmp_path_factory.mktemp("vocabulary")), 24)


def write(folder: Path, task: str, form: str) -> Path:
    if form == "tsv":
        return glue.write_tsv(folder, task)
    pytest.importorskip("pyarrow")
    return glue.write_parquet(folder, task)


@pytest.mark.parametrize("form", ["tsv", "parquet"])
@pytest.mark.parametrize("task", FORMS)
def test_texts_and_labels_are_those_of_the_files(
    tmp_path: Path, task: str, form: str, tokenizer: TextPreprocessing
) -> None:
    """Columns, headers and quoting of each task's own archive, and of nyu-mll/glue's parquet files."""
    opened = Glue(task).open(write(tmp_path, task, form), tokenizer)
    for part, count, seed in (("train", 60, 0), ("test", 20, 1)):
        expected, labels = glue.samples(task, count, seed)
        found = opened.parts[part]
        assert isinstance(found, TextPart)
        loaded = found.load()
        assert [(text,) if isinstance(text, str) else text for text in loaded.texts] == expected
        np.testing.assert_allclose(loaded.targets, labels, rtol=1e-6)
        assert loaded.targets.dtype == (np.float32 if task == "stsb" else np.int64)
        inputs, _ = found.read(np.arange(5))
        assert inputs["input_ids"].shape == (5, 24)
    assert len(opened.class_names) == {"stsb": 0, "mnli": 3}.get(task, 2)
    assert opened.metric == {"cola": "mcc", "stsb": "pearson", "mrpc": "f1", "qqp": "f1"}.get(task, "accuracy")


@pytest.mark.parametrize("task", ["mnli", "rte", "sst2"])
def test_pairs_with_the_same_first_sentence_are_one_unit(
    tmp_path: Path, task: str, tokenizer: TextPreprocessing
) -> None:
    part = Glue(task).open(write(tmp_path, task, "tsv"), tokenizer).parts["train"]
    if task == "sst2":
        assert part.units is None
        return
    expected, _ = glue.samples(task, 60, 0)
    assert part.units is not None
    for one in range(60):
        for other in range(60):
            assert (part.units[one] == part.units[other]) == (expected[one][0] == expected[other][0])


def test_the_tasks_own_folder_is_taken_too(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    folder = write(tmp_path, "mnli", "tsv") / "MNLI"
    assert len(Glue("mnli").open(folder, tokenizer).parts["test"]) == 20


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    folder = write(tmp_path, "rte", "tsv")
    (folder / "RTE" / "dev.tsv").write_bytes(b"\xff\xfe")
    parts = Glue("rte").open(folder, tokenizer).parts
    assert len(parts["train"]) == 60
    with pytest.raises(InputError, match=r"dev\.tsv is not text in UTF-8"):
        len(parts["test"])


def test_another_tasks_folder_is_refused_with_the_files_that_are_expected(tmp_path: Path) -> None:
    write(tmp_path, "mnli", "tsv")
    with pytest.raises(InputError) as caught:
        Glue("qnli").check(tmp_path)
    message = str(caught.value)
    assert "in it is MNLI/" in message
    assert "QNLI/train.tsv, QNLI/dev.tsv" in message
    assert "qnli/train-00000-of-00001.parquet" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence\tscore\nfine\t1\n", "no column 'label'; its header is sentence, score"),
        ("", "no column 'sentence'; its header is empty"),
        ("sentence\tlabel\nfine\tperhaps\n", "a label is none of negative, positive"),
        ("sentence\tlabel\nfine\t-1\n", "the test files have none"),
        ("sentence\tlabel\nfine\nwarm\n", "0 of 2 rows have all their fields"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, message: str, tokenizer: TextPreprocessing) -> None:
    folder = write(tmp_path, "sst2", "tsv")
    (folder / "SST-2" / "train.tsv").write_text(content)
    with pytest.raises(InputError, match=rf"train\.tsv.*{message}"):
        len(Glue("sst2").open(folder, tokenizer).parts["train"])


def test_a_damaged_parquet_file_is_named(tmp_path: Path, tokenizer: TextPreprocessing) -> None:
    folder = write(tmp_path, "cola", "parquet")
    (file,) = folder.glob("cola/train-*")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match=r"train-.*is not a whole parquet file with sentence and label"):
        len(Glue("cola").open(folder, tokenizer).parts["train"])
    glue.write_parquet(tmp_path, "rte")
    file.write_bytes((folder / "rte" / file.name).read_bytes())
    with pytest.raises(InputError, match=r"sentence and label \(No match for FieldRef\.Name\(sentence\)"):
        len(Glue("cola").open(folder, tokenizer).parts["train"])
