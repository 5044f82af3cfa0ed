"""Folding constants and batch norms: the same answers at every batch size, and what must stay stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from support.onnx_text import ir_model, parse, run

from etbac.errors import UnsupportedModelError
from etbac.passes.fold_batch_norm import FoldBatchNorm
from etbac.passes.fold_constants import FoldConstants
from etbac.passes.infer_shapes import InferShapes
from etbac.passes.refuse_training_mode import RefuseTrainingMode

FROM_SHAPES = """(float[B, 8, 4] x) => (float[B, 32] y)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] eight = {8}, int64[1] four = {4}>
{ s = Shape(x) b = Slice(s, zero, one) n = Mul(eight, four)
target = Concat <axis = 0> (b, n) y = Reshape(x, target) }"""

CONV = """(float[B, 2, 5, 5] x) => (float[B, 3, 3, 3] y)
{{ c = Conv(x, w) {use} y = BatchNormalization <epsilon = 0.01{mode}> (c, scale, bias, mean, var) }}"""


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_sizes_are_folded_and_the_batch_is_not() -> None:
    model = ir_model(FROM_SHAPES)
    InferShapes()(model)
    FoldConstants()(model)
    assert "Mul" not in _ops(model)
    for batch in (1, 2, 5):
        x = np.random.default_rng(batch).standard_normal((batch, 8, 4)).astype(np.float32)
        np.testing.assert_array_equal(run(model, {"x": x})["y"], x.reshape(batch, 32))


def test_a_recorded_batch_size_is_not_believed() -> None:
    """A file exported at batch 2 may say so of every value inside."""
    proto = parse(FROM_SHAPES)
    for name, dims in {"s": [3], "b": [1]}.items():
        proto.graph.value_info.add(name=name).type.tensor_type.elem_type = 7
        for dim in dims:
            proto.graph.value_info[-1].type.tensor_type.shape.dim.add(dim_value=dim)
    proto.graph.node.insert(0, parse("(float[B, 8, 4] x) => (float[B, 8, 4] h) { h = Neg(x) }").graph.node[0])
    proto.graph.node[1].input[0] = "h"
    lie = proto.graph.value_info.add(name="h").type.tensor_type
    lie.elem_type = 1
    for size in (2, 8, 4):
        lie.shape.dim.add(dim_value=size)
    model = ir.from_proto(proto)
    InferShapes(trust_static=False)(model)
    FoldConstants()(model)
    x = np.ones((5, 8, 4), np.float32)
    assert run(model, {"x": x})["y"].shape == (5, 32)


@pytest.mark.parametrize(
    "node",
    ["large = Tile(one, n)", "large = Expand(one, n)", "large = ConstantOfShape(n)"],
)
def test_what_would_grow_is_left_alone(node: str) -> None:
    model = ir_model(
        f"""(float[B, 8] x) => (float[B, 8] y) <int64[1] one = {{1}}, int64[1] n = {{1099511627776}}>
        {{ {node} f = Cast <to = 1> (large) m = ReduceMean <keepdims = 0> (f) y = Add(x, m) }}"""
    )
    FoldConstants()(model)
    assert node.split(" = ")[1].split("(")[0] in _ops(model)


def _conv(use: str = "", mode: str = "") -> ir.Model:
    model = ir_model(CONV.format(use=use, mode=mode))
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((3, 2, 3, 3)), "scale": rng.standard_normal(3), "bias": rng.standard_normal(3)}
    weights |= {"mean": rng.standard_normal(3), "var": rng.uniform(0.5, 2, 3)}
    for node in model.graph:
        for place, value in enumerate(node.inputs):
            if value is not None and value.name in weights:
                name = value.name
                found = model.graph.initializers.get(name)
                if found is None:
                    found = ir.Value(name=name, const_value=ir.tensor(weights[name].astype(np.float32), name=name))
                    model.graph.register_initializer(found)
                node.replace_input_with(place, found)
    return model


def test_a_batch_norm_disappears_into_its_convolution() -> None:
    model = _conv()
    x = {"x": np.random.default_rng(1).standard_normal((3, 2, 5, 5)).astype(np.float32)}
    expected = run(model, x)["y"]
    FoldBatchNorm()(model)
    assert _ops(model) == ["Conv"]
    np.testing.assert_allclose(run(model, x)["y"], expected, rtol=1e-5, atol=1e-5)


def test_a_convolution_that_others_read_keeps_its_batch_norm() -> None:
    model = _conv("other = Relu(c)")
    (relu,) = (node for node in model.graph if node.op_type == "Relu")
    model.graph.outputs.append(relu.outputs[0])
    relu.outputs[0].dtype = ir.DataType.FLOAT
    FoldBatchNorm()(model)
    assert "BatchNormalization" in _ops(model)


def test_a_batch_norm_in_training_mode_is_refused_before_it_could_be_folded() -> None:
    with pytest.raises(UnsupportedModelError, match=r"BatchNormalization .* is in training mode"):
        RefuseTrainingMode()(_conv(mode=", training_mode = 1"))


@pytest.mark.parametrize(("mode", "refused"), [("{0}", False), ("{1}", True)])
def test_a_dropout_is_refused_in_training_mode_alone(mode: str, refused: bool) -> None:
    model = ir_model(
        f"""(float[B, 8] x) => (float[B, 8] y) <float ratio = {{0.5}}, bool mode = {mode}>
        {{ y = Dropout(x, ratio, mode) }}"""
    )
    if refused:
        with pytest.raises(UnsupportedModelError, match="Dropout"):
            RefuseTrainingMode()(model)
    else:
        RefuseTrainingMode()(model)
