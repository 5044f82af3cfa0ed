from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.fashion_mnist import write

from etbac.cli.main import cli
from etbac.models import checkpoint as checkpoints
from etbac.training import ExitOptions, TrunkOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"), train=300, test=40)


def train(*options: object) -> Result:
    return CliRunner().invoke(cli, ["train", "classification", *map(str, options)])


def quickly(folder: Path, out: Path, *options: object) -> Result:
    small = ("--model", "resnet8", "--model-options", '{"width": 4}', "--epochs", 1, "--exit-epochs", 1)
    return train(*small, "--data", folder, "--out", out, *options)


def test_a_trained_model_is_reported_and_can_be_trained_on(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    one = quickly(folder, first, "--exits", "1,2", "--json")
    assert one.exit_code == 0, one.output
    report = json.loads(one.stdout)
    assert report["exits"] == [1, 2]
    assert set(report["test"]) == {"exit_1", "exit_2", "prediction"}
    two = train("--from", first, "--exits", "all", "--exit-epochs", 1, "--out", second)
    assert two.exit_code == 0, two.output
    assert "full model" in two.stdout
    assert f"etbac compile {second}" in two.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--exits", "3,1"], 2, "write 1,3"),
        (["--exits", "two"], 2, "not a list of exit ids"),
        (["--exits", "1,40"], 2, "no block 40"),
        (["--model", "resnet9"], 2, "no model 'resnet9'"),
        (["--padding", "two"], 2, "a number of pixels, or none"),
        (["--scales", "half"], 2, "not a list of sizes"),
        (["--scales", "0.5,2"], 2, "at most 1"),
        (["--model-options", "[]"], 2, "not a JSON object"),
        (["--model-options", "{"], 2, "not JSON"),
        (["--data", "/nowhere"], 1, "/nowhere"),
        (["--from", "/nowhere.pt"], 1, "no such file"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    options: list[str], code: int, message: str, folder: Path, tmp_path: Path
) -> None:
    found = quickly(folder, tmp_path / "model.pt", *options)
    assert found.exit_code == code, found.output
    assert message in found.stderr
    assert "Traceback" not in found.output
    assert list(tmp_path.iterdir()) == []


def test_help_does_not_import_torch() -> None:
    program = (
        "import sys; from etbac.cli.main import cli\n"
        "cli(['train', 'classification', '--help'], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "etbac train classification" in found.stdout


@pytest.mark.parametrize("task", ["classification", "text"])
def test_help_says_the_defaults_that_there_are(task: str) -> None:
    """It does not import them, for that takes seconds."""
    found = " ".join(CliRunner().invoke(cli, ["train", task, "--help"], terminal_width=2000).stdout.split())
    images, others, exits = TrunkOptions.of("classification"), TrunkOptions.of("text"), ExitOptions()
    several = {
        "--batch-size": "batch_size",
        "--learning-rate": "learning_rate",
        "--optimizer": "optimizer",
        "--clip": "clip",
        "--padding": "padding",
    }
    for option, name in several.items():
        said = f"[default: {_written(getattr(images, name))}; {_written(getattr(others, name))} for other tasks"
        assert said in found.partition(f"{option} ")[2].partition(" --")[0], option
    assert "[default: 0.5,0.75,1; 1 for other tasks" in found
    assert (images.scales, others.scales) == ((0.5, 0.75, 1.0), (1.0,))
    single = {
        "--epochs": images.epochs,
        "--accumulate": images.accumulate,
        "--exit-epochs": exits.epochs,
        "--exit-batch-size": exits.batch_size,
        "--exit-learning-rate": exits.learning_rate,
        "--distillation": exits.distillation,
        "--temperature": exits.temperature,
    }
    for option, value in single.items():
        assert f"[default: {_written(value)}" in found.partition(f" {option} ")[2].partition(" --")[0], option
    assert (exits.accumulate, images.stop_after, exits.stop_after) == (1, 0, 0)


def _written(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def test_pictures_are_left_as_they_are_where_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    for padding, expected in (("none", None), ("1", 1)):
        out = tmp_path / f"{padding}.pt"
        assert quickly(folder, out, "--exits", "none", "--padding", padding).exit_code == 0
        assert checkpoints.load(out).record["trunk"]["padding"] == expected
