from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.published import image_folder

from etbac.errors import InputError
from etbac.models.data.image_folder import PREPROCESSING, ImageFolder
from etbac.preprocessing import ImagePreprocessing

SMALL = ImagePreprocessing("x", 16, 16, 3, 1.0, (0.0,) * 3, (1.0,) * 3, "crop", 0.875)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder.write(tmp_path, train=6, val=3)


def test_classes_are_the_folders_in_the_order_of_their_names(folder: Path) -> None:
    """Layout: the development kit of ILSVRC2012, unpacked a folder a class, as the fixture says."""
    opened = ImageFolder().open(folder, SMALL)
    assert opened.class_names == image_folder.CLASSES
    assert opened.parts["train"].units is None
    for part, each in (("train", 6), ("test", 3)):
        inputs, labels = opened.parts[part].read(np.arange(3 * each))
        assert labels.tolist() == [place for place in range(3) for _ in range(each)]
        assert inputs["x"].shape == (3 * each, 3, 16, 16)
        means = inputs["x"].mean(axis=(2, 3))
        grey = means.max(axis=1) == means.min(axis=1)
        # One picture of a class is grey, the others have the class's colour.
        assert np.bincount(labels[grey]).tolist() == [1, 1, 1]
        np.testing.assert_array_equal(means[~grey].argmax(axis=1), labels[~grey])


def test_pictures_are_prepared_as_imagenets_are_by_default(folder: Path) -> None:
    opened = ImageFolder().open(folder)
    assert opened.preprocessing == PREPROCESSING
    assert opened.parts["test"].read(np.array([0]))[0]["image"].shape == (1, 3, 224, 224)


def test_nothing_is_opened_before_it_is_read(folder: Path) -> None:
    for file in folder.rglob("*.JPEG"):
        file.write_bytes(b"no picture")
    train = ImageFolder().open(folder, SMALL).parts["train"]
    assert len(train) == 18
    with pytest.raises(InputError, match=r"n01440764_\d+\.JPEG is no picture"):
        train.read(np.array([2]))


def test_other_files_and_hidden_folders_are_left_out(folder: Path) -> None:
    (folder / "train" / "n01440764" / "notes.txt").touch()
    (folder / "train" / "n01440764" / ".thumbnail.jpg").touch()
    (folder / "train" / ".cache").mkdir()
    Image.new("L", (5, 5)).save(folder / "train" / "n02123045" / "extra.PNG")
    opened = ImageFolder().open(folder, SMALL)
    assert len(opened.parts["train"]) == 19
    assert opened.class_names == image_folder.CLASSES


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "val"), "folders of classes in val/"),
        (lambda folder: (folder / "val" / "n09").mkdir(), "the class 'n09' of val/ in train/"),
        (lambda folder: shutil.rmtree(folder / "val" / "n01443537"), "val has no folder 'n01443537'"),
        (lambda folder: [each.unlink() for each in folder.glob("val/*/*")], "lacks pictures"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(folder: Path, damage: object, message: str) -> None:
    damage(folder)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        ImageFolder().open(folder)
