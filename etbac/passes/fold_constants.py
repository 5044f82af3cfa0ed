"""Constant folding that never fixes the batch."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnxscript.optimizer import fold_constants_ir

from etbac.passes.quiet import quiet


@dataclass(frozen=True)
class FoldConstants(ir.passes.InPlacePass):
    """Compute what depends on weights and static dimensions alone, with onnxscript's folder.

    before:  x [batch, 8, 4] ─ Shape ─ Gather(0) ─┐             after:  x [batch, 8, 4] ─ Shape(0:1) ─┐
             8 ─ Mul(4) ─────────────────── Concat ─ Reshape                    32 ──────── Concat ─ Reshape

    The folder takes a dimension as constant only where the shapes say so, and `InferShapes` before it derives them
    from the graph's inputs, whose batch is symbolic: so the batch stays an expression.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        with quiet("onnxscript.optimizer"):
            result = fold_constants_ir(model, onnx_shape_inference=True)
        return ir.passes.PassResult(model, modified=result.modified)
