"""Shapes and types of every value, from the graph's inputs."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from etbac.passes.quiet import quiet

MADE_UP = "unk__"
"""How ONNX's inference begins the names that it gives to dimensions it cannot express."""


@dataclass(frozen=True)
class InferShapes(ir.passes.InPlacePass):
    """Infer what ONNX can infer, and keep what was known better.

    before:  x [batch, 3] ─ MatMul ─ ? ─ Relu ─ ?
    after:   x [batch, 3] ─ MatMul ─ [batch, 8] ─ Relu ─ [batch, 8]

    Inference sees no large weights, so it works above 2 GB too. A dimension that it leaves unknown or gives a made-up
    name keeps the name that the model had for it. Where `trust_static` is false a static dimension of the model's own
    records is not kept, an output's first neither: a file exported at one batch size may record that size for values
    that have any.
    """

    trust_static: bool = True

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        outputs = set(model.graph.outputs)
        known = {value: value.shape for value in _computed_values(model) if value.shape is not None}
        if not self.trust_static:
            for value in known:
                value.shape = None
        with quiet("onnx_ir"):
            ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        for value, shape in known.items():
            trusted = range(0 if self.trust_static else 1 if value in outputs else len(shape), len(shape))
            value.shape = _merged(value.shape, shape, trusted)
        modified = any(known.get(value) != value.shape for value in _computed_values(model))
        return ir.passes.PassResult(model, modified)


def _computed_values(model: ir.Model) -> list[ir.Value]:
    return [value for node in model.graph.all_nodes() for value in node.outputs]


def _merged(inferred: ir.Shape | None, recorded: ir.Shape, trusted: range) -> ir.Shape:
    """`inferred` where it is known, else what was recorded: symbolic dimensions, and static ones on `trusted` axes."""
    unknown = ir.Shape([ir.SymbolicDim(None)] * len(recorded))
    new = inferred if inferred is not None else unknown
    if len(new) != len(recorded):
        return new
    pairs = enumerate(zip(new, recorded, strict=True))
    return ir.Shape([_merged_dim(dim, old, axis in trusted) for axis, (dim, old) in pairs])


def _merged_dim(new: int | ir.SymbolicDim, old: int | ir.SymbolicDim, trusted: bool) -> int | ir.SymbolicDim:
    if isinstance(new, int):
        return new
    if isinstance(old, int):
        return old if trusted else new
    made_up = new.value is None or new.value.startswith(MADE_UP)
    return old if made_up and old.value is not None else new
