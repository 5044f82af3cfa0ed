from __future__ import annotations

import numpy as np
import pytest
from support.onnx_text import exit_model, run

from etbac.errors import EtbacError
from etbac.passes.exit_model import ExitModel
from etbac.passes.select_exits import select_exits


@pytest.fixture
def model() -> ExitModel:
    return exit_model(
        """(float[B, 3] x) => (float[B, 3] exit_1, float[B, 3] exit_4, float[B, 3] exit_9, float[B, 3] y)
        { a = Neg(x) exit_1 = Relu(a) b = Abs(a) h = Exp(b) exit_4 = Sqrt(h) c = Sin(b) exit_9 = Cos(c) y = Tan(c) }"""
    )


def test_the_other_exits_heads_are_gone_and_the_rest_answers_as_before(model: ExitModel) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    before = run(model.model, {"x": x})
    select_exits(model, [1, 9])
    after = run(model.model, {"x": x})
    assert list(model.exits) == [1, 9]
    assert {node.op_type for node in model.model.graph} == {"Neg", "Relu", "Abs", "Sin", "Cos", "Tan"}
    assert set(after) == {"exit_1", "exit_9", "y"}
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name])


def test_no_exits_leave_the_full_model(model: ExitModel) -> None:
    select_exits(model, [])
    assert [value.name for value in model.model.graph.outputs] == ["y"]


def test_an_exit_that_is_not_there_is_answered_with_those_that_are(model: ExitModel) -> None:
    model.source = {"path": "resnet.pt"}
    with pytest.raises(EtbacError) as error:
        select_exits(model, [1, 5])
    assert str(error.value) == (
        "--exits 1,5: this model has no exit 5; it has exits 1, 4, 9. List them with: etbac inspect resnet.pt"
    )
    assert list(model.exits) == [1, 4, 9]
