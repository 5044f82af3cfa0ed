from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import support
from hypothesis import given
from hypothesis import strategies as st
from support.published.texts import write_vocabulary

from etbac.errors import InputError
from etbac.preprocessing import TextPreprocessing, from_json

HIDING = Path(support.__path__[0]) / "hidden_packages"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def form(folder: Path) -> TextPreprocessing:
    return TextPreprocessing.from_files(folder, 10)


def words(folder: Path, ids: np.ndarray) -> list[str]:
    vocabulary = (folder / "vocab.txt").read_text().splitlines()
    return [vocabulary[place] for place in ids]


def test_texts_and_pairs_are_tokenised_filled_and_cut(folder: Path, form: TextPreprocessing) -> None:
    found = form.apply(["The Good film", ("a day", "it was cold"), "very " * 20])
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (np.dtype(np.int64), (3, 10))
    )
    assert words(folder, found["input_ids"][0]) == ["[CLS]", "the", "good", "film", "[SEP]", *["[PAD]"] * 5]
    assert words(folder, found["input_ids"][1])[:8] == ["[CLS]", "a", "day", "[SEP]", "it", "was", "cold", "[SEP]"]
    assert words(folder, found["input_ids"][2]) == ["[CLS]", *["very"] * 8, "[SEP]"]
    assert found["attention_mask"].sum(axis=1).tolist() == [5, 8, 10]
    assert found["token_type_ids"][1].tolist() == [0] * 4 + [1] * 4 + [0] * 2


def test_it_is_what_transformers_gives(folder: Path, form: TextPreprocessing) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer.from_pretrained(str(folder), local_files_only=True)
    pairs = [("a good day", "it was, quite long!"), ("never", "the film and the song and the day")]
    expected = theirs(*map(list, zip(*pairs, strict=True)), padding="max_length", truncation=True, max_length=10)
    for name, array in form.apply(pairs).items():
        assert array.tolist() == expected[name]


@given(st.lists(st.text(max_size=40) | st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=5))
def test_any_text_is_read_alone_as_in_a_batch(form: TextPreprocessing, raws: list[str | tuple[str, str]]) -> None:
    together = form.apply(raws)
    for row, raw in enumerate(raws):
        for name, array in form.apply([raw]).items():
            np.testing.assert_array_equal(array[0], together[name][row])
    mask = together["attention_mask"]
    assert (np.diff(mask, axis=1) <= 0).all()
    assert (together["input_ids"][mask == 0] == 0).all()


def test_the_content_travels_and_no_file_is_needed(folder: Path, tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "gone")
    made = TextPreprocessing.from_files(tmp_path / "gone", 10, ("input_ids",))
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    read = from_json(json.loads(json.dumps(made.to_json())))
    assert list(read.apply(["a film"])) == ["input_ids"]
    assert str(tmp_path) not in json.dumps(made.to_json())


def test_every_form_of_a_tokenizer_gives_the_same(folder: Path, form: TextPreprocessing, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(form.tokenizer)
    raws = ["A good, bright day!", ("the film", "it was long")]
    for path in (tmp_path, tmp_path / "tokenizer.json", folder / "vocab.txt"):
        for name, array in TextPreprocessing.from_files(path, 10).apply(raws).items():
            np.testing.assert_array_equal(array, form.apply(raws)[name])


def test_case_is_kept_where_the_files_say_so(tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    found = TextPreprocessing.from_files(folder, 4).apply(["The"])["input_ids"]
    assert words(folder, found[0]) == ["[CLS]", "[UNK]", "[SEP]", "[PAD]"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no tokenizer that can be used"),
        ({"tokenizer.json": "{}"}, "not a whole tokenizer.json"),
        ({"tokenizer.json": "{"}, "not a whole tokenizer.json"),
        ({"vocab.txt": "a\nb\n"}, r"lacks \[UNK\], \[SEP\], \[CLS\]"),
        ({"vocab.txt": "[UNK]\n[SEP]\n[CLS]\n"}, "no token to fill texts with"),
        ({"vocab.txt": "a", "tokenizer_config.json": "{"}, "tokenizer_config.json is not JSON"),
    ],
)
def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        TextPreprocessing.from_files(tmp_path)


def test_what_is_wrong_is_said(form: TextPreprocessing, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model takes position_ids too"):
        TextPreprocessing(form.tokenizer, 8, ("input_ids", "position_ids"))
    with pytest.raises(InputError, match=r"no token '<pad>'"):
        TextPreprocessing(form.tokenizer, 8, pad="<pad>").apply(["a"])
    with pytest.raises(InputError, match="no such file or folder"):
        TextPreprocessing.from_files(tmp_path / "nowhere")


@pytest.mark.parametrize("hidden", ["torch=torch transformers=transformers", "tokenizers=tokenizers"])
def test_only_the_package_tokenizers_is_needed(form: TextPreprocessing, tmp_path: Path, hidden: str) -> None:
    (tmp_path / "form.json").write_text(json.dumps(form.to_json()))
    program = (
        "import json, sys; from etbac.preprocessing import from_json\n"
        "print(from_json(json.load(open(sys.argv[1]))).apply(['a film'])['attention_mask'].sum())"
    )
    paths = [str(HIDING), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HIDDEN_PACKAGES": hidden}
    command = [sys.executable, "-c", program, str(tmp_path / "form.json")]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if "tokenizers" in hidden:
        assert (
            "MissingPackageError: texts need the package tokenizers. Install it: pip install tokenizers" in found.stderr
        )
    else:
        assert found.stdout.strip() == "4", found.stderr
