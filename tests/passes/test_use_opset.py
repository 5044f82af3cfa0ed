from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from support.onnx_text import parse, run

from etbac.errors import UnsupportedModelError
from etbac.passes.use_opset import UseOpset

REDUCED = "(float[B, 3] x) => (float[B, 3] y, float[B] z) {{ y = Softmax <axis = 1> (x) z = {reduce} }}"
AXES_AS_ATTRIBUTE = "ReduceMax <axes = [1], keepdims = 0> (y)"


@pytest.mark.parametrize(("opset", "after"), [(9, 18), (11, 18), (12, 18), (13, 18), (17, 18)])
def test_an_older_model_is_converted_up_and_answers_as_before(opset: int, after: int) -> None:
    model = parse(REDUCED.format(reduce=AXES_AS_ATTRIBUTE), opset)
    x = {"x": np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)}
    converted = ir.from_proto(model)
    UseOpset()(converted)
    assert converted.opset_imports[""] == after
    before, found = run(model, x), run(converted, x)
    assert list(before) == list(found)
    for name, array in before.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6)


@pytest.mark.parametrize("opset", [18, 21])
def test_a_later_model_is_left_as_it_is(opset: int) -> None:
    model = ir.from_proto(parse("(float[B, 3] x) => (float[B, 3] y) { y = Softmax(x) }", opset))
    assert not UseOpset()(model).modified
    assert model.opset_imports[""] == opset


def test_a_model_without_an_operator_set_is_refused() -> None:
    model = ir.from_proto(parse("(float[B, 3] x) => (float[B, 3] y) { y = Softmax(x) }"))
    model.opset_imports.clear()
    with pytest.raises(UnsupportedModelError, match="export it again with opset 18"):
        UseOpset()(model)
