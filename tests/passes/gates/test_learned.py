from __future__ import annotations

import numpy as np
import pytest
from support.onnx_text import exit_model, run

from etbac.errors import UsageError
from etbac.passes.gates import add_gates, create

REDUCED = [("B", "ReduceMax <keepdims = 0> (x, axis)"), ("B, 1", "ReduceMax (x, axis)")]


@pytest.mark.parametrize(("shape", "node"), REDUCED)
def test_confidence_is_the_heads_own_output_and_is_no_field(shape: str, node: str) -> None:
    model = exit_model(
        f"""(float[B, 3] x) => (float[B, 3] exit_1, float[{shape}] exit_1__confidence, float[B, 3] y)
        <int64[1] axis = {{1}}> {{ exit_1 = Neg(x) exit_1__confidence = {node} y = Abs(x) }}"""
    )
    add_gates(model, {1: create("learned", {})})
    assert model.exits == {1: {"prediction": "exit_1"}}
    x = np.array([[0, 0.4, 0], [0.6, 0, 0], [np.nan, 0, 0]], np.float32)
    found = run(model.model, {"x": x, "gate_1.threshold": np.float32(0.5)})
    np.testing.assert_array_equal(found["gate_1.confidence"], np.array([0.4, 0.6, np.nan], np.float32))
    assert found["gate_1.exit_mask"].tolist() == [False, True, False]
    assert set(found) == {"exit_1", "y", "gate_1.confidence", "gate_1.exit_mask"}


def test_another_gate_leaves_the_output_unread() -> None:
    model = exit_model(
        """(float[B, 3] x) => (float[B, 3] exit_1, float[B, 3] exit_1__confidence, float[B, 3] y)
        { exit_1 = Neg(x) exit_1__confidence = Sqrt(x) y = Abs(x) }"""
    )
    add_gates(model, {1: create("max-prob", {})})
    assert model.exits == {1: {"prediction": "exit_1"}}
    assert "exit_1.confidence" not in [value.name for value in model.model.graph.outputs]


def test_a_model_without_the_output_is_told_its_name() -> None:
    model = exit_model("(float[B, 3] x) => (float[B, 3] exit_4, float[B, 3] y) { exit_4 = Neg(x) y = Abs(x) }")
    with pytest.raises(UsageError, match=r"exit_4\.confidence, which this model lacks"):
        add_gates(model, {4: create("learned", {})})
