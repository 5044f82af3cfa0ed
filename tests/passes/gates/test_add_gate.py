"""What holds for every gate, whatever it computes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from support.onnx_text import exit_model, ir_model, run

from etbac.passes.exit_model import ExitModel
from etbac.passes.gates import add_gates
from etbac.passes.gates.max_prob import MaxProb
from etbac.passes.model_passes import PassOptions, model_passes
from etbac.passes.split import split_at_exits

ON_AXIS_1 = {
    "batch": "(float[3, batch] x) => (float[3, batch] exit_1, float[3, batch] y) { exit_1 = Neg(x) y = Abs(x) }",
    "another name": "(float[3, N] x) => (float[3, N] exit_1, float[3, N] y) { exit_1 = Neg(x) y = Abs(x) }",
    "a size that inference cannot name": """(float[3, N] x) => (float[3, Q] exit_1, float[3, Q] y)
        <int64[2] sizes = {3, -1}> { exit_1 = Neg(h) h = Reshape(x, sizes) y = Abs(h) }""",
}


@pytest.mark.parametrize("called", ON_AXIS_1)
def test_a_batch_on_another_axis_is_brought_first_whatever_it_is_called(called: str) -> None:
    model = exit_model(ON_AXIS_1[called])
    model_passes(model, PassOptions(gate=MaxProb()))
    assert len(split_at_exits(model)) == 2
    x = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    found = run(model.model, {"x": x, "gate_1.threshold": np.float32(0.5)})
    np.testing.assert_allclose(found["gate_1.confidence"], softmax(-x, axis=0).max(axis=0), rtol=1e-5)


@pytest.mark.parametrize(("dtype", "numpy_type"), [("float16", np.float16), ("double", np.float64)])
def test_confidence_is_float32_whatever_the_model_computes_in(dtype: str, numpy_type: type) -> None:
    model = exit_model(f"({dtype}[B, 3] x) => ({dtype}[B, 3] exit_1, {dtype}[B, 3] y) {{ exit_1 = Neg(x) y = Abs(x) }}")
    add_gates(model, {1: MaxProb()})
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(numpy_type)
    confidence = run(model.model, {"x": x, "gate_1.threshold": np.float32(0.5)})["gate_1.confidence"]
    assert confidence.dtype == np.float32
    np.testing.assert_allclose(confidence, softmax(-x.astype(np.float32), axis=1).max(axis=1), rtol=1e-3)


def test_the_values_of_a_gate_are_named_after_its_exit() -> None:
    graph = "(float[B, 3] x) => (float[B, 3] exit_5, float[B, 3] y) { exit_5 = Neg(x) y = Abs(x) }"
    model = ExitModel(ir_model(graph), {5: {"prediction": "exit_5"}}, {"prediction": "y"}, {"x": 0})
    before = {value.name for node in model.model.graph for value in node.outputs}
    add_gates(model, {5: MaxProb(temperature=2.0)})
    graph_after = model.model.graph
    new = {value.name for node in graph_after for value in node.outputs} | set(graph_after.initializers)
    assert all(str(name).startswith("gate_5.") for name in new - before)
    assert [value.name for value in graph_after.inputs] == ["x", "gate_5.threshold"]
    assert [value.name for value in graph_after.outputs] == ["exit_5", "y", "gate_5.confidence", "gate_5.exit_mask"]
