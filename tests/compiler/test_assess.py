from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.fashion_mnist import write

from etbac.cli.main import cli
from etbac.compiler.assess import Assessment, assess, describe
from etbac.errors import UsageError
from etbac.planner.search import Candidate
from etbac.training import ExitOptions, TrunkOptions, train
from etbac.training.begin import DataAsked, begin


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"), train=600, test=40)


@pytest.fixture(scope="module")
def trunk(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network without exits, on pictures whose class the first block can tell."""
    out = tmp_path_factory.mktemp("trunk") / "trunk.pt"
    options = TrunkOptions(epochs=6, batch_size=25, scales=(1.0,))
    train("resnet8", out=out, data=folder, model_options={"width": 8}, exits="none", trunk=options, heads=ExitOptions())
    return out


def test_what_is_easy_is_expected_to_leave_early(trunk: Path, folder: Path) -> None:
    done = CliRunner().invoke(cli, ["assess", str(trunk), "--data", str(folder), "--precision", "0.9", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["worth_it"]
    assert found["exits"]
    assert found["saved"]["16"] > 0.1
    assert found["accuracy"].keys() == {"0", "1", "2"}
    assert sum(found["shares"].values()) == pytest.approx(1)
    text = CliRunner().invoke(cli, ["assess", str(trunk), "--data", str(folder), "--precision", "0.9"])
    assert "less latency at batch 16" in text.stdout.replace("\n", " ")


def test_a_model_that_is_not_trained_is_not_assessed(folder: Path) -> None:
    begun = begin("resnet8", None, None, {"width": 4}, DataAsked("fashion-mnist", folder))
    with pytest.raises(UsageError, match="not trained"):
        assess(begun)
    with pytest.raises(UsageError, match="answers that are classes"):
        assess(replace(begun, trained=True, task="pose"))


@pytest.mark.parametrize(("thresholds", "saved"), [({}, 0.0), ({1: 0.9}, 0.05)])
def test_where_little_is_saved_it_says_dont(thresholds: dict[int, float], saved: float) -> None:
    candidate = Candidate(thresholds, 1.0, 0, 0)
    found = Assessment({1: "layer1"}, {0: 0.9, 1: 0.5}, candidate, {1: 0.1, 0: 0.9}, {16: saved}, 16, 0.9968)
    assert describe(found).startswith("don't")
