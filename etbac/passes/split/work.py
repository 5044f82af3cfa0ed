"""How much work a node is, roughly: multiply-adds twice, everything else one for each element."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from etbac.passes.batch import BatchAnalysis
from etbac.passes.split.values import bodies

VIEWS = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size", "Constant"])
"""Operators that move no element."""


def work(node: ir.Node, analysis: BatchAnalysis) -> float:
    """Operations for one row of the batch, at the first of the analysis' worlds; sizes and indices cost nothing."""
    facts = [analysis.facts.get(value) for value in node.outputs]
    if node.op_type in VIEWS or all(fact is not None and fact.pure for fact in facts):
        return 0.0
    if any(value in analysis.local for value in node.outputs):
        return 0.0
    if any(True for _ in bodies(node)):
        return math.inf
    elements = sum(_elements(analysis, value) for value in node.outputs)
    return elements * _products(node, analysis) / analysis.worlds[0].batch


def _products(node: ir.Node, analysis: BatchAnalysis) -> float:
    shapes = [() if value is None else _shape(analysis, value) for value in node.inputs]
    if node.op_type in ("MatMul", "Gemm", "MatMulInteger", "Einsum", "Attention"):
        return 2.0 * (shapes[0][-1] if shapes[0] else 1)
    if node.op_type in ("Conv", "ConvInteger", "ConvTranspose", "DeformConv"):
        return 2.0 * math.prod(shapes[1][1:])
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return 8.0 * (shapes[0][-1] + shapes[2][-1])
    if node.op_type.startswith(("Reduce", "Arg", "Global", "TopK", "MaxPool", "AveragePool")):
        outputs = _elements(analysis, node.outputs[0])
        return max(1.0, math.prod(shapes[0]) / max(outputs, 1.0))
    return 1.0


def _elements(analysis: BatchAnalysis, value: ir.Value) -> float:
    return float(math.prod(_shape(analysis, value)))


def _shape(analysis: BatchAnalysis, value: ir.Value) -> Sequence[int]:
    fact = analysis.facts.get(value)
    return () if fact is None or fact.shapes[0] is None else fact.shapes[0]
