from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fashion_mnist import write, write_idx

from etbac.errors import InputError, UsageError
from etbac.models.data import loader as loaders
from etbac.models.data.fashion_mnist import FILES, FashionMnist
from etbac.models.data.sets import DataSource
from etbac.models.data.splits import SETS, Sizes, draw
from etbac.preprocessing import ImagePreprocessing

ALL_FILES = [name for names in FILES.values() for name in names]


@given(st.integers(30, 500), st.integers(0, 50), st.integers(0, 2**32))
def test_the_five_sets_are_disjoint_and_complete(train_size: int, test_size: int, seed: int) -> None:
    splits = draw(train_size, test_size, seed)
    chosen = np.concatenate([splits.of(name) for name in SETS if name != "test"])
    assert sorted(chosen) == list(range(train_size))
    assert list(splits.of("test")) == list(range(test_size))
    again = draw(train_size, test_size, seed)
    assert all(np.array_equal(splits.of(name), again.of(name)) for name in SETS)
    assert splits.digest() == again.digest()


def test_another_seed_draws_other_sets() -> None:
    assert draw(300, 10, 0).digest() != draw(300, 10, 1).digest()


def test_sixty_thousand_samples_are_split_as_documented() -> None:
    splits = draw(60_000, 10_000, 0)
    assert [len(splits.of(name)) for name in SETS] == [40_000, 2_000, 8_000, 10_000, 10_000]


def test_sets_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(InputError, match="10 training samples"):
        draw(10, 0, 0, Sizes(2, 4, 4))


def test_a_set_holds_the_samples_of_its_indices(data_folder: Path) -> None:
    reader = FashionMnist()
    source = DataSource(reader.name, str(data_folder), draw(300, 40, 3))
    for name in SETS:
        found = source.load(name, reader.preprocessing)
        part = reader.read(data_folder, "test" if name == "test" else "train")
        rows = source.splits.of(name)
        pixels = (part.images[rows, :, :, 0] / 255 - 0.2860) / 0.3530
        np.testing.assert_allclose(found.inputs["image"][:, 0], pixels, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found.labels, part.labels[rows])
        assert (found.inputs["image"].dtype, found.labels.dtype) == (np.float32, np.int64)


def test_a_set_of_other_data_is_refused(data_folder: Path) -> None:
    source = DataSource("fashion-mnist", str(data_folder), draw(60_000, 10_000, 0))
    with pytest.raises(InputError, match="has 300 samples here"):
        source.load("certify", FashionMnist.preprocessing)
    with pytest.raises(UsageError, match=r"no set 'poetry'.*certify"):
        source.load("poetry", FashionMnist.preprocessing)


@pytest.mark.parametrize("present", [[], ALL_FILES[:3], ALL_FILES[1:]])
def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path, data_folder: Path, present: list[str]) -> None:
    for name in present:
        os.link(data_folder / name, tmp_path / name)
    with pytest.raises(InputError) as caught:
        FashionMnist().read(tmp_path, "train")
    message = str(caught.value)
    assert all(name in message for name in ALL_FILES)
    assert "dataset-fashion-mnist" in message
    if present:
        assert f"all but {next(name for name in ALL_FILES if name not in present)}" in message


@pytest.mark.parametrize("damage", [b"", b"not gzip at all", "cut", "wrong shape", "wrong size", "label"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes | str) -> None:
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
    with pytest.raises(InputError, match="train-images"):
        FashionMnist().read(tmp_path, "train")


def test_the_folder_is_looked_for_in_the_documented_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, environment, recorded = (write(tmp_path / name, 30, 10) for name in ("asked", "environment", "recorded"))
    beside = write(tmp_path / "moved" / "gone", 30, 10)
    reader = loaders.get("fashion-mnist")
    checkpoint = tmp_path / "moved" / "model.pt"
    monkeypatch.setenv("ETBAC_DATA", str(environment))
    assert loaders.find_folder(reader, asked, str(recorded), checkpoint) == asked
    assert loaders.find_folder(reader, None, str(recorded), checkpoint) == environment
    monkeypatch.delenv("ETBAC_DATA")
    assert loaders.find_folder(reader, None, str(recorded), checkpoint) == recorded
    assert loaders.find_folder(reader, None, str(tmp_path / "gone"), checkpoint) == beside
    with pytest.raises(InputError, match="elsewhere"):
        loaders.find_folder(reader, None, "/elsewhere", checkpoint)
    with pytest.raises(InputError, match="nowhere"):
        loaders.find_folder(reader, tmp_path / "nowhere", str(recorded), checkpoint)
    with pytest.raises(InputError, match="ETBAC_DATA"):
        loaders.find_folder(reader, None)


def test_an_unknown_loader_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'poetry'.*fashion-mnist"):
        loaders.get("poetry")


def test_preprocessing_survives_json_and_refuses_other_shapes() -> None:
    form = ImagePreprocessing("x", 2, 3, 2, 0.5, (1.0, 2.0), (2.0, 4.0))
    assert ImagePreprocessing.from_json(form.to_json()) == form
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 3, 2)
    expected = (pixels * 0.5 - np.array([1, 2])) / np.array([2, 4])
    np.testing.assert_allclose(form.apply(pixels)["x"], expected.transpose(0, 3, 1, 2), rtol=1e-6)
    with pytest.raises(InputError, match=r"\(3, 2, 2\).*\(2, 3, 2\)"):
        form.apply(pixels.reshape(1, 3, 2, 2))
