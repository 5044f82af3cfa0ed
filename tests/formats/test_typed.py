"""Chains in other number formats: valid ONNX, the same contract, and close to the fp32 chain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.chain_checks import compile_case, kept_exits, scale_of
from support.onnx_text import parse
from support.random_graphs import Case, random_graph
from support.segment_chain import SegmentChain, Stage
from support.split_cases import exit_model, weights

from etbac.backends.interface import Int8Options
from etbac.errors import InputError, UnsupportedModelError, UsageError
from etbac.formats import typed
from etbac.formats.half import UseHalfPrecision
from etbac.frontend.exit_graph import from_elsewhere
from etbac.passes.exit_model import Segment
from etbac.passes.gates.base import Gate
from etbac.passes.gates.patience import Patience
from etbac.passes.infer_shapes import InferShapes
from etbac.passes.model_passes import PassOptions, model_passes, segment_passes
from etbac.passes.split import split_at_exits

FP16_TOLERANCE = 5e-3
"""Of the output's scale: float16 has eleven digits, and random graphs are a dozen steps deep."""

MASKED = float(np.finfo(np.float32).min)


def nobody(stage: Stage) -> np.ndarray:
    return np.zeros(len(stage.rows), bool)


def predictions(segments: Sequence[Segment], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Every field of every segment, with all rows passing."""
    thresholds = {segment.contract.exit_id: np.inf for segment in segments}
    stages = SegmentChain(segments).run(inputs, nobody, thresholds)
    return [array for stage in stages for array in stage.predictions.values()]


def check_valid(segments: Sequence[Segment]) -> None:
    """What an ONNX model is checked for, and the tensors that contracts name have the types that they name."""
    for segment in segments:
        onnx.checker.check_model(ir.to_proto(segment.model), full_check=True)
        graph, contract = segment.model.graph, segment.contract
        values = {value.name: value for value in (*graph.inputs, *graph.outputs)}
        for spec in (*contract.inputs, *contract.predictions.values(), *contract.boundary):
            assert values[spec.name].dtype.numpy().name == spec.dtype
        if not contract.is_last:
            assert values["confidence"].dtype == values["threshold"].dtype == ir.DataType.FLOAT
    for segment, following in pairwise(segments):
        given, taken = segment.contract.boundary, following.contract.inputs
        assert [spec.dtype for spec in given] == [spec.dtype for spec in taken]


def segments_of(case: Case) -> list[Segment]:
    return compile_case(case, kept_exits(case))


# -- random graphs --


@pytest.mark.parametrize("first", range(0, 45, 15))
@pytest.mark.parametrize("formats", [("fp16",), ("fp16", "fp32"), ("fp32", "fp16", "fp16")])
def test_random_graphs_in_fp16_are_valid_and_close(first, formats):
    checked = 0
    for seed in range(first, first + 15):
        case = random_graph(seed)
        try:
            segments = segments_of(case)
        except UnsupportedModelError:
            continue
        narrow = typed(segments, [formats[place % len(formats)] for place in range(len(segments))])
        inputs = case.draw(np.random.default_rng(seed), 4)
        pairs = zip(predictions(segments, inputs), predictions(narrow, inputs), strict=True)
        for wide, found in pairs:
            assert found.dtype == wide.dtype
            np.testing.assert_allclose(
                found, wide, rtol=0, atol=FP16_TOLERANCE * scale_of(wide), err_msg=f"random_graph({seed})"
            )
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_in_bf16_are_valid(seed):
    case = random_graph(seed)
    segments = segments_of(case)
    for segment in typed(segments, ["bf16"] * len(segments)):
        onnx.checker.check_model(ir.to_proto(segment.model), full_check=True)


def test_the_segments_given_stay_as_they_are():
    segments = segments_of(random_graph(3))
    before = [ir.to_proto(segment.model).SerializeToString(deterministic=True) for segment in segments]
    typed(segments, ["fp16"] * len(segments))
    assert [ir.to_proto(s.model).SerializeToString(deterministic=True) for s in segments] == before


# -- a small network with convolutions: inputs, exits, formats --


def network(seed: int = 0, masked: bool = False) -> list[Segment]:
    """image [batch, 2, 8, 8] ─ 3 × (Conv, Relu), the last two with a skip; an exit after the first and the second."""
    random = np.random.default_rng(seed)
    nodes, weights = [], {"axes": np.array([2, 3]), "mask": np.array([MASKED], np.float32)}
    trunk = "image"
    for block in range(3):
        channels = 2 if block == 0 else 8
        weights[f"kernel_{block}"] = random.normal(0, (2 / channels / 9) ** 0.5, (8, channels, 3, 3)).astype(np.float32)
        weights[f"bias_{block}"] = random.normal(0, 0.1, 8).astype(np.float32)
        names = [trunk, f"kernel_{block}", f"bias_{block}"]
        nodes.append(helper.make_node("Conv", names, [f"conv_{block}"], pads=[1, 1, 1, 1]))
        total = f"conv_{block}"
        if block:
            total = f"sum_{block}"
            nodes.append(helper.make_node("Add", [f"conv_{block}", trunk], [total]))
        nodes.append(helper.make_node("Relu", [total], [f"relu_{block}"]))
        trunk = f"relu_{block}"
        nodes.append(helper.make_node("GlobalAveragePool", [trunk], [f"pooled_{block}"]))
        nodes.append(helper.make_node("Flatten", [f"pooled_{block}"], [f"flat_{block}"]))
        weights[f"head_{block}"] = random.normal(0, 1, (8, 5)).astype(np.float32)
        output = f"exit_{block + 1}" if block < 2 else "output"
        logits = f"logits_{block}" if masked else output
        nodes.append(helper.make_node("Gemm", [f"flat_{block}", f"head_{block}"], [logits]))
        if masked:
            nodes += [
                helper.make_node("Slice", [logits, "one", "two", "one"], [f"first_{block}"]),
                helper.make_node("Mul", [f"first_{block}", "zero"], [f"none_{block}"]),
                helper.make_node("Add", [f"none_{block}", "mask"], [f"huge_{block}"]),
                helper.make_node("Add", [logits, f"huge_{block}"], [f"masked_{block}"]),
                helper.make_node("Softmax", [f"masked_{block}"], [output]),
            ]
    if masked:
        weights |= {"one": np.array([1]), "two": np.array([2]), "zero": np.zeros(1, np.float32)}
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 5]) for n in ("exit_1", "exit_2", "output")
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 2, 8, 8])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    exit_model = from_elsewhere(ir.from_proto(model), "network.onnx", {"path": "network.onnx"})
    return [segment_passes(s) for s in split_at_exits(model_passes(exit_model, PassOptions()), 8)]


def segments_of_text(text: str, gate: Gate | None = None) -> list[Segment]:
    model = from_elsewhere(exit_model(text).model, "text.onnx", {"path": "text.onnx"})
    return [segment_passes(s) for s in split_at_exits(model_passes(model, PassOptions(gate=gate)), 8)]


def images(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(seed).normal(size=(rows, 2, 8, 8)).astype(np.float32)}


MIXTURES = [
    ("fp16", "fp16", "fp16"),
    ("fp16", "fp32", "fp16"),
    ("fp32", "fp16", "fp16"),
    ("int8", "int8", "int8"),
    ("fp16", "int8", "fp32"),
    ("int8", "fp16", "fp16"),
    ("fp32", "int8", "int8"),
]


@pytest.mark.parametrize("formats", MIXTURES)
def test_every_mixture_of_formats_keeps_the_contract_and_the_answers(formats):
    segments, inputs = network(), images(64, seed=1)
    mixed = typed(segments, formats, images(128))
    check_valid(mixed)
    for wide, found in zip(predictions(segments, inputs), predictions(mixed, inputs), strict=True):
        assert np.abs(found - wide).max() <= 0.05 * scale_of(wide)
        assert (found.argmax(1) == wide.argmax(1)).mean() >= 0.9


@pytest.mark.parametrize("formats", MIXTURES)
def test_boundaries_are_narrow_between_fp16_segments_and_nowhere_else(formats):
    mixed = typed(network(), formats, images(32))
    for place in range(2):
        wanted = "float16" if formats[place] == formats[place + 1] == "fp16" else "float32"
        assert {spec.dtype for spec in mixed[place].contract.boundary} == {wanted}


def test_a_boundary_tensor_that_only_a_later_gate_reads_stays_wide():
    segments = segments_of_text(
        f"""(float[N,64] x) => (float[N,8] exit_1, float[N,8] exit_2, float[N,8] y)
        <{weights(a=(64, 64), small=(64, 1), large=(1, 8), head=(64, 8))}> {{
        b = MatMul(x, a)
        c = Tanh(b)
        d = MatMul(c, a)
        own = MatMul(d, small)
        exit_1 = MatMul(own, large)
        e = MatMul(x, a)
        f = MatMul(e, a)
        exit_2 = MatMul(f, head)
        g = MatMul(f, a)
        h = Tanh(g)
        y = MatMul(h, head)
        }}""",
        Patience(),
    )
    first, *_ = typed(segments, ["fp16"] * 3)
    assert [(spec.name, spec.dtype) for spec in first.contract.boundary] == [
        ("next.x", "float16"),
        ("next.own", "float32"),
    ]


def test_what_is_handed_on_and_read_inside_is_cast_once():
    segments = segments_of_text(f"""(float[N,4] x) => (float[N,4] exit_1, float[N,4] y) <{weights(a=(4, 4))}> {{
        m = MatMul(x, a)
        h = Softmax(m)
        exit_1 = MatMul(h, a)
        y = MatMul(h, a)
        }}""")
    casts = [node for node in typed(segments, ["fp16", "fp16"])[0].model.graph if node.op_type == "Cast"]
    assert len({(node.inputs[0], node.attributes["to"].value) for node in casts}) == len(casts)


def test_a_cast_of_what_is_wide_anyway_is_no_reason_to_narrow_it():
    model = exit_model("""(float[N,4] x) => (float[N,4] y, float[N,4] z) {
        s = Softmax(x)
        y = Cast<to=1>(s)
        z = Relu(y)
        }""").model
    InferShapes()(model)
    UseHalfPrecision(ir.DataType.FLOAT16)(model)
    assert model.graph.outputs[0].name == "y"
    assert model.graph.outputs[0].producer().op_type == "Softmax"


@pytest.mark.parametrize("format_", ["fp16", "int8"])
@pytest.mark.parametrize("kept", [[0], [4], [1, 2, 5]])
def test_rows_that_stay_are_those_of_the_whole_batch(format_, kept):
    mixed, inputs = typed(network(), [format_] * 3, images(64)), images(6, seed=2)
    thresholds = {segment.contract.exit_id: np.inf for segment in mixed}
    *_, whole = SegmentChain(mixed).run(inputs, nobody, thresholds)
    chain = SegmentChain(mixed)
    *_, part = chain.run(inputs, lambda stage: ~np.isin(stage.rows, kept), thresholds)
    assert part.rows.tolist() == kept
    expected = whole.predictions["prediction"][kept]
    np.testing.assert_allclose(part.predictions["prediction"], expected, atol=2e-3 * scale_of(expected))


@pytest.mark.parametrize("format_", ["fp16", "int8"])
def test_masks_that_float16_cannot_hold_do_no_harm(format_):
    segments, inputs = network(masked=True), images(16, seed=3)
    narrow = typed(segments, [format_] * 3, images(64))
    for wide, found in zip(predictions(segments, inputs), predictions(narrow, inputs), strict=True):
        assert np.isfinite(found).all()
        assert np.abs(found - wide).max() <= 0.05


def test_weights_take_half_the_bytes_in_fp16_and_a_quarter_in_int8():
    segments = network()
    sizes = {}
    for format_ in ("fp16", "int8"):
        (model, *_) = (segment.model for segment in typed(segments, [format_] * 3, images(32)))
        kernels = [v.const_value for v in model.graph.initializers.values() if tuple(v.shape or ()) == (8, 2, 3, 3)]
        sizes[format_] = [tensor.nbytes for tensor in kernels if tensor is not None]
    assert sizes == {"fp16": [8 * 2 * 9 * 2], "int8": [8 * 2 * 9]}


def test_symmetric_int8_has_no_zero_points_and_no_quantized_biases():
    for segment in typed(network(), ["int8"] * 3, images(32), Int8Options(symmetric=True)):
        constants = segment.model.graph.initializers
        products = 0
        for node in segment.model.graph:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.inputs) == 3:
                zero_point = constants[node.inputs[2].name].const_value
                assert zero_point.dtype == ir.DataType.INT8
                assert not zero_point.numpy().any()
            products += node.op_type == "Conv" and node.inputs[2].name in constants
        assert products == sum(node.op_type == "Conv" for node in segment.model.graph)


def test_int8_without_inputs_or_with_the_wrong_ones_is_refused():
    with pytest.raises(UsageError, match="--data"):
        typed(network(), ["int8"] * 3)
    with pytest.raises(InputError, match="image"):
        typed(network(), ["int8"] * 3, {"picture": images(4)["image"]})
    with pytest.raises(InputError, match="no sample"):
        typed(network(), ["int8"] * 3, images(0))
    with pytest.raises(InputError, match="numbers that are not finite on these inputs"):
        typed(network(), ["int8"] * 3, {"image": images(4)["image"] * np.float32(np.inf)})


def test_seven_bit_weights_lie_within_64():
    (first, *_) = typed(network(), ["int8"] * 3, images(32), Int8Options(seven_bit_weights=True))
    tensors = [v.const_value for v in first.model.graph.initializers.values() if tuple(v.shape or ()) == (8, 2, 3, 3)]
    assert [int(np.abs(tensor.numpy().astype(int)).max()) for tensor in tensors] == [64]


def test_int8_quantizes_what_follows_convolutions_and_keeps_last_layers_and_gates_in_fp32():
    for segment in typed(network(), ["int8"] * 3, images(32)):
        for node in segment.model.graph:
            reads = [value.producer().op_type for value in node.inputs if value is not None and value.producer()]
            if node.op_type in ("Conv", "Add", "GlobalAveragePool"):
                assert set(reads) == {"DequantizeLinear"}
            if node.op_type in ("Softmax", "ReduceMax", "GreaterOrEqual"):
                assert "DequantizeLinear" not in reads
            if node.op_type == "Gemm":
                assert node.inputs[1].dtype == ir.DataType.FLOAT
                assert node.inputs[1].const_value is not None


def test_a_chain_without_a_product_to_quantize_stays_in_fp32():
    graph = "(float[batch, 4] x) => (float[batch, 4] exit_1, float[batch, 4] y) { exit_1 = Relu(x)  y = Tanh(exit_1) }"
    exit_model = from_elsewhere(ir.from_proto(parse(graph)), "relu.onnx", {"path": "relu.onnx"})
    segments = [segment_passes(s) for s in split_at_exits(model_passes(exit_model, PassOptions()), 8)]
    for segment in typed(segments, ["int8"] * 2, {"x": np.ones((4, 4), np.float32)}):
        assert not [node for node in segment.model.graph if "Quantize" in node.op_type]
