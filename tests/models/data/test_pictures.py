"""Pictures without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from etbac.errors import InputError, UsageError
from etbac.models.data.loader import NO_LABEL
from etbac.models.data.pictures import Pictures
from etbac.preprocessing import ImagePreprocessing

SMALL = ImagePreprocessing("x", 4, 4, 3, 1.0, (0.0,) * 3, (1.0,) * 3)


def write(folder: Path, *names: str) -> Path:
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (place, 0, 0)).save(folder / name)
    return folder


def reds(part: object) -> list[float]:
    inputs, labels = part.read(np.arange(len(part)))  # type: ignore[attr-defined,arg-type]
    assert set(labels.tolist()) == {NO_LABEL}
    return sorted(inputs["x"][:, 0, 0, 0].tolist())


def test_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    opened = Pictures().open(write(tmp_path, "train/a.png", "train/deep/b.png", "test/c.png"), SMALL)
    assert not opened.labelled
    assert opened.class_names == ()
    assert reds(opened.parts["train"]) == [0, 1]
    assert reds(opened.parts["test"]) == [2]


def test_a_fifth_of_the_units_is_the_test_part(tmp_path: Path) -> None:
    names = [f"{film}/{frame}.png" for film in range(10) for frame in range(3)]
    opened = Pictures("folder").open(write(tmp_path, *names), SMALL)
    assert [len(opened.parts[name]) for name in ("train", "test")] == [24, 6]
    of_films = [np.unique(np.array(reds(part)) // 3, return_counts=True)[1] for part in opened.parts.values()]
    assert all((counts == 3).all() for counts in of_films)
    units = opened.parts["train"].units
    assert units is not None
    assert np.bincount(units).tolist() == [3] * 8


def test_each_file_is_a_unit_by_default(tmp_path: Path) -> None:
    opened = Pictures().open(write(tmp_path, "a/0.png", "a/1.png", "2.JPG", "notes/3.png", ".hidden.png"), SMALL)
    assert len(opened.parts["train"]) + len(opened.parts["test"]) == 4


@pytest.mark.parametrize("names", [(), ("train/a.png",), ("train/a.png", "test/no_picture.txt.d/x")])
def test_a_folder_without_pictures_in_a_part_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if names == ("train/a.png",):
        (tmp_path / "test").mkdir()
    with pytest.raises(InputError, match="is not a folder of pictures: it lacks pictures"):
        Pictures().check(tmp_path)


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(UsageError, match="file or folder; found 'film'"):
        Pictures("film")
