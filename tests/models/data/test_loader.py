from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import fashion_mnist
from support.published import (
    cifar10,
    cityscapes,
    glue,
    image_folder,
    image_mask,
    mpii,
    speech_commands,
    texts,
    wav_folder,
)

from etbac.errors import InputError, UsageError
from etbac.models.data import loader as loaders
from etbac.preprocessing import AudioPreprocessing, ImagePreprocessing, Preprocessing, TextPreprocessing

PICTURES = ImagePreprocessing("x", 16, 24, 3, 1 / 255, (0.5,) * 3, (0.5,) * 3)
WRITERS: dict[str, Any] = {
    "cifar10": cifar10.write,
    "cityscapes": cityscapes.write,
    "fashion-mnist": fashion_mnist.write,
    "glue": lambda folder: glue.write_tsv(folder, "sst2"),
    "image-folder": image_folder.write,
    "image-mask": image_mask.write,
    "mpii": mpii.write,
    "pictures": image_folder.write,
    "speech-commands": lambda folder: speech_commands.write(folder, seconds=0.05),
    "text-file": texts.write,
    "wav-folder": wav_folder.write,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("published")
    return {name: write(root / name) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Preprocessing]:
    """What a model of each task might take."""
    vocabulary = texts.write_vocabulary(tmp_path_factory.mktemp("vocabulary"))
    text, sound = TextPreprocessing.from_files(vocabulary, 12), AudioPreprocessing("x", 16_000, 400)
    return {"classification": PICTURES, "segmentation": PICTURES, "pose": PICTURES, "text": text, "speech": sound}


def test_every_loader_is_tried() -> None:
    assert set(WRITERS) == set(loaders.names())


@pytest.mark.parametrize("name", WRITERS)
def test_a_batch_is_what_the_rows_are_one_by_one(
    name: str, published: dict[str, Path], forms: dict[str, Preprocessing]
) -> None:
    loader = loaders.get(name)
    loader.check(published[name])
    form = ImagePreprocessing("x", 28, 28, 1, 1.0, (0.0,), (1.0,)) if name == "fashion-mnist" else forms[loader.task]
    opened = loader.open(published[name], form)
    assert opened.preprocessing == form
    for part in (opened.parts["train"], opened.parts["test"]):
        rows = np.array([len(part) - 1, 0, 1])
        inputs, targets = part.read(rows)
        for place, row in enumerate(rows):
            alone, target = part.read(np.array([row]))
            np.testing.assert_array_equal(target[0], targets[place])
            for key, array in alone.items():
                np.testing.assert_array_equal(array[0], inputs[key][place])
                assert array.dtype in (np.float32, np.int64)
        nothing, none = part.read(np.array([], np.int64))
        assert {key: array.shape for key, array in nothing.items()} == {
            key: (0, *array.shape[1:]) for key, array in inputs.items()
        }
        assert none.shape == (0, *targets.shape[1:])
        assert part.units is None or part.units.shape == (len(part),)


@pytest.mark.parametrize("name", WRITERS)
def test_targets_are_of_the_tasks_kind(name: str, published: dict[str, Path], forms: dict[str, Preprocessing]) -> None:
    loader = loaders.get(name)
    opened = loader.open(published[name], None if name == "fashion-mnist" else forms[loader.task])
    _, targets = opened.parts["train"].read(np.arange(4))
    if loader.task == "pose":
        assert (targets.shape, targets.dtype, opened.class_names) == ((4, 16, 4), np.float32, ())
        return
    assert targets.dtype == np.int64
    assert targets.shape == ((4, 16, 24) if loader.task == "segmentation" else (4,))
    if not opened.labelled:
        assert (targets == loaders.NO_LABEL).all()
        return
    counted = targets[targets != 255] if loader.task == "segmentation" else targets
    assert (counted >= 0).all()
    assert (counted < len(opened.class_names)).all()


@pytest.mark.parametrize("name", WRITERS)
def test_parts_can_go_to_another_process(
    name: str, published: dict[str, Path], forms: dict[str, Preprocessing]
) -> None:
    loader = loaders.get(name)
    part = loader.open(published[name], None if name == "fashion-mnist" else forms[loader.task]).parts["train"]
    there = pickle.loads(pickle.dumps(part))  # noqa: S301
    inputs, _ = part.read(np.arange(2))
    for key, array in there.read(np.arange(2))[0].items():
        np.testing.assert_array_equal(array, inputs[key])


@pytest.mark.parametrize("name", WRITERS)
def test_a_wrong_folder_is_met_with_what_is_expected(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(InputError, match=r"Expected|the four files") as caught:
        loaders.get(name).check(tmp_path)
    assert str(tmp_path) in str(caught.value)
    if name != "fashion-mnist":
        assert "in it is holiday.mp4" in str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_preprocessing_of_another_kind_is_refused(name: str, published: dict[str, Path]) -> None:
    loader = loaders.get(name)
    other: Preprocessing = PICTURES if loader.task in ("text", "speech") else AudioPreprocessing("x", 1, 1)
    with pytest.raises(UsageError, match=f"the model takes {other.kind}"):
        loader.open(published[name], other)


def test_texts_without_a_tokenizer_ask_for_it(published: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="name the model's tokenizer"):
        loaders.get("glue").open(published["glue"])


def test_the_folder_is_looked_for_in_the_documented_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = fashion_mnist.write
    asked, environment, recorded = (write(tmp_path / name, 30, 10) for name in ("asked", "environment", "recorded"))
    beside = write(tmp_path / "moved" / "gone", 30, 10)
    reader = loaders.get("fashion-mnist")
    checkpoint = tmp_path / "moved" / "model.pt"
    monkeypatch.setenv("ETBAC_DATA", str(environment))
    assert loaders.find_folder(reader, asked, str(recorded), checkpoint) == asked
    assert loaders.find_folder(reader, None, str(recorded), checkpoint) == recorded
    assert loaders.find_folder(reader, None, str(tmp_path / "gone"), checkpoint) == environment
    monkeypatch.delenv("ETBAC_DATA")
    assert loaders.find_folder(reader, None, str(tmp_path / "gone"), checkpoint) == beside
    with pytest.raises(InputError, match="elsewhere"):
        loaders.find_folder(reader, None, "/elsewhere", checkpoint)
    with pytest.raises(InputError, match="nowhere"):
        loaders.find_folder(reader, tmp_path / "nowhere", str(recorded), checkpoint)
    with pytest.raises(InputError, match="ETBAC_DATA"):
        loaders.find_folder(reader, None)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("poetry", {}, r"'poetry'.*fashion-mnist"),
        ("glue", {"taks_name": "cola"}, r"no option 'taks_name'; its options are task_name"),
        ("cifar10", {"classes": 3}, "none at all"),
        ("glue", {"task_name": "ax"}, r"no task 'ax'.*cola, sst2"),
        ("image-mask", {"classes": 300}, "at most 255"),
        ("wav-folder", {"unit": "speaker"}, "file, stem, folder"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loaders.get(name, options)
