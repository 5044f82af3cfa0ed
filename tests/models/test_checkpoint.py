from __future__ import annotations

import pickle
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from etbac.errors import EtbacError, UnsafeFileError, UsageError
from etbac.models import checkpoint as checkpoints
from etbac.models.attach import attach_exits
from etbac.models.checkpoint import Checkpoint
from etbac.models.data.fashion_mnist import PREPROCESSING
from etbac.models.data.sets import DataSource
from etbac.models.data.splits import SETS, draw
from etbac.models.resnet import cifar_resnet
from etbac.preprocessing import TextPreprocessing

EXECUTED: list[str] = []


class Payload:
    """Unpickling one would call `executed`."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return executed, ("code of a file ran",)


def executed(what: str) -> None:
    EXECUTED.append(what)


@pytest.fixture
def small(data_folder: Path, pictures: dict[str, torch.Tensor]) -> Checkpoint:
    torch.manual_seed(0)
    trunk = cifar_resnet(8, 1, 10, width=4)
    return Checkpoint(
        network=attach_exits(trunk, at=[1, 2], example_inputs=pictures, head_options={"hidden": 8}).eval(),
        factory="resnet8",
        kwargs={"in_channels": 1, "width": 4},
        metric="accuracy",
        preprocessing=PREPROCESSING,
        data=DataSource("fashion-mnist", str(data_folder), draw(300, 40, 0)),
        record={"epochs": 3},
    )


@pytest.fixture
def content(small: Checkpoint, tmp_path: Path) -> dict[str, object]:
    checkpoints.save(small, tmp_path / "whole.pt")
    loaded: dict[str, object] = torch.load(tmp_path / "whole.pt", weights_only=True)
    return loaded


def test_what_is_saved_is_loaded(small: Checkpoint, tmp_path: Path, pictures: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pt"
    checkpoints.save(small, path)
    loaded = checkpoints.load(path)
    expected, found = small.network(**pictures), loaded.network(**pictures)
    assert list(found) == ["exit_1", "exit_2", "prediction"]
    for name, answer in found.items():
        torch.testing.assert_close(answer, expected[name], rtol=0, atol=0)
    assert replace(loaded, network=small.network, data=small.data, path=None) == small
    assert loaded.network.exits == small.network.exits
    assert loaded.network.inputs == small.network.inputs
    assert not loaded.network.training
    for name in SETS:
        data = checkpoints.load_set(loaded, name)
        assert small.data is not None
        assert len(data) == len(small.data.splits.of(name))
        assert data.inputs["image"].dtype == np.float32
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_a_failed_write_leaves_the_old_file(small: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    checkpoints.save(small, path)
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(EtbacError, match="No space left"):
        checkpoints.save(replace(small, metric="other"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(small: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    checkpoints.save(small, path)
    before = path.read_bytes()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, most))
    try:
        with pytest.raises(EtbacError, match=r"could not be written whole .*, with .* bytes free"):
            checkpoints.save(small, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there_or_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    text, empty, other = (tmp_path / name for name in ("text.pt", "empty.pt", "other.pt"))
    text.write_text("hello")
    empty.write_bytes(b"")
    torch.save({"weights": torch.zeros(2)}, other)
    for path, message in [
        (tmp_path / "absent.pt", "no such file"),
        (tmp_path, "is a folder"),
        (text, "is not a checkpoint"),
        (empty, "is not a checkpoint"),
        (other, "not a checkpoint that etbac train wrote"),
    ]:
        with pytest.raises(EtbacError, match=message):
            checkpoints.load(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused(small: Checkpoint, tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.pt"
    checkpoints.save(small, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(EtbacError, match="cut short"):
        checkpoints.load(path)


@pytest.mark.parametrize("form", ["plain pickle", "old torch form", "torch archive"])
def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path: Path, form: str) -> None:
    path = tmp_path / "evil.pt"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(Payload()))
    else:
        torch.save({"format": Payload()}, path, _use_new_zipfile_serialization=form == "torch archive")
    with pytest.raises(UnsafeFileError, match=r"evil\.pt"):
        checkpoints.load(path)
    assert EXECUTED == []


@pytest.mark.parametrize("field", ["factory", "kwargs", "exits", "inputs", "task", "state_dict", "full_sha256", "data"])
@pytest.mark.parametrize("damage", ["absent", "of another type"])
def test_a_damaged_field_is_refused(content: dict[str, object], tmp_path: Path, field: str, damage: str) -> None:
    if damage == "absent":
        del content[field]
    else:
        content[field] = [1.5]
    path = tmp_path / "damaged.pt"
    torch.save(content, path)
    with pytest.raises(EtbacError, match=r"damaged\.pt"):
        checkpoints.load(path)


def test_changed_weights_and_other_versions_are_refused(content: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "changed.pt"
    weights = content["state_dict"]
    assert isinstance(weights, dict)
    weights["trunk.fc.bias"][0] += 1
    torch.save(content, path)
    with pytest.raises(EtbacError, match="not those that were recorded"):
        checkpoints.load(path)
    torch.save({**content, "version": 99}, path)
    with pytest.raises(EtbacError, match="version 99"):
        checkpoints.load(path)


def test_a_users_factory_runs_only_when_the_user_typed_it(small: Checkpoint, tmp_path: Path) -> None:
    path, factory = tmp_path / "own.pt", "support.factories:small"
    checkpoints.save(replace(small, factory="os:abort", kwargs={"width": 4}), path)
    with pytest.raises(UsageError, match=r"os:abort.*--factory"):
        checkpoints.load(path)
    with pytest.raises(EtbacError, match=r"resnet14|damaged"):
        checkpoints.load(path, factory="resnet14")
    assert checkpoints.load(path, factory=factory).factory == factory


def test_a_checkpoint_without_data_says_so(small: Checkpoint) -> None:
    with pytest.raises(UsageError, match="records no data"):
        checkpoints.load_set(replace(small, data=None), "certify")


def test_options_of_the_data_and_how_they_were_split_are_recorded(small: Checkpoint, tmp_path: Path) -> None:
    path, options = tmp_path / "model.pt", {"task_name": "mnli"}
    splits = draw(300, 40, 0, units=np.arange(300) // 2)
    text = TextPreprocessing("{}", 8)
    checkpoints.save(replace(small, data=DataSource("glue", "/data", splits, options), preprocessing=text), path)
    loaded = checkpoints.load(path)
    assert loaded.data is not None
    assert (loaded.data.options, loaded.data.splits.by_unit) == (options, True)
    assert loaded.data.splits.digest() == splits.digest()
    assert loaded.preprocessing == text


def test_a_checkpoint_of_before_there_were_options_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    for key in ("options", "by_unit"):
        del content["data"][key]
    for key in ("resize", "crop"):
        del content["preprocessing"][key]
    path = tmp_path / "old.pt"
    torch.save(content, path)
    loaded = checkpoints.load(path)
    assert loaded.data is not None
    assert (loaded.data.options, loaded.data.splits.by_unit, loaded.preprocessing) == ({}, False, PREPROCESSING)
    assert len(checkpoints.load_set(loaded, "search")) == 40


@pytest.mark.parametrize("preprocessing", [{"kind": "smell"}, {"kind": "text"}, {"kind": "image", "mean": 1, "std": 1}])
def test_preprocessing_of_another_kind_is_refused(
    content: dict[str, Any], tmp_path: Path, preprocessing: dict[str, Any]
) -> None:
    path = tmp_path / "other.pt"
    torch.save({**content, "preprocessing": preprocessing}, path)
    with pytest.raises(EtbacError, match=r"'smell' is not known|damaged checkpoint"):
        checkpoints.load(path)
