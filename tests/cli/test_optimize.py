from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.even_profile import SIZES
from support.optimized import labelled, misleading, never_right, take_even_profiles
from support.two_blocks import exit_model_file

from etbac.cli.main import cli
from etbac.engine_dir import EngineDir
from etbac.profiles import profile
from etbac.profiles.race import Timings


@pytest.fixture(autouse=True)
def even(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take_even_profiles(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return exit_model_file(tmp_path / "model.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return labelled(tmp_path / "data.npz")


def run(model: Path, data: Path, *options: str, precision: float = 0.5) -> Result:
    command = ["optimize", str(model), "--engine-dir", str(model.with_name("engines")), "--data", str(data)]
    command += ["--precision", str(precision), "--budget", "0.05", "--batches", "30", *options]
    return CliRunner().invoke(cli, command)


def test_predicted_stands_beside_measured(model, data):
    done = run(model, data)
    assert done.exit_code == 0, done.output
    for word in ("predicted", "measured", "full model", "certified ≥ 0.5 at 95% confidence"):
        assert word in done.output
    assert "too noisy" not in done.stderr
    assert "no exit is best" not in done.output


def test_a_set_that_was_read_before_is_said_with_the_level_of_all_readings(model, data):
    assert "reading" not in run(model, data).stdout
    assert "at 97.5% confidence (reading 2 of these data; all hold together at 92.5%)" in run(model, data).stdout


def test_json_is_one_object_with_the_plan_and_the_figures(model, data):
    found = json.loads(run(model, data, "--json").stdout)
    assert found["plan"]["certified"]
    assert found["tried"] == [3, 7]
    assert set(found["exits"]) == {int(exit_id) for exit_id in found["plan"]["thresholds"]} < {3, 7}
    assert found["figures"]["measured_ms"] > 0


def test_what_plan_can_be_asked_for_optimize_can(model, data):
    asked = ["--delta", "0.01", "--test", "exact", "--max-latency", "900", "--min-class-precision", "0.4"]
    plan = json.loads(run(model, data, *asked, "--json").stdout)["plan"]
    assert (plan["certificate"]["level"], plan["certificate"]["test"]) == (0.01, "exact")
    assert (plan["search"]["most_ms"], plan["search"]["min_class_precision"]) == (900, 0.4)


def test_a_demand_that_no_plan_meets_is_refused(model, data):
    done = run(model, data, "--max-latency", "0.001")
    assert done.exit_code == 2
    assert "--max-latency 0.001: no plan is predicted to have such a p99" in done.stderr
    assert not model.with_name("engines").exists()


def test_that_no_exit_pays_is_said(model, tmp_path, monkeypatch):
    take_even_profiles(monkeypatch, SIZES)
    done = run(model, never_right(tmp_path / "data.npz"), "--uncertified", precision=0.9999)
    assert done.exit_code == 0, done.output
    assert "no exit pays, of 3, 7 tried: the chain is the full model alone" in done.stdout


@pytest.mark.parametrize(("ms", "said"), [(1, False), (3, True)])
def test_that_the_chain_is_slower_than_the_full_model_is_said(model, data, monkeypatch, ms, said):
    timings = Timings({"chain": np.full(30, ms * 1e-3), "full": np.full(30, 2e-3)})
    monkeypatch.setattr(import_module("etbac.compiler.optimize"), "race", lambda *_: timings)
    assert ("slower than the full model here" in run(model, data).stdout.replace("\n", " ")) is said


def test_a_noisy_machine_is_said(model, data, monkeypatch):
    monkeypatch.setattr(profile, "NOISY", -1)
    assert "warning: this machine is too noisy to trust these figures" in run(model, data).stderr


def test_a_precision_that_cannot_be_certified_is_exit_status_1_unless_it_may_be(model, tmp_path):
    data = misleading(tmp_path / "data.npz")
    done = run(model, data, precision=0.9)
    assert done.exit_code == 1
    assert "precision 0.9 is not certified at 95% confidence" in done.stderr
    assert not (model.with_name("engines") / "manifest.json").exists()
    done = run(model, data, "--uncertified", precision=0.9)
    assert done.exit_code == 0
    assert "not certified: precision 0.9" in done.stdout
    assert not EngineDir.open(model.with_name("engines")).plan.certified
