from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.two_blocks import make_engine_dir

from etbac.cli.main import cli
from etbac.verification.chain import Check


@pytest.fixture
def engines(tmp_path):
    return str(make_engine_dir(tmp_path / "engines").path)


def test_a_right_chain_passes_and_says_what_was_left_out(engines):
    done = CliRunner().invoke(cli, ["verify", "--engine-dir", engines])
    assert done.exit_code == 0
    assert "allowed: 0.0001 of the output's scale" in done.stdout
    assert "left out: the exits and decisions" in done.stdout


def test_a_wrong_chain_ends_with_status_3_and_one_sentence(engines, monkeypatch):
    monkeypatch.setattr(Check, "passed", property(lambda check: check.batch != 7))
    done = CliRunner().invoke(cli, ["verify", "--engine-dir", engines, "--json"])
    assert done.exit_code == 3
    assert "is not the model it was compiled from" in done.stderr
    assert not json.loads(done.stdout)["passed"]


def test_no_directory_is_said(tmp_path):
    done = CliRunner().invoke(cli, ["verify", "--engine-dir", str(tmp_path / "nothing")])
    assert done.exit_code == 1
    assert "there is no such engine directory" in done.stderr
