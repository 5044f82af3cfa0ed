from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.published import speech_commands

from etbac.errors import InputError, UsageError
from etbac.models.data import loader as loaders
from etbac.models.data.fashion_mnist import PREPROCESSING, FashionMnist
from etbac.models.data.sets import DataSource
from etbac.models.data.splits import SETS, Sizes, draw
from etbac.preprocessing import AudioPreprocessing

SOUNDS = AudioPreprocessing("wave", 16_000, 1_000)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech_commands.write(tmp_path_factory.mktemp("speech"), speakers=20, takes=2, seconds=0.05)


def test_a_set_holds_the_samples_of_its_indices(data_folder: Path) -> None:
    source = DataSource("fashion-mnist", str(data_folder), draw(300, 40, 3))
    parts = FashionMnist().open(data_folder).parts
    for name in SETS:
        found, rows = source.load(name, PREPROCESSING), source.splits.of(name)
        inputs, labels = parts["test" if name == "test" else "train"].read(rows)
        np.testing.assert_array_equal(found.inputs["image"], inputs["image"])
        np.testing.assert_array_equal(found.labels, labels)
        assert (found.inputs["image"].dtype, found.labels.dtype) == (np.float32, np.int64)
        assert found.units is None


def test_a_set_of_other_data_is_refused(data_folder: Path) -> None:
    source = DataSource("fashion-mnist", str(data_folder), draw(60_000, 10_000, 0))
    with pytest.raises(InputError, match="has 300 samples here"):
        source.load("certify", PREPROCESSING)
    with pytest.raises(UsageError, match=r"no set 'poetry'.*certify"):
        source.load("poetry", PREPROCESSING)


def test_speakers_stay_in_one_set_and_those_to_validate_with_are_held_out(speech: Path) -> None:
    opened = loaders.get("speech-commands").open(speech, SOUNDS)
    source = DataSource.draw("speech-commands", {}, speech, opened, 0, Sizes(fit=6, search=12, certify=12))
    assert source.to_json()["by_unit"]
    sets = {name: source.load(name, SOUNDS) for name in SETS}
    speakers = {name: set(found.units.tolist()) for name, found in sets.items() if found.units is not None}
    train = [speakers[name] for name in SETS[:-1]]
    assert len(set.union(*train)) == sum(map(len, train))
    assert opened.validation is not None
    assert not opened.validation[source.splits.of("train")].any()


def test_a_sets_rows_are_read_when_they_are_asked_for(speech: Path) -> None:
    opened = loaders.get("speech-commands").open(speech, SOUNDS)
    source = DataSource.draw("speech-commands", {}, speech, opened, 0)
    subset, rows = source.subset("search", opened), np.array([3, 0])
    inputs, labels = subset.read(rows)
    whole = source.load("search", SOUNDS)
    np.testing.assert_array_equal(inputs["wave"], whole.inputs["wave"][rows])
    np.testing.assert_array_equal(labels, whole.labels[rows])
    assert len(subset) == len(whole)
