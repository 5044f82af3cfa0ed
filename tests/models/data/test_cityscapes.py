from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.published import cityscapes

from etbac.errors import InputError
from etbac.models.data.cityscapes import CLASSES, Cityscapes
from etbac.preprocessing import ImagePreprocessing

WHOLE = ImagePreprocessing("x", 64, 128, 3, 1.0, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return cityscapes.write(tmp_path, train=3, val=2)


def test_the_classes_are_the_19_that_are_scored() -> None:
    """Ids and train ids of cityscapesScripts' helpers/labels.py."""
    assert len(CLASSES) == 19
    assert [list(CLASSES).index(number) for number in (7, 11, 19, 23, 26, 33)] == [0, 2, 6, 10, 13, 18]


@pytest.mark.parametrize("train_ids", [False, True])
def test_masks_are_classes_in_the_pictures_geometry(tmp_path: Path, train_ids: bool) -> None:
    folder = cityscapes.write(tmp_path, train=3, val=2, train_ids=train_ids)
    opened = Cityscapes().open(folder, WHOLE)
    assert opened.class_names[13] == "car"
    assert (len(opened.parts["train"]), len(opened.parts["test"])) == (6, 2)
    inputs, masks = opened.parts["train"].read(np.arange(6))
    assert masks.shape == (6, 64, 128)
    sky, car = masks == 10, masks == 13
    pixels = inputs["x"].transpose(0, 2, 3, 1)
    assert (pixels[sky].mean(axis=0).argmax(), pixels[car].mean(axis=0).argmax()) == (2, 0)
    assert (masks[:, -4:] == 255).all()
    assert set(np.unique(masks)) == {0, 10, 13, 255}


def test_a_smaller_mask_holds_no_class_that_the_large_one_has_not(folder: Path) -> None:
    small = ImagePreprocessing("x", 24, 40, 3, 1.0, (0.0,) * 3, (1.0,) * 3)
    _, masks = Cityscapes().open(folder, small).parts["test"].read(np.arange(2))
    assert masks.shape == (2, 24, 40)
    assert set(np.unique(masks)) <= {0, 10, 13, 255}


def test_what_is_wrong_is_said(folder: Path) -> None:
    train = Cityscapes().open(folder, WHOLE).parts["train"]
    (mask,) = folder.glob("gtFine/train/aachen/*_000001_*")
    Image.new("L", (20, 10)).save(mask)
    with pytest.raises(InputError, match=r"labelIds\.png and its picture have different sizes: 20×10 and 128×64"):
        train.read(np.arange(3))
    mask.unlink()
    with pytest.raises(InputError, match=r"aachen_000001_000019_gtFine_labelIds\.png is not there"):
        Cityscapes().open(folder)
    shutil.rmtree(folder / "gtFine" / "val")
    with pytest.raises(InputError, match="folders of cities in gtFine/val/"):
        Cityscapes().check(folder)
