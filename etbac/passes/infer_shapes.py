"""Shapes and types of every value, from the graph's inputs."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from etbac.passes.quiet import quiet


@dataclass(frozen=True)
class InferShapes(ir.passes.InPlacePass):
    """Infer what ONNX can infer, and keep what was known better.

    before:  x [batch, 3] ─ MatMul ─ ? ─ Relu ─ ?
    after:   x [batch, 3] ─ MatMul ─ [batch, 8] ─ Relu ─ [batch, 8]

    Inference sees no large weights, so it works above 2 GB too. A dimension that it leaves unknown or gives a new name
    keeps the name that the model had for it. Where `trust_static` is false a static dimension of the model's own
    records is not kept: a file exported at one batch size may record that size for values that have any.
    """

    trust_static: bool = True

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        declared = {*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()}
        known = {value: value.shape for value in _values(model) if value not in declared and value.shape is not None}
        if not self.trust_static:
            for value in known:
                value.shape = None
        with quiet("onnx_ir"):
            inferred = ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model).modified
        for value, shape in known.items():
            value.shape = _merged(value.shape, shape, self.trust_static)
        return ir.passes.PassResult(model, modified=inferred)


def _values(model: ir.Model) -> list[ir.Value]:
    return [value for node in model.graph.all_nodes() for value in node.outputs]


def _merged(inferred: ir.Shape | None, recorded: ir.Shape, trust_static: bool) -> ir.Shape | None:
    if inferred is None:
        return recorded if trust_static else _symbolic_only(recorded)
    if len(inferred) != len(recorded):
        return inferred
    pairs = zip(inferred, recorded, strict=True)
    return ir.Shape([_merged_dim(new, old, trust_static) for new, old in pairs])


def _merged_dim(new: int | ir.SymbolicDim, old: int | ir.SymbolicDim, trust_static: bool) -> int | ir.SymbolicDim:
    if isinstance(new, int):
        return new
    if isinstance(old, int):
        return old if trust_static else new
    return old if old.value is not None else new


def _symbolic_only(shape: ir.Shape) -> ir.Shape:
    return ir.Shape([ir.SymbolicDim(None) if isinstance(dim, int) else dim for dim in shape])
