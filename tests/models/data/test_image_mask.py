from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.published import image_mask

from etbac.errors import InputError, UsageError
from etbac.models.data.image_mask import ImageMask
from etbac.preprocessing import ImagePreprocessing

WHOLE = ImagePreprocessing("x", 48, 48, 3, 1.0, (0.0,) * 3, (1.0,) * 3)


def test_pictures_and_masks_belong_together(tmp_path: Path) -> None:
    opened = ImageMask().open(image_mask.write(tmp_path, count=10), WHOLE)
    assert opened.class_names == ("ground", "disc")
    assert (len(opened.parts["train"]), len(opened.parts["test"])) == (8, 2)
    for part in opened.parts.values():
        inputs, masks = part.read(np.arange(len(part)))
        bright = inputs["x"].mean(axis=1)
        assert bright[masks == 1].min() > bright[masks == 0].mean()
        assert (masks == 255).any()


def test_published_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("val", 3)):
        image_mask.write(tmp_path / part, count, names=False)
    parts = ImageMask(classes=2).open(tmp_path, WHOLE).parts
    assert (len(parts["train"]), len(parts["test"])) == (5, 3)


def test_pictures_of_a_sub_folder_are_one_unit_and_on_one_side_where_that_is_asked(tmp_path: Path) -> None:
    for patient in range(6):
        image_mask.write(tmp_path / "drawn", count=4, seed=patient)
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / "drawn" / kind).rename(tmp_path / kind / f"patient-{patient}")
    opened = ImageMask(classes=2, unit="folder").open(tmp_path, WHOLE)
    assert [len(opened.parts[name]) for name in ("train", "test")] == [20, 4]
    for part in opened.parts.values():
        assert part.units is not None
        assert set(np.bincount(part.units)) == {4}
    alone = ImageMask(classes=2).open(tmp_path, WHOLE).parts["train"]
    assert alone.units is not None
    assert len(set(alone.units)) == len(alone)


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(UsageError, match="unit of image-mask is file or folder; found 'patient'"):
        ImageMask(unit="patient")


def test_a_palette_is_read_by_its_places_and_a_bilevel_mask_as_0_and_1(tmp_path: Path) -> None:
    image_mask.write(tmp_path, count=5)
    for file in (tmp_path / "masks").iterdir():
        values = np.zeros((48, 48), np.uint8)
        values[10:20] = 1
        mask = Image.fromarray(values)
        if file.stem.endswith(("1", "3")):
            mask = mask.convert("P")
            mask.putdata(values.flatten().tolist())
            mask.putpalette([200, 0, 0, 0, 200, 0])
        else:
            mask = mask.point(lambda value: 255 * value).convert("1")
        mask.save(file)
    part = ImageMask().open(tmp_path, WHOLE).parts["train"]
    _, masks = part.read(np.arange(len(part)))
    assert (masks[:, 10:20] == 1).all()
    assert masks.sum() == len(part) * 10 * 48


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "masks" / "scan-003.png").unlink(), r"scan-003\.jpg has no mask"),
        (lambda folder: (folder / "classes.txt").unlink(), "the option classes was not given"),
        (lambda folder: shutil.rmtree(folder / "masks"), "lacks masks/"),
        (lambda folder: [each.unlink() for each in folder.glob("images/*")], "holds no pictures"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(tmp_path: Path, damage: object, message: str) -> None:
    image_mask.write(tmp_path, count=5)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        ImageMask().open(tmp_path)


def test_masks_that_are_none_or_have_other_classes_are_named_when_they_are_read(tmp_path: Path) -> None:
    image_mask.write(tmp_path, count=5)
    train = ImageMask().open(tmp_path, WHOLE).parts["train"]
    for file in (tmp_path / "masks").iterdir():
        Image.new("L", (48, 48), 7).save(file)
    with pytest.raises(InputError, match="holds the class 7; there are 2"):
        train.read(np.array([0]))
    for file in (tmp_path / "masks").iterdir():
        Image.new("RGB", (48, 48)).save(file)
    with pytest.raises(InputError, match="is no mask: one class a pixel"):
        train.read(np.array([0]))


def test_the_number_of_classes_and_their_names_agree(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names 2 classes, and the option classes is 3"):
        ImageMask(classes=3).open(image_mask.write(tmp_path))
