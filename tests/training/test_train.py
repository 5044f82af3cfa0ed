from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from support.fashion_mnist import write
from support.published import mpii

import etbac
from etbac.errors import EtbacError, InputError, UsageError
from etbac.models import checkpoint as checkpoints
from etbac.models.checkpoint import Checkpoint
from etbac.models.resnet import cifar_resnet
from etbac.training import ExitOptions, RunOptions, TrunkOptions, loop, train

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


usage = namedtuple("usage", "total used free")


class Killed(BaseException):
    """As a kill: nothing of the program's own runs after it."""


class KillAfter:
    """Progress that ends the run at the n-th step reported."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.notes: list[str] = []
        self.done: list[int] = []

    def stage(self, description: str, total: int, done: int) -> Callable[[int], None]:
        self.done.append(done)
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
    assert set(loaded.record["test"]) == {"exit_1", "exit_2", "prediction"}
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


@pytest.mark.parametrize("steps", [3, 17, 22])
def test_a_run_killed_within_an_epoch_goes_on_from_its_last_step(
    uninterrupted: Checkpoint, data_folder: Path, tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKS", 1)
    run = RunOptions(save_s=0.0)
    first = KillAfter(steps)
    with pytest.raises(Killed):
        train(out=tmp_path / "model.pt", data=data_folder, progress=first, run=run, **SMALL)
    second = KillAfter(10**6)
    resumed = train(out=tmp_path / "model.pt", data=data_folder, progress=second, run=run, **SMALL)
    assert same_weights(resumed, uninterrupted)
    assert second.done[0] > 0


def test_a_run_that_goes_on_scales_its_gradients_as_before(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scalers: list[torch.amp.GradScaler] = []

    def scaling(**options: Any) -> Accelerator:
        made = Accelerator(**options)
        made.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)
        scalers.append(made.scaler)
        return made

    monkeypatch.setattr(import_module("etbac.training.train"), "Accelerator", scaling)
    monkeypatch.setattr(loop, "CHECKS", 1)
    run = RunOptions(save_s=0.0)
    whole = train(out=tmp_path / "whole.pt", data=data_folder, run=run, **SMALL)
    with pytest.raises(Killed):
        train(out=tmp_path / "model.pt", data=data_folder, progress=KillAfter(19), run=run, **SMALL)
    resumed = train(out=tmp_path / "model.pt", data=data_folder, run=run, **SMALL)
    assert same_weights(resumed, whole)
    uninterrupted, killed, gone_on = (scaler.state_dict() for scaler in scalers)
    assert gone_on == uninterrupted
    assert uninterrupted["scale"] > killed["scale"] > 4.0


def test_without_kept_features_the_same_heads_come_out(
    uninterrupted: Checkpoint, data_folder: Path, tmp_path: Path
) -> None:
    watched = KillAfter(10**6)
    found = train(out=tmp_path / "model.pt", data=data_folder, run=RunOptions(cache_gb=0), progress=watched, **SMALL)
    assert any("the trunk runs in every epoch" in note for note in watched.notes)
    for name, value in found.network.heads.state_dict().items():
        torch.testing.assert_close(value, uninterrupted.network.heads.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_batches_that_make_one_step_are_as_one_batch(uninterrupted: Checkpoint, tmp_path: Path) -> None:
    def heads(batch: int, accumulate: int) -> dict[str, torch.Tensor]:
        options = ExitOptions(epochs=2, batch_size=batch, accumulate=accumulate, optimizer="sgd", learning_rate=0.01)
        out = tmp_path / f"{batch}.pt"
        plain = {"dropout": 0.0, "norm": False}
        return train(
            out=out, start=uninterrupted.path, exits=[2], heads=options, head_options=plain
        ).network.heads.state_dict()

    whole, parts = heads(100, 1), heads(25, 4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-5)


def test_a_network_of_one_size_is_trained_at_that_size(data_folder: Path, tmp_path: Path) -> None:
    watched = KillAfter(10**6)
    fixed = {**SMALL, "model": "support.factories:of_one_size", "model_options": {}, "exits": ["0"]}
    train(out=tmp_path / "model.pt", data=data_folder, progress=watched, **fixed)
    assert any("they are not scaled" in note for note in watched.notes)


def test_training_ends_where_the_fit_set_says_no_more(data_folder: Path, tmp_path: Path) -> None:
    heads = ExitOptions(epochs=50, batch_size=50, learning_rate=1e-9, stop_after=2)
    log = tmp_path / "log.csv"
    train(out=tmp_path / "model.pt", data=data_folder, run=RunOptions(losses=str(log)), **{**SMALL, "heads": heads})
    exits = [line for line in log.read_text().splitlines() if line.startswith("exits")]
    assert 2 < len(exits) < 50


def test_trunk_and_exits_trained_together_leave_the_full_model_as_it_was(
    uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    options = TrunkOptions(epochs=2, batch_size=25, scales=(1.0,))
    found = train(out=tmp_path / "joint.pt", start=uninterrupted.path, exits=[1, 2], joint=True, trunk=options)
    assert found.full_sha256 == uninterrupted.full_sha256
    assert checkpoints.state_sha256(found.network.trunk.state_dict()) != found.full_sha256
    loaded = checkpoints.load(tmp_path / "joint.pt")
    assert same_weights(loaded, found)
    inputs = {name: value[:50] for name, value in checkpoints.load_set(found, "test").inputs.items()}
    with torch.no_grad():
        was = uninterrupted.network(**{name: torch.from_numpy(value) for name, value in inputs.items()})["prediction"]
        together = found.network(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    with etbac.load(etbac.compile(tmp_path / "joint.pt", tmp_path / "engines").path) as chain:
        torch.testing.assert_close(torch.from_numpy(chain.full(inputs)), was, rtol=1e-3, atol=1e-4)
        whole = chain.run(inputs, thresholds="off").prediction
        torch.testing.assert_close(torch.from_numpy(whole), together["prediction"], rtol=1e-3, atol=1e-4)


def test_a_run_with_other_settings_starts_anew(data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.pt"
    with pytest.raises(Killed):
        train(out=out, data=data_folder, progress=KillAfter(13), **SMALL)
    watched = KillAfter(10**6)
    train(out=out, data=data_folder, progress=watched, **{**SMALL, "seed": 1, "exits": "none"})
    assert any("other settings" in note for note in watched.notes)


def test_a_run_with_other_exits_goes_on_with_its_trunk(
    uninterrupted: Checkpoint, data_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.pt"
    with pytest.raises(Killed):
        train(out=out, data=data_folder, progress=KillAfter(19), **{**SMALL, "exits": [2], "head_options": {}})
    watched = KillAfter(10**6)
    found = train(out=out, data=data_folder, progress=watched, **SMALL)
    assert any("going on with its trunk" in note for note in watched.notes)
    assert not any(note.startswith("trunk: ") for note in watched.notes)
    assert same_weights(found, uninterrupted)


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
    assert found.record["test"]["exit_2"] > 0.8
    assert checkpoints.load(tmp_path / "own.pt", factory="support.factories:small").full_sha256 == found.full_sha256


def test_distilled_exits_follow_the_full_model_more_than_the_labels(uninterrupted: Checkpoint, tmp_path: Path) -> None:
    agreement = {}
    for distillation in (0.0, 1.0):
        heads = ExitOptions(epochs=60, batch_size=50, distillation=distillation)
        found = train(out=tmp_path / "model.pt", start=uninterrupted.path, exits=[2], heads=heads)
        inputs = {name: torch.from_numpy(value) for name, value in checkpoints.load_set(found, "train").inputs.items()}
        with torch.no_grad():
            answers = found.network(**inputs)
        same = answers["exit_2"].argmax(1) == answers["prediction"].argmax(1)
        agreement[distillation] = float(same.float().mean())
    assert agreement[1.0] > agreement[0.0] + 0.2, agreement


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "resnet9"}, UsageError, "no model 'resnet9'"),
        ({"model": "support.factories:broken"}, UsageError, "cannot be made with .*ZeroDivisionError"),
        ({"model": "support.factories:nothing", "model_options": None}, UsageError, "gives a str; a torch.nn.Module"),
        ({"model": "support.factories:five"}, UsageError, "answers 5 values a sample and the data have 10 classes"),
        ({"loader": "wav-folder"}, UsageError, "data for the task speech, and classification was asked for"),
        ({"model": cifar_resnet(8, 1, 5, width=4), "factory": "support.factories:small"}, UsageError, "fc.bias"),
        ({"model": "vgg16", "model_options": {"image_size": 64}}, UsageError, "fails on the data's first samples"),
        ({"model_options": {"widht": 4}}, UsageError, "widht"),
        ({"model": torch.nn.Linear(2, 2)}, UsageError, "factory='module:function'"),
        ({"exits": [9]}, UsageError, "blocks 1 to 3"),
        ({"head_options": {"hiden": 8}}, UsageError, "a head cannot be made with .*hiden"),
        ({"head_options": {"hidden": -8}}, UsageError, "a head cannot be made with"),
        ({"preprocessing": {"heigth": 8}}, UsageError, "no 'heigth'; there are input, height"),
        ({"loader": "poetry"}, UsageError, "no data loader 'poetry'"),
        ({"data": Path("/nowhere")}, InputError, "/nowhere"),
        ({"out": Path("/nowhere/model.pt")}, UsageError, "/nowhere does not exist"),
        ({"out": Path("/")}, UsageError, "is a folder"),
        ({"start": Path("/nowhere.pt")}, EtbacError, "no such file"),
        ({"exits": "none", "joint": True}, UsageError, "there must be exits"),
        ({"trunk": TrunkOptions(batch_size=1), "joint": True}, UsageError, "2 samples a step or more"),
        ({"run": RunOptions(losses="/")}, UsageError, "is a folder"),
        ({"run": RunOptions(precision="fp16")}, UsageError, "needs a GPU"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_trained(
    options: dict[str, Any], error: type[Exception], message: str, data_folder: Path, tmp_path: Path
) -> None:
    watched = KillAfter(1)
    with pytest.raises(error, match=message):
        train(**{"out": tmp_path / "model.pt", "data": data_folder, **SMALL, "progress": watched, **options})
    assert list(tmp_path.iterdir()) == []


def same_weights(first: Checkpoint, second: Checkpoint) -> bool:
    first_hash, second_hash = (checkpoints.state_sha256(each.network.state_dict()) for each in (first, second))
    return first_hash == second_hash


def test_another_run_in_the_same_process_may_compute_in_other_numbers(
    uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    for precision in ("bf16", "no"):
        run = RunOptions(precision=precision)
        found = train(out=tmp_path / f"{precision}.pt", start=uninterrupted.path, exits=[2], heads=HEADS, run=run)
        assert all(value.dtype != torch.bfloat16 for value in found.network.state_dict().values())


def test_one_sample_a_step_is_refused_where_it_cannot_be_normalised(data_folder: Path, tmp_path: Path) -> None:
    small = {"height": 16, "width": 16}
    model = {"model": "resnet18", "model_options": {"width": 4}, "preprocessing": small}
    with pytest.raises(UsageError, match="batch normalisation needs two samples"):
        train(out=tmp_path / "m.pt", data=data_folder, **{**SMALL, **model, "trunk": TrunkOptions(batch_size=1)})


def test_joint_training_keeps_pictures_whole_and_tells_of_the_full_model(
    uninterrupted: Checkpoint, tmp_path: Path
) -> None:
    found = train(out=tmp_path / "joint.pt", start=uninterrupted.path, exits=[1], joint=True, trunk=TRUNK)
    assert found.record["test"]["full"] == uninterrupted.record["test"]["prediction"]
    assert set(found.record["test"]) == {"exit_1", "prediction", "full"}


@pytest.mark.parametrize("change", ["folder", "preprocessing", "weights"])
def test_a_run_on_other_data_or_weights_starts_anew(data_folder: Path, tmp_path: Path, change: str) -> None:
    out, other = tmp_path / "model.pt", write(tmp_path / "other", train=300, test=40, seed=1)
    weights = [tmp_path / name for name in ("one.pth", "two.pth")]
    for seed, path in enumerate(weights):
        torch.manual_seed(seed)
        state = cifar_resnet(8, 1, 10, width=4).state_dict()
        torch.save({name: tensor for name, tensor in state.items() if not name.startswith("fc")}, path)
    first = {**SMALL, "exits": "none", "data": data_folder, "start": weights[0]}
    changed = {"data": other} if change == "folder" else {"start": weights[1]}
    changed = {"preprocessing": {"scale": 0.01}} if change == "preprocessing" else changed
    with pytest.raises(Killed):
        train(out=out, progress=KillAfter(13), **first)
    found = train(out=out, **{**first, **changed})
    expected = train(out=tmp_path / "anew.pt", **{**first, **changed})
    assert same_weights(found, expected)


def test_features_are_not_kept_on_a_disk_that_is_full(
    uninterrupted: Checkpoint, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(0, 0, 10))
    watched = KillAfter(10**6)
    train(out=tmp_path / "model.pt", data=data_folder, progress=watched, **SMALL)
    assert any("free on the disk: the trunk runs in every epoch" in note for note in watched.notes)


def test_one_batch_makes_one_step_however_many_were_asked_for(uninterrupted: Checkpoint, tmp_path: Path) -> None:
    found = []
    for accumulate in (1, 4):
        options = ExitOptions(epochs=2, batch_size=1000, accumulate=accumulate, optimizer="sgd", learning_rate=0.01)
        out = tmp_path / f"{accumulate}.pt"
        found.append(train(out=out, start=uninterrupted.path, exits=[2], heads=options))
    assert same_weights(*found)


def test_pictures_that_are_not_shifted_grow_too(data_folder: Path, tmp_path: Path) -> None:
    found = []
    for scales in ((0.5,), (1.0,)):
        trunk = TrunkOptions(epochs=1, batch_size=25, padding=None, scales=scales)
        out = tmp_path / f"{scales[0]}.pt"
        found.append(train(out=out, data=data_folder, **{**SMALL, "exits": "none", "trunk": trunk}))
    assert not same_weights(*found)


def test_heads_that_begin_with_the_trunks_layers_take_them_trained(tmp_path: Path) -> None:
    """Trunk and exits in one run are as the trunk in one, and its exits in the next."""
    mpii.write(tmp_path / "mpii", train=20, valid=2)
    size = {"height": 32, "width": 32}
    pose: dict[str, Any] = {"task": "pose", "data": tmp_path / "mpii", "preprocessing": size}
    pose |= {"model": "pose-resnet18", "model_options": {"width": 4, "deconv_width": 8}}
    trunk = TrunkOptions.of("pose", epochs=2, learning_rate=0.01)
    heads: dict[str, Any] = {"exits": [7], "heads": ExitOptions(epochs=1)}
    at_once = train(out=tmp_path / "once.pt", trunk=trunk, **pose, **heads)
    train(out=tmp_path / "trunk.pt", trunk=trunk, exits="none", **pose)
    after = train(out=tmp_path / "twice.pt", task="pose", start=tmp_path / "trunk.pt", **heads)
    assert same_weights(at_once, after)
