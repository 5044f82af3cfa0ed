from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from etbac.errors import EtbacError, InputError, UsageError
from etbac.models import checkpoint as checkpoints
from etbac.models.augment import flip_and_crop, resize
from etbac.models.checkpoint import Checkpoint
from etbac.models.exit_training import ExitOptions
from etbac.models.resnet import cifar_resnet
from etbac.models.training import train
from etbac.models.trunk_training import TrunkOptions

TRUNK = TrunkOptions(epochs=2, batch_size=25, scales=(0.5, 1.0))
HEADS = ExitOptions(epochs=3, batch_size=50)
SMALL: dict[str, Any] = {
    "model": "resnet8",
    "model_options": {"width": 4},
    "exits": [1, 2],
    "trunk": TRUNK,
    "heads": HEADS,
    "head_options": {"hidden": 8},
}


class Killed(BaseException):
    """As a kill: nothing of the program's own runs after it."""


class KillAfter:
    """Progress that ends the run at the n-th step reported."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.notes: list[str] = []

    def stage(self, description: str, total: int, done: int) -> Callable[[int], None]:
        return self._advance

    def note(self, message: str) -> None:
        self.notes.append(message)

    def _advance(self, steps: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


@pytest.fixture(scope="module")
def uninterrupted(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return train(out=tmp_path_factory.mktemp("whole") / "model.pt", data=data_folder, **SMALL)


def test_a_checkpoint_is_written_that_loads_as_it_was_trained(uninterrupted: Checkpoint) -> None:
    assert uninterrupted.path is not None
    loaded = checkpoints.load(uninterrupted.path)
    assert loaded.full_sha256 == uninterrupted.full_sha256
    assert same_weights(loaded, uninterrupted)
    assert not any("norm" in name for name in loaded.network.heads.state_dict())
    assert set(loaded.record["test_accuracy"]) == {"exit_1", "exit_2", "prediction"}
    assert [file.name for file in uninterrupted.path.parent.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("steps", [3, 10, 17, 19, 21])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    uninterrupted: Checkpoint, data_folder: Path, tmp_path: Path, steps: int
) -> None:
    out = tmp_path / "model.pt"
    with pytest.raises(Killed):
        train(out=out, data=data_folder, progress=KillAfter(steps), **SMALL)
    assert not out.exists()
    resumed = train(out=out, data=data_folder, **SMALL)
    assert same_weights(resumed, uninterrupted)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_a_run_with_other_settings_starts_anew(data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.pt"
    with pytest.raises(Killed):
        train(out=out, data=data_folder, progress=KillAfter(13), **SMALL)
    watched = KillAfter(10**6)
    train(out=out, data=data_folder, progress=watched, **{**SMALL, "seed": 1, "exits": "none"})
    assert any("other settings" in note for note in watched.notes)


def test_a_damaged_partial_file_is_not_used(uninterrupted: Checkpoint, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt.partial").write_bytes(b"PK garbage")
    assert same_weights(train(out=tmp_path / "model.pt", data=data_folder, **SMALL), uninterrupted)


def test_more_exits_are_trained_on_a_trunk_taken_over(uninterrupted: Checkpoint, tmp_path: Path) -> None:
    more = train(out=tmp_path / "more.pt", start=uninterrupted.path, exits="all", heads=HEADS)
    assert more.full_sha256 == uninterrupted.full_sha256
    assert [spec.id for spec in more.network.exits] == [1, 2]
    assert more.data is not None
    assert uninterrupted.data is not None
    assert more.data.splits.digest() == uninterrupted.data.splits.digest()


def test_exits_learn_a_problem_that_can_be_learned(data_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = cifar_resnet(8, 1, 10, width=4)
    found = train(trunk, out=tmp_path / "own.pt", data=data_folder, factory="support.factories:small", exits=[2])
    assert found.record["test_accuracy"]["exit_2"] > 0.8
    assert checkpoints.load(tmp_path / "own.pt", factory="support.factories:small").full_sha256 == found.full_sha256


def test_distilled_exits_follow_the_full_model(uninterrupted: Checkpoint, tmp_path: Path) -> None:
    heads = ExitOptions(epochs=60, batch_size=50, distillation=1.0)
    found = train(out=tmp_path / "model.pt", start=uninterrupted.path, exits=[2], heads=heads)
    inputs = {name: torch.from_numpy(value) for name, value in checkpoints.load_set(found, "train").inputs.items()}
    with torch.no_grad():
        answers = found.network(**inputs)
    agreement = (answers["exit_2"].argmax(1) == answers["prediction"].argmax(1)).float().mean()
    assert agreement > 0.8


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "resnet9"}, UsageError, "no model 'resnet9'"),
        ({"model_options": {"widht": 4}}, UsageError, "widht"),
        ({"model": torch.nn.Linear(2, 2)}, UsageError, "factory='module:function'"),
        ({"exits": [9]}, UsageError, "blocks 1 to 3"),
        ({"loader": "poetry"}, UsageError, "no data loader 'poetry'"),
        ({"data": Path("/nowhere")}, InputError, "/nowhere"),
        ({"out": Path("/nowhere/model.pt")}, UsageError, "/nowhere does not exist"),
        ({"start": Path("/nowhere.pt")}, EtbacError, "no such file"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_trained(
    options: dict[str, Any], error: type[Exception], message: str, data_folder: Path, tmp_path: Path
) -> None:
    watched = KillAfter(1)
    with pytest.raises(error, match=message):
        train(**{"out": tmp_path / "model.pt", "data": data_folder, **SMALL, "progress": watched, **options})
    assert list(tmp_path.iterdir()) == []


def test_the_learning_rate_rises_once_and_falls_to_nothing() -> None:
    options = TrunkOptions(learning_rate=0.4, warm_up=0.25)
    rates = [options.rate(step / 100) for step in range(101)]
    assert max(rates) == rates[25] == pytest.approx(0.4)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] == pytest.approx(0)


def test_pictures_grow_to_their_full_size() -> None:
    options = TrunkOptions(epochs=5, scales=(0.5, 0.75, 1.0))
    assert [options.scale(epoch) for epoch in range(5)] == [0.5, 0.5, 0.75, 0.75, 1.0]
    assert resize(torch.zeros(2, 1, 28, 28), 0.75).shape == (2, 1, 21, 21)


def test_a_shifted_picture_is_the_picture_shifted() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.arange(36.0).reshape(1, 1, 6, 6)
    seen = flip_and_crop(picture.repeat(200, 1, 1, 1), 1, generator)
    padded = torch.nn.functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    possible = {
        tuple(side[0, 0, y : y + 6, x : x + 6].flatten().tolist())
        for side in (padded, padded.flip(3))
        for y in range(3)
        for x in range(3)
    }
    assert {tuple(one.flatten().tolist()) for one in seen} == possible


def same_weights(first: Checkpoint, second: Checkpoint) -> bool:
    return checkpoints.state_sha256(first.network) == checkpoints.state_sha256(second.network)
