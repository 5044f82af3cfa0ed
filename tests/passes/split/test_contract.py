"""What segments take and give: names, fields, odd inputs and outputs, and what stays in the graph."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from support.split_cases import (
    bert,
    carried,
    check_split,
    cut,
    exit_model,
    from_proto,
    gated,
    operators,
    vectors,
    weights,
)

from etbac.errors import UnsupportedModelError
from etbac.passes.split import split_at_exits


def test_values_without_a_batch_are_handed_on_whole() -> None:
    model = exit_model(
        f"""(float[N,4] x, float t, float[4] prior) => (float[N,4] exit_1, float[N,4] y)
        <{weights(a=(4, 4))}> {{
        m = MatMul(x, a)
        exit_1 = Add(m, prior)
        k = Exp(t)
        n = MatMul(m, a)
        s = Mul(n, k)
        y = Add(s, prior)
        }}""",
        {"t": None, "prior": None},
    )
    segments = check_split(model)
    axes = {spec.name: spec.batch_axis for spec in segments[1].contract.inputs}
    assert axes["m"] == 0
    assert axes["prior"] is None


def test_odd_outputs() -> None:
    """Exits that read an input, that equal each other, that are a boundary tensor, that ensemble earlier ones."""
    model = exit_model(f"""(float[N,4] x, float[N,4] unread)
        => (float[N,4] exit_1, float[N,4] exit_2, float[N,4] exit_3, float[N,4] y)
        <{weights(a=(4, 4))}> {{
        exit_1 = MatMul(x, a)
        exit_2 = Identity(exit_1)
        t = Tanh(exit_2)
        exit_3 = Add(t, exit_1)
        y = MatMul(exit_3, a)
        }}""")
    segments = check_split(model)
    assert [spec.name for spec in segments[0].contract.inputs] == ["x"]


def test_what_a_node_gives_is_handed_on_without_a_copy() -> None:
    model = exit_model(f"""(float[N,4] x) => (float[N,4] exit_1, float[N,4] y) <{weights(a=(4, 4))}> {{
        t = MatMul(x, a)
        exit_1 = Tanh(t)
        y = MatMul(t, a)
        }}""")
    segments = check_split(model)
    assert "Identity" not in [node.op_type for segment in segments for node in segment.model.graph]


def test_an_exit_may_be_an_input() -> None:
    model = exit_model(f"""(float[N,4] exit_1) => (float[N,4] y) <{weights(a=(4, 4))}> {{ y = MatMul(exit_1, a) }}""")
    graph = model.model.graph
    graph.outputs.insert(0, graph.inputs[0])
    check_split(from_proto(ir.to_proto(model.model)))


def test_outputs_with_the_batch_elsewhere_are_transposed() -> None:
    model = exit_model(f"""(float[N,3,4] x) => (float[3,N,4] exit_1, float[3,N,4] y) <{weights(a=(4, 4))}> {{
        t = Transpose<perm=[1,0,2]>(x)
        exit_1 = MatMul(t, a)
        r = Tanh(exit_1)
        y = MatMul(r, a)
        }}""")
    segments = check_split(model)
    assert segments[0].contract.predictions["prediction"].shape == ("batch", 3, 4)


def test_several_fields() -> None:
    model = exit_model(f"""(float[N,4] x)
        => (float[N,4] "exit_1.logits", float[N,2,2] "exit_1.map", float[N,4] "y.logits", float[N,2,2] "y.map")
        <{weights(a=(4, 4))}, {vectors(shape=[0, 2, 2])}> {{
        "exit_1.logits" = MatMul(x, a)
        "exit_1.map" = Reshape("exit_1.logits", shape)
        "y.logits" = MatMul("exit_1.logits", a)
        "y.map" = Reshape("y.logits", shape)
        }}""")
    (first, last) = check_split(model)
    assert first.contract.predictions["map"].name == "prediction.map"
    assert list(last.contract.predictions) == ["logits", "map"]


def test_names_that_the_contract_needs_are_given_way_to() -> None:
    model = exit_model(f"""(float[N,4] x) => (float[N,4] exit_1, float[N,4] y) <{weights(a=(4, 4))}> {{
        keep = MatMul(x, a)
        exit_1 = Tanh(keep)
        threshold = MatMul(keep, a)
        prediction = Relu(threshold)
        confidence = Add(prediction, keep)
        y = MatMul(confidence, a)
        }}""")
    check_split(model)


def test_an_input_with_a_name_that_the_contract_needs_is_refused() -> None:
    model = exit_model(f"""(float[N,4] threshold) => (float[N,4] exit_1, float[N,4] y) <{weights(a=(4, 4))}> {{
        exit_1 = MatMul(threshold, a)
        y = MatMul(exit_1, a)
        }}""")
    with pytest.raises(UnsupportedModelError, match=r"'threshold'.*rename the input"):
        cut(model)


def test_a_segment_holds_only_its_own_nodes_and_weights() -> None:
    model = exit_model(f"""(float[N,4] x) => (float[N,4] exit_1, float[N,4] y) <{weights(a=(4, 4), b=(4, 4))}> {{
        m = MatMul(x, a)
        exit_1 = MatMul(m, a)
        n = MatMul(m, b)
        y = MatMul(n, a)
        }}""")
    first, last = check_split(model)
    assert set(first.model.graph.initializers) == {"a", "gate_1.axes"}
    assert set(last.model.graph.initializers) == {"a", "b"}
    shared = [segment.model.graph.initializers["a"].const_value for segment in (first, last)]
    assert shared[0] is shared[1]


def test_the_model_is_left_as_it_was() -> None:
    model = gated(exit_model(bert()))
    before = ir.to_proto(model.model).SerializeToString()
    split_at_exits(model)
    assert ir.to_proto(model.model).SerializeToString() == before


def test_segments_pass_the_onnx_checker() -> None:
    for segment in cut(exit_model(bert())):
        onnx.checker.check_model(ir.to_proto(segment.model), full_check=True)


def test_attention_operators_of_opset_23() -> None:
    model = exit_model(
        f"""(float[N,L,8] x, bool[N,1,L,L] mask) => (float[N,8] exit_1, float[N,8] y)
        <{weights(a=(8, 8), g=(8,))}, {vectors(one=[1])}> {{
        q = MatMul(x, a)
        n = RMSNormalization(q, g)
        o = Attention<q_num_heads=2, kv_num_heads=2>(n, q, x, mask)
        exit_1 = ReduceMean<keepdims=0>(o, one)
        p = Attention<q_num_heads=2, kv_num_heads=2>(o, o, n, mask)
        y = ReduceMean<keepdims=0>(p, one)
        }}""",
        opset=23,
    )
    check_split(model, sizes={"L": 5})


def test_a_whole_network_inside_one_branch_is_one_segments_work() -> None:
    model = exit_model(
        f"""(float[N,4] x, bool flag) => (float[N,4] exit_1, float[N,4] y) <{weights(a=(4, 4))}> {{
        exit_1, y = If(flag) <
            then_branch = then () => (float[K,4] p, float[K,4] r) {{ p = MatMul(x, a) q = Tanh(p) r = MatMul(q, a) }},
            else_branch = otherwise () => (float[K,4] s, float[K,4] t) {{ s = Neg(x) t = Identity(x) }}>
        }}""",
        {"flag": None},
    )
    segments = check_split(model)
    assert ["If" in operators(segment) for segment in segments] == [True, False]
    assert carried(segments) == [["y"]]


def test_an_operator_of_another_domain_is_refused_only_where_it_touches_the_batch() -> None:
    text = f"""(float[N,4] x) => (float[N,4] exit_1, float[N,4] y) <{weights(a=(4, 4))}> {{
        exit_1 = MatMul(x, a)
        y = com.microsoft.BiasGelu(exit_1, exit_1)
        }}"""
    with pytest.raises(UnsupportedModelError, match=r"com\.microsoft\.BiasGelu .*is not known"):
        cut(exit_model(text, domains=["com.microsoft"]))


def test_what_cannot_be_carried_is_computed_again() -> None:
    """Two dynamic sizes merged with the batch: the cut moves to where the batch is alone."""
    model = exit_model(
        """(float[N,L,M,4] x) => (float[N,4] exit_1, float[N,4] y) <int64[2] flat = {-1, 4}, int64[2] axes = {1, 2}> {
        s = Shape(x)
        m = Reshape(x, flat)
        w = Softmax(m)
        r = Reshape(w, s)
        exit_1 = ReduceMax<keepdims=0>(r, axes)
        v = Softmax(w)
        b = Reshape(v, s)
        y = ReduceMax<keepdims=0>(b, axes)
        }"""
    )
    segments = check_split(model, sizes={"L": 3, "M": 2})
    assert all(spec.batch_axis in (None, 0) for spec in segments[0].contract.boundary)
