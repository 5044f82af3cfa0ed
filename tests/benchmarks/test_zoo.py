from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import parser
from torch import nn

from benchmarks import zoo
from benchmarks.zoo import __main__ as runner
from benchmarks.zoo.catalogue import BY_NAME, ENTRIES, Entry
from benchmarks.zoo.dense import DenseExits
from benchmarks.zoo.naive_cut import boundary_bytes, naive_bytes
from benchmarks.zoo.row import measure
from benchmarks.zoo.store import Store
from benchmarks.zoo.targets import measures
from etbac.frontend.load import load_model
from etbac.passes.exit_model import ExitModel
from etbac.passes.model_passes import PassOptions, model_passes
from etbac.passes.split import split_at_exits

MASKED = """
<ir_version: 10, opset_import: ["" : 18]>
masked (float[batch, 6] x, float[batch, 6] mask) => (float[batch, 6] exit_1, float[batch, 6] logits)
<int64[1] axis = {2}>
{
  wide = Unsqueeze(x, axis)
  grid = MatMul(wide, weight)
  last = Unsqueeze(mask, axis)
  cover = Expand(last, size)
  a = Mul(grid, cover)
  h = ReduceMax <keepdims: int = 0> (a, axis)
  hidden = MatMul(h, out)
  exit_1 = MatMul(hidden, back)
  b = Mul(a, cover)
  k = ReduceMax <keepdims: int = 0> (b, axis)
  again = MatMul(k, out)
  logits = MatMul(again, back)
}
"""


@pytest.fixture
def masked(tmp_path: Path) -> ExitModel:
    """[B, 6] is spread to [B, 6, 50] twice: the values, and a mask that can be spread again from its 6 numbers."""
    proto = parser.parse_model(MASKED)
    rng = np.random.default_rng(0)
    arrays = {
        "weight": rng.standard_normal((1, 50), np.float32),
        "out": rng.standard_normal((6, 2000), np.float32),
        "back": rng.standard_normal((2000, 6), np.float32),
        "size": np.array([1, 1, 50]),
    }
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    path = tmp_path / "masked.onnx"
    onnx.save(proto, path)
    return model_passes(load_model(path), PassOptions())


def test_the_naive_cut_carries_all_that_is_alive_and_the_chain_less(masked: ExitModel) -> None:
    grid = 4 * 6 * 50
    assert naive_bytes(masked, 32) == [2 * grid]
    first, _ = split_at_exits(masked)
    assert boundary_bytes(first.contract, 32) <= grid + 4 * 6


def test_every_builder_is_there() -> None:
    for entry in ENTRIES:
        module, function = entry.builder.split(":")
        tree = ast.parse(Path(zoo.__path__[0], f"{module}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_a_model_of_a_file_passes_through_the_whole_row() -> None:
    row = measure(BY_NAME["If"])
    assert row.passed, row.note
    assert row.segments == len(row.exits) + 1 == len(row.boundary) + 1 == len(row.naive) + 1
    assert json.loads(json.dumps(row.to_json()))["exits"] == [1, 2]


def test_a_model_that_should_have_been_refused_fails() -> None:
    assert not measure(Entry("If", "file_models:with_if", refusal="If")).passed


def test_exits_of_a_dense_model_have_the_maps_shape() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.ConvTranspose2d(8, 5, 4, 4))
    inputs = {"input": torch.randn(2, 3, 16, 16)}
    answers = DenseExits(trunk, ["0", "1"], inputs)(**inputs)
    assert {name: tuple(answer.shape) for name, answer in answers.items()} == dict.fromkeys(
        ("exit_1", "exit_2", "prediction"), (2, 5, 16, 16)
    )


def test_a_row_is_kept_until_the_source_changes(tmp_path: Path) -> None:
    path = tmp_path / "results" / "zoo.json"
    Store(path, "a").put("x", {"passed": True})
    Store(path, "a").put("y", {"passed": True})
    assert Store(path, "a").get("x") == {"passed": True}
    assert Store(path, "b").get("x") is None
    assert Store(path, "a").get("z") is None


def _row(name: str, passed: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": name, "passed": passed, "note": "", **more}


def test_a_failed_row_is_run_again_and_decides_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"If": [_row("If")], "U-Net": [_row("U-Net", False), _row("U-Net")]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "install_missing", lambda: None)
    monkeypatch.setattr(runner, "_measured", lambda name: answers[name].pop(0))
    assert runner.main(["If", "U-Net"]) == 1
    assert runner.main(["If", "U-Net"]) == 0
    assert not any(answers.values())
    assert runner.main(["poetry"]) == 2


def test_a_boundary_above_the_naive_cuts_is_named() -> None:
    row = _row("U-Net", segments=3, exits=[1, 2], boundary=[10.0, 30.0], naive=[10.0, 20.0])
    found = {measure.name: measure for measure in measures([row], minutes=1, quick=True)}
    above = found["boundaries above the naive cut's"]
    assert (above.reached, above.met) == ("U-Net at exit 2", False)
    assert not found["U-Net: boundary bytes saved"].met
