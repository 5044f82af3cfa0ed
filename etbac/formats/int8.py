"""int8 by static quantisation: ONNX Runtime's quantiser with ranges of our own measuring."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from etbac.backends.interface import Int8Options
from etbac.backends.onnxruntime_backend import thread_pool
from etbac.formats.calibrate import Ranges
from etbac.formats.wide import is_float
from etbac.passes.exit_model import Segment
from etbac.passes.quiet import quiet

WEIGHTED = ("Conv", "MatMul", "Gemm")
BETWEEN = ("Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool")
"""Quantised too behind a convolution, so that numbers do not go to fp32 and back between two of them."""


def quantized_nodes(segment: Segment, gates: Collection[str], options: Int8Options) -> list[ir.Node]:
    """The nodes of a segment that compute in int8: products with weights, and what follows convolutions.

    Sums behind matrix products stay in fp32: in a transformer they lead to norms, which need fp32 anyway, and int8
    there made the answers of a small BERT with random weights differ three times as much, and was not faster.
    The last layer of every prediction stays in fp32 too: it is small, and it decides confidences.
    """
    kept = _last_layers(segment)
    chosen: dict[ir.Node, None] = {}
    for node in segment.model.graph:
        if node in kept or not is_float(node.outputs[0]) or any(value.name in gates for value in node.outputs):
            continue
        follows = not options.symmetric and node.op_type in BETWEEN and _follows_convolution(node, chosen)
        if follows or (node.op_type in WEIGHTED and _has_weights(node)):
            chosen[node] = None
    return list(chosen)


def _follows_convolution(node: ir.Node, chosen: Collection[ir.Node]) -> bool:
    producers = [value.producer() for value in node.inputs if value is not None]
    return any(p in chosen and p.op_type in ("Conv", *BETWEEN) for p in producers if p is not None)


def _has_weights(node: ir.Node) -> bool:
    """Products of two computed tensors (attention's) stay in fp32."""
    return node.inputs[1] is not None and node.inputs[1].const_value is not None


def _last_layers(segment: Segment) -> set[ir.Node]:
    """From the predictions back to the first matrix product, where there is one; nothing that a boundary needs too."""
    names = {spec.name for spec in segment.contract.predictions.values()}
    waiting = [value.producer() for value in segment.model.graph.outputs if value.name in names]
    found: set[ir.Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in found or node.op_type in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool"):
            continue
        found.add(node)
        if node.op_type not in ("MatMul", "Gemm"):
            waiting.extend(value.producer() for value in node.inputs if value is not None)
    return found


def tensors_of(nodes: Sequence[ir.Node]) -> list[str]:
    """Names of the computed float values that they read and give, each once: those that need a range."""
    values = (value for node in nodes for value in (*node.inputs, *node.outputs))
    computed = (value for value in values if value is not None and is_float(value) and value.const_value is None)
    return list(dict.fromkeys(value.name or "" for value in computed))


def quantize(model: ir.Model, nodes: Sequence[ir.Node], ranges: Ranges, options: Int8Options) -> ir.Model:
    """A copy of `model` in which `nodes` stand between QuantizeLinear and DequantizeLinear, weights per channel.

    Ranges come from outside, since the quantiser's own calibration opens sessions with threads of their own.
    """
    thread_pool()  # before onnxruntime is imported
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = model.clone()
    ir.external_data.load_to_model(model)
    extremes = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        ir.to_proto(model),
        per_channel=True,
        reduce_range=options.seven_bit_weights,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if options.symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, extremes),
        nodes_to_quantize=[node.name for node in nodes],
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in nodes}),
        extra_options={
            "ActivationSymmetric": options.symmetric,
            "QuantizeBias": not options.symmetric,
            "OpTypesToExcludeOutputQuantization": list(WEIGHTED) if options.symmetric else [],
        },
    )
    with quiet("root"):
        quantized: ir.Model = ir.from_proto(quantizer.quantize_model())
    return quantized
