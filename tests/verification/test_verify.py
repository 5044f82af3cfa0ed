from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from etbac.compiler import CompileOptions, compile_model
from etbac.frontend.load import load_model
from etbac.verification import verify

MODEL = """<ir_version: 9, opset_import: ["" : 18]>
two_exits (float[batch, 4] x) => (float[batch, 3] exit_1, float[batch, 3] prediction)
<float[4, 4] w = {1.0, 0.5, 0.0, -1.0, 0.2, 1.0, -0.3, 0.1, 0.0, 0.4, 1.0, 0.6, -0.5, 0.3, 0.2, 1.0},
 float[4, 3] a = {1.0, 0.0, -1.0, 0.5, 1.0, 0.0, -0.5, 0.3, 1.0, 0.2, -0.8, 0.4}>
{
    hidden = MatMul(x, w)
    active = Relu(hidden)
    exit_1 = MatMul(active, a)
    again = MatMul(active, w)
    top = Tanh(again)
    prediction = MatMul(top, a)
}"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    compile_model(load_model(path), tmp_path / "engines", CompileOptions(max_batch=8))
    return path


def test_a_directory_is_compared_with_its_source_at_every_exit(model):
    done = verify(model.parent / "engines")
    assert done.passed
    assert {check.batch for check in done.report.checks} == {1, 2, 7, 16, 64}
    assert any("forced at random" in check.what for check in done.report.checks)
    assert done.left_out == ["decisions on data: the source is not a checkpoint that records any"]


@pytest.mark.parametrize("what", ["changed", "not there any more"])
def test_without_its_source_the_full_model_stands_in_and_that_is_said(model, what):
    if what == "changed":
        model.write_bytes(model.read_bytes() + b"\0")
    else:
        model.unlink()
    done = verify(model.parent / "engines")
    assert done.passed
    assert {check.what for check in done.report.checks} == {"the directory's inputs, exits off"}
    (sentence,) = done.left_out
    assert what in sentence
