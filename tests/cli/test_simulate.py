from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support.even_profile import write_even_profile
from support.two_blocks import make_engine_dir, make_inputs

import etbac
from etbac.cli.main import cli


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a profile by hand and a plan."""
    folder = tmp_path_factory.mktemp("simulate")
    path = make_engine_dir(folder / "engines").path
    write_even_profile(path)
    with etbac.load(path) as chain:
        inputs = make_inputs(400)
        labels = chain.full(inputs).argmax(-1)
    np.savez(folder / "data.npz", **inputs, labels=labels)
    etbac.plan(path, precision=0.5, data=folder / "data.npz", uncertified=True)
    return path


def ask(engines: Path, *arguments: str) -> Any:
    return CliRunner().invoke(cli, ["simulate", "--engine-dir", str(engines), *arguments])


def test_a_chain_answers_more_in_time_than_the_full_model(engines: Path) -> None:
    done = ask(engines, "--rate", "900", "--within", "20", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    chain, full = found["rows"]["chain"], found["rows"]["full model"]
    assert chain["goodput"] > full["goodput"]
    assert chain["in_time"] + chain["refused"] <= 1
    assert found["offered"] == pytest.approx(900, rel=0.1)
    table = ask(engines, "--rate", "900", "--within", "20")
    assert "a second within 20 ms" in table.stdout
    several = json.loads(ask(engines, "--rate", "900", "--within", "20", "--devices", "4", "--json").stdout)
    assert several["rows"]["full model"]["goodput"] > full["goodput"]


def test_a_trace_is_read(engines: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("0\n0.5\n1\n")
    found = json.loads(ask(engines, "--trace", str(trace), "--within", "1000", "--json").stdout)
    assert found["rows"]["chain"]["in_time"] == 1
    assert found["offered"] == 3


def test_a_profile_from_a_file_says_the_same_as_the_directorys_own(engines: Path, tmp_path: Path) -> None:
    (own,) = (engines / "profiles").glob("*.json")
    elsewhere = shutil.copy(own, tmp_path / "profile.json")
    asked = ("--rate", "900", "--within", "20", "--json")
    ours, theirs = ask(engines, *asked), ask(engines, "--profile", str(elsewhere), *asked)
    assert theirs.exit_code == 0, theirs.output
    assert json.loads(ours.stdout) == json.loads(theirs.stdout)


def test_a_profile_of_another_chain_or_none_is_refused(engines: Path, tmp_path: Path) -> None:
    (own,) = (engines / "profiles").glob("*.json")
    other = json.loads(own.read_text())
    other["engines"][0]["exit_id"] = 99
    for content, what in ((json.dumps(other), "is of a chain with the stages"), ("{}", "is no profile")):
        path = tmp_path / "profile.json"
        path.write_text(content)
        done = ask(engines, "--profile", str(path), "--rate", "5")
        assert done.exit_code in (1, 2)
        assert what in done.stderr


@pytest.mark.parametrize("content", ["", "one\n", "2\n1\n", "nan\n"])
def test_a_file_that_is_no_trace_is_refused(engines: Path, tmp_path: Path, content: str) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text(content)
    done = ask(engines, "--trace", str(trace))
    assert done.exit_code == 1
    assert "is no trace" in done.stderr


def test_when_samples_arrive_must_be_said_once(engines: Path) -> None:
    for arguments in ([], ["--rate", "5", "--trace", __file__]):
        done = ask(engines, *arguments)
        assert done.exit_code == 2
        assert "either --rate or --trace" in done.stderr


def test_without_a_plan_it_says_what_to_do(tmp_path: Path) -> None:
    path = make_engine_dir(tmp_path / "engines").path
    write_even_profile(path)
    done = ask(path, "--rate", "5")
    assert done.exit_code == 2
    assert "run etbac plan first" in done.stderr
