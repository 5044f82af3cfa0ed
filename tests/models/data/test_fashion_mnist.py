from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from support.fashion_mnist import write, write_idx

from etbac.errors import InputError
from etbac.models.data.fashion_mnist import FILES, FashionMnist
from etbac.preprocessing import ImagePreprocessing

ALL_FILES = [name for names in FILES.values() for name in names]


def test_pixels_are_those_of_the_files(data_folder: Path) -> None:
    parts = FashionMnist().open(data_folder, ImagePreprocessing("x", 28, 28, 1, 1.0, (0.0,), (1.0,))).parts
    assert (len(parts["train"]), len(parts["test"])) == (300, 40)
    inputs, labels = parts["train"].read(np.arange(300))
    # The fixture draws a bright bar whose row is the class.
    assert (inputs["x"][np.arange(300), 0, 3 + 2 * labels] == 250).all()


def test_how_pictures_are_prepared_is_what_checkpoints_have_recorded(data_folder: Path) -> None:
    recorded = {
        "kind": "image",
        "input": "image",
        "height": 28,
        "width": 28,
        "channels": 1,
        "scale": 1 / 255,
        "mean": [0.2860],
        "std": [0.3530],
    }
    form = FashionMnist().open(data_folder).preprocessing
    assert ImagePreprocessing.from_json(recorded) == form
    assert recorded.items() <= form.to_json().items()


@pytest.mark.parametrize("present", [[], ALL_FILES[:3], ALL_FILES[1:]])
def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path, data_folder: Path, present: list[str]) -> None:
    for name in present:
        os.link(data_folder / name, tmp_path / name)
    with pytest.raises(InputError) as caught:
        FashionMnist().open(tmp_path)
    message = str(caught.value)
    assert all(name in message for name in ALL_FILES)
    assert "dataset-fashion-mnist" in message
    if present:
        assert f"all but {next(name for name in ALL_FILES if name not in present)}" in message


@pytest.mark.parametrize("damage", [b"", b"not gzip at all", "cut", "wrong shape", "wrong size", "label"])
def test_a_damaged_file_is_named_when_it_is_read(tmp_path: Path, damage: bytes | str) -> None:
    write(tmp_path, train=30, test=10)
    images, labels = (tmp_path / name for name in FILES["train"])
    if isinstance(damage, bytes):
        images.write_bytes(damage)
    elif damage == "cut":
        images.write_bytes(images.read_bytes()[:-100])
    elif damage == "wrong shape":
        write_idx(images, np.zeros((30, 5), np.uint8))
    elif damage == "wrong size":
        write_idx(images, np.zeros((29, 28, 28), np.uint8))
    else:
        write_idx(labels, np.full(30, 11, np.uint8))
    parts = FashionMnist().open(tmp_path).parts
    with pytest.raises(InputError, match="train-images"):
        parts["train"].read(np.arange(3))
    assert len(parts["test"]) == 10
