from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass
from support.onnx_text import exit_model, ir_model

from etbac.errors import UnsupportedModelError, UsageError
from etbac.passes.model_passes import PassOptions, model_passes
from etbac.passes.pipeline import DumpModels, Pipeline, RecordTimes, together

GRAPH = "(float[B, 3] x) => (float[B, 3] y) { dead = Neg(x) y = Abs(x) }"


TWO_EXITS = """(float[B, 3] x) => (float[B, 3] exit_1, float[B, 3] exit_2, float[B, 3] y)
{ h = Neg(x) exit_1 = Identity(h) exit_2 = Identity(h) y = Identity(h) }"""


class Raise(ir.passes.InPlacePass):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        raise self.error


def test_hooks_see_every_pass_in_order() -> None:
    times, seen = RecordTimes(), []
    hook = together([times, lambda run: seen.append((run.name, run.modified, len(list(run.model.graph))))])
    Pipeline(TopologicalSortPass(), RemoveUnusedNodesPass(), hook=hook)(ir_model(GRAPH))
    assert seen == [("TopologicalSortPass", False, 2), ("RemoveUnusedNodesPass", True, 1)]
    assert [name for name, _ in times.runs] == ["TopologicalSortPass", "RemoveUnusedNodesPass"]


def test_a_dump_holds_the_model_after_every_pass(tmp_path: Path) -> None:
    dump = DumpModels(tmp_path / "dump")
    Pipeline(TopologicalSortPass(), hook=dump)(ir_model(GRAPH))
    Pipeline(RemoveUnusedNodesPass(), hook=dump)(ir_model(GRAPH))
    assert [path.name for path in dump.written] == ["00-TopologicalSortPass.onnx", "01-RemoveUnusedNodesPass.onnx"]
    assert [len(onnx.load(path).graph.node) for path in dump.written] == [2, 1]


def test_dumps_share_large_weights_and_run(tmp_path: Path) -> None:
    model = ir_model("(float[B, 256] x) => (float[B, 256] y) { y = MatMul(x, w) }")
    weight = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    value = ir.Value(name="w", const_value=ir.tensor(weight, name="w"))
    model.graph.register_initializer(value)
    next(iter(model.graph)).replace_input_with(1, value)
    dump = DumpModels(tmp_path)
    Pipeline(TopologicalSortPass(), RemoveUnusedNodesPass(), hook=dump)(model)
    assert (tmp_path / "weights.bin").stat().st_size == weight.nbytes
    assert all(path.stat().st_size < 1000 for path in dump.written)
    for path in dump.written:
        assert np.array_equal(ir.load(path).graph.initializers["w"].const_value.numpy(), weight)  # type: ignore[union-attr]
    assert value.const_value is not None
    assert not isinstance(value.const_value, ir.ExternalTensor)


def test_a_dump_shows_the_gates_one_by_one(tmp_path: Path) -> None:
    dump = DumpModels(tmp_path)
    model_passes(exit_model(TWO_EXITS), PassOptions(hook=dump))
    gated = [path for path in dump.written if path.name.endswith("-AddGate.onnx")]
    assert [len(onnx.load(path).graph.output) for path in gated] == [5, 7]


def test_what_a_pass_raises_names_the_pass() -> None:
    with pytest.raises(UnsupportedModelError, match=r"Raise failed on it \(KeyError: 'x'\)"):
        Pipeline(Raise(KeyError("x")))(ir_model(GRAPH))
    with pytest.raises(UsageError, match=r"^as it is$"):
        Pipeline(Raise(UsageError("as it is")))(ir_model(GRAPH))


def test_a_model_larger_than_a_protobuf_can_hold_goes_through(tmp_path: Path) -> None:
    """3 GB of weights that nobody has read: the passes must leave them where they are."""
    path = tmp_path / "large.onnx"
    side = 1 << 14
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(3 * side * side * 4)
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 18]>
        g (float[B, {side}] x) => (float[B, {side}] exit_1, float[B, {side}] y)
        {{ a = MatMul(x, w_0) exit_1 = MatMul(a, w_1) y = MatMul(a, w_2) }}"""
    )
    for place in range(3):
        weight = model.graph.initializer.add(
            name=f"w_{place}", data_type=onnx.TensorProto.FLOAT, dims=[side, side], data_location=1
        )
        for key, value in {
            "location": "large.bin",
            "offset": place * side * side * 4,
            "length": side * side * 4,
        }.items():
            weight.external_data.add(key=key, value=str(value))
    onnx.save(model, path)

    from etbac.frontend import load_model

    found = model_passes(load_model(path), PassOptions())
    weights = found.model.graph.initializers
    assert all(isinstance(weights[f"w_{place}"].const_value, ir.ExternalTensor) for place in range(3))
    assert [value.name for value in found.model.graph.outputs][-1] == "gate_1.exit_mask"


def test_two_exits_may_give_the_same_value() -> None:
    model = exit_model(TWO_EXITS)
    model_passes(model, PassOptions())
    names = [value.name for value in model.model.graph.outputs]
    assert names[:3] == ["exit_1", "exit_2", "y"]
    assert len(set(names)) == len(names)
