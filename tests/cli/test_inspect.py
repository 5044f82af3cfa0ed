from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from support.two_blocks import exit_model_file, make_engine_dir

from etbac.cli.inspect import bytes_per_sample
from etbac.cli.main import cli
from etbac.contract import Plan, TensorSpec
from etbac.engine_dir import EngineDir, count_reading, write_plan
from etbac.models.attach import attach_exits
from etbac.models.checkpoint import Checkpoint, save
from etbac.models.resnet import cifar_resnet


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine_dir = make_engine_dir(tmp_path_factory.mktemp("inspect") / "engines")
    count_reading(engine_dir.path, "abc", lambda reading: 0.05)
    return write_plan(
        engine_dir, "onnxruntime-cpu-fp32", Plan((3,), {3: 0.625}, 0.9968, certified=False, reason="a test")
    ).path


def inspect(path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["inspect", str(path), *options])


def contents(path: Path, *options: str) -> dict[str, Any]:
    result = inspect(path, "--json", *options)
    assert result.exit_code == 0, result.stderr
    payload: dict[str, Any] = json.loads(result.stdout)
    return payload


def test_a_directory_says_what_it_holds(engines: Path) -> None:
    found = contents(engines)
    manifest = EngineDir.open(engines).manifest
    assert found["exits"] == [3, 7]
    assert [segment["file"] for segment in found["segments"]] == [entry.file for entry in manifest.segments]
    assert [segment["boundary_bytes"] for segment in found["segments"]] == ["24", "24", "0"]
    assert found["plan"]["thresholds"] == {"3": 0.625}
    assert found["samples"] == {"file": manifest.samples, "kind": "synthetic", "rows": 16}
    assert found["readings"] == {"abc": 1}
    assert found["files"] == {name: (engines / name).stat().st_size for name in manifest.files}


def test_a_directory_is_described_in_words(engines: Path) -> None:
    printed = inspect(engines).stdout
    assert "16 synthetic rows" in printed
    assert "plan: exits 3 at 0.625; precision 0.9968, not certified: a test" in printed
    assert "inputs: x float32 [batch, 6]; scale float32 [6]; unread int64 [batch]" in printed


def test_sets_of_engines_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "engines"
    assert contents(make_engine_dir(path).path)["engines"] == []
    compile_ = ["compile", str(exit_model_file(tmp_path / "model.onnx")), "--engine-dir", str(path)]
    for options in (["--dtype", "fp16", "--keep-fp32", "3"], ["--offline"]):
        assert CliRunner().invoke(cli, [*compile_, *options]).exit_code == 0
    sets = {each["folder"]: each for each in contents(path)["engines"]}
    offline, half = sets["engines/onnxruntime-cpu-fp32"], sets["engines/onnxruntime-cpu-fp16"]
    assert [(each["is_code"], each["built_here"], each["in_force"]) for each in (offline, half)] == [
        (True, True, True),
        (False, True, False),
    ]
    assert [each["format"] for each in half["segments"]] == ["fp32", "fp16", "fp16"]
    engines = [*offline["segments"], offline["full"]]
    assert sum(each["bytes"] for each in engines) == offline["bytes"] > 0
    assert "onnxruntime fp32, onnxruntime fp16, onnxruntime fp16" in " ".join(inspect(path).stdout.split())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody else"))
    assert "no: used with --trust alone" in inspect(path).stdout


def test_every_file_is_checked(engines: Path, tmp_path: Path) -> None:
    path = make_engine_dir(tmp_path / "engines").path
    next(path.glob("full.*")).write_bytes(b"changed")  # which loading a chain does not read
    result = inspect(path)
    assert result.exit_code == 1
    assert "has changed since it was built" in result.stderr


def test_an_onnx_file_lists_its_exits_and_inputs(tmp_path: Path) -> None:
    found = contents(exit_model_file(tmp_path / "model.onnx"))
    assert [(each["exit_id"], each["outputs"]) for each in found["exits"]] == [
        (3, {"prediction": "exit_3"}),
        (7, {"prediction": "exit_7"}),
    ]
    assert found["full"] == {"prediction": "prediction"}
    assert [(each["name"], each["batch_axis"]) for each in found["inputs"]] == [
        ("x", 0),
        ("scale", None),
        ("unread", 0),
    ]
    assert "exit_7" in inspect(tmp_path / "model.onnx").stdout


def test_a_checkpoint_lists_its_exits_and_where_its_features_come_from(tmp_path: Path) -> None:
    trunk = cifar_resnet(8, 1, 10, width=4)
    image = {"image": torch.zeros(2, 1, 28, 28)}
    network = attach_exits(trunk, at=[1, 2], example_inputs=image, head_options={"hidden": 8})
    saved = Checkpoint(
        network=network,
        factory="resnet8",
        kwargs={"in_channels": 1, "width": 4},
        metric="accuracy",
    )
    save(saved, tmp_path / "small.pt")
    found = contents(tmp_path / "small.pt")
    assert [(each["exit_id"], each["module"]) for each in found["exits"]] == [(1, "layer1.0"), (2, "layer2.0")]
    assert (found["factory"], found["task"], found["metric"]) == ("resnet8", "classification", "accuracy")
    assert found["parameters"] == sum(parameter.numel() for parameter in trunk.parameters())
    assert found["data"] is None
    assert "layer2.0" in inspect(tmp_path / "small.pt").stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.onnx", None, "no such file"),
        ("text.txt", b"some text", "is a text file"),
        ("empty.pt", b"", "is empty"),
        ("code.pkl", b"\x80\x04.", "pickle"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = inspect(tmp_path / name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_folder_without_a_manifest_is_no_engine_directory(tmp_path: Path) -> None:
    result = inspect(tmp_path)
    assert result.exit_code == 1
    assert "is no engine directory" in result.stderr


def test_bytes_of_dynamic_axes_are_given_by_their_names() -> None:
    boundary = (
        TensorSpec("hidden", "float32", ("batch", "tokens", 8), 0),
        TensorSpec("mask", "bool", ("batch", "tokens"), 0),
        TensorSpec("position", "int64", ("tokens",), None),
        TensorSpec("pooled", "float16", ("batch", 3), 0),
    )
    assert bytes_per_sample(boundary) == "33·tokens + 6"
