from __future__ import annotations

import onnx_ir as ir
import pytest
from support.onnx_text import exit_model, ir_model

from etbac.errors import EtbacError, UnsupportedModelError, UsageError
from etbac.frontend.exit_graph import from_elsewhere
from etbac.frontend.inputs import InputShape
from etbac.frontend.outputs import find_exits


def test_exits_are_found_by_name_in_the_order_of_their_ids() -> None:
    exits, full = find_exits(["exit_10", "logits", "exit_2"], [], "m.onnx")
    assert list(exits.items()) == [(2, {"prediction": "exit_2"}), (10, {"prediction": "exit_10"})]
    assert full == {"prediction": "logits"}


def test_several_fields_are_matched_with_the_full_models() -> None:
    names = ["exit_1.boxes", "exit_1.scores", "scores", "prediction.boxes", "exit_1.confidence"]
    exits, full = find_exits(names, [], "m.onnx")
    assert full == {"scores": "scores", "boxes": "prediction.boxes"}
    assert exits == {1: {"scores": "exit_1.scores", "boxes": "exit_1.boxes", "confidence": "exit_1.confidence"}}


def test_exits_are_named_by_the_user() -> None:
    exits, full = find_exits(["a", "b", "c"], ["7=b", "3=a"], "m.onnx")
    assert exits == {3: {"prediction": "a"}, 7: {"prediction": "b"}}
    assert full == {"prediction": "c"}
    exits, full = find_exits(["a", "b", "x", "y"], ["1.x=a", "1.y=b"], "m.onnx")
    assert exits == {1: {"x": "a", "y": "b"}}
    assert full == {"x": "x", "y": "y"}


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        (["a", "b"], [], "no output named exit_<id>; name its exits with --exit ID=OUTPUT. Its outputs are a, b"),
        (["exit_0", "b"], [], "no output named exit_<id>"),
        (["exit_1", "exit_2"], [], "no output of the full model"),
        (["a", "b"], ["1=c"], "--exit 1=c: m.onnx has no output 'c'; its outputs are a, b"),
        (["a", "b"], ["1=a", "1=b"], "given twice"),
        (["a", "b"], ["1=a", "2=a"], "given twice"),
        (["a", "b"], ["one=a"], "write ID=OUTPUT"),
        (["a", "b"], ["0=a"], "write ID=OUTPUT"),
        (["exit_1.x", "x", "y"], [], "exit 1 of m.onnx has the fields x and the full model has x, y"),
        (["exit_1", "x", "y"], [], "exit 1 of m.onnx has the fields prediction and the full model has x, y"),
    ],
)
def test_outputs_that_make_no_exits_are_explained(names: list[str], asked: list[str], message: str) -> None:
    with pytest.raises(EtbacError) as error:
        find_exits(names, asked, "m.onnx")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("shape", "node", "message"),
    [
        ("float[B, 2]", "exit_1 = Slice(x, zero, two, one)", r"FLOAT \[batch, 2\].*FLOAT \[batch, 3\]"),
        ("double[B, 3]", "exit_1 = Cast <to = 11> (x)", r"DOUBLE \[batch, 3\].*FLOAT \[batch, 3\]"),
        ("float[B, 3, 1]", "exit_1 = Unsqueeze(x, two)", r"FLOAT \[batch, 3, 1\]"),
    ],
)
def test_an_exit_of_another_shape_or_type_is_refused(shape: str, node: str, message: str) -> None:
    graph = f"""(float[B, 3] x) => ({shape} exit_1, float[B, 3] y)
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}> {{ {node} y = Abs(x) }}"""
    with pytest.raises(UnsupportedModelError, match=message):
        exit_model(graph)


@pytest.mark.parametrize(
    ("inputs", "axes"),
    [
        ("float[batch, 3] x, float[3] s", {"x": 0, "s": None}),
        ("float[T, batch, 3] x, float s", {"x": 1, "s": None}),
        ("float[N, N, 3] x, float[N, 1, 1] s", {"x": 0, "s": 0}),
        ("float[M, 3] x, float[K, 3] s", {"x": 0, "s": 0}),
    ],
)
def test_the_batch_is_found_on_every_input_and_gets_one_name(inputs: str, axes: dict[str, int | None]) -> None:
    rank = inputs.split("]")[0].count(",")
    shape = ", ".join(["?"] * rank + ["3"]) if rank > 1 else "M, 3"
    model = ir_model(f"({inputs}) => (float[{shape}] exit_1, float[{shape}] y) {{ exit_1 = Mul(x, s) y = Add(x, s) }}")
    found = from_elsewhere(model, "m.onnx", {})
    assert found.batch_axes == axes
    for spec in found.input_specs():
        assert [axis for axis, dim in enumerate(spec.shape) if dim == "batch"] == [axes[spec.name]][
            : axes[spec.name] is not None
        ]


def test_a_negative_batch_size_is_a_dynamic_one() -> None:
    model = ir_model("(float[B, 3] x) => (float[B, 3] exit_1, float[B, 3] y) { exit_1 = Neg(x) y = Abs(x) }")
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = ir.Shape([-1, 3])
    found = from_elsewhere(model, "m.onnx", {})
    assert found.batch_axes == {"x": 0}
    assert [spec.shape for spec in found.input_specs()] == [("batch", 3)]


def test_the_user_says_where_the_batch_is() -> None:
    graph = "(float[P, Q, 3] x) => (float[P, Q, 3] exit_1, float[P, Q, 3] y) { exit_1 = Neg(x) y = Abs(x) }"
    found = from_elsewhere(ir_model(graph), "m.onnx", {}, input_shapes={"x": InputShape((5, "B", 3))})
    assert found.batch_axes == {"x": 1}
    assert [spec.shape for spec in found.input_specs()] == [(5, "batch", 3)]
    for shapes, message in (
        ({"z": InputShape(("B",))}, "no such input; its inputs are x"),
        ({"x": InputShape(("B", 3))}, "3 axes"),
    ):
        with pytest.raises(UsageError, match=message):
            from_elsewhere(ir_model(graph), "m.onnx", {}, input_shapes=shapes)


def test_a_model_whose_one_output_is_the_prediction_has_no_exits():
    assert find_exits(["prediction"], [], "m.onnx") == ({}, {"prediction": "prediction"})
