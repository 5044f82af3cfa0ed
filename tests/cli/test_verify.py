from __future__ import annotations

import json

import onnx
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


OVERFLOWING = """<ir_version: 9, opset_import: ["" : 18]>
large (float[batch, 2] x) => (float[batch, 2] exit_1, float[batch, 2] exit_2, float[batch, 2] prediction)
<float[2, 2] w = {1000.0, -900.0, 800.0, 700.0}>
{
    exit_1 = MatMul(x, w)
    exit_2 = MatMul(exit_1, w)
    prediction = MatMul(exit_2, w)
}"""


def test_engines_whose_numbers_are_endless_are_broken_and_json_says_so(tmp_path):
    onnx.save(onnx.parser.parse_model(OVERFLOWING), tmp_path / "model.onnx")
    engines = ["--engine-dir", str(tmp_path / "engines")]
    compiled = CliRunner().invoke(cli, ["compile", str(tmp_path / "model.onnx"), "--dtype", "fp16", *engines])
    assert compiled.exit_code == 0, compiled.stderr
    done = CliRunner().invoke(cli, ["verify", "--json", *engines])
    assert done.exit_code == 3
    assert "the engines onnxruntime-cpu-fp16 are broken: prediction holds numbers that are not finite" in done.stderr
    found = json.loads(done.stdout)
    assert (found["passed"], found["engines"]["largest"]) == (False, None)
