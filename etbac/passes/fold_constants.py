"""Constant folding that never fixes the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir
from onnxscript.optimizer import fold_constants_ir

from etbac.passes.quiet import quiet

GROWING = frozenset({"Range", "Expand", "Tile", "ConstantOfShape", "Pad", "Resize", "OneHot", "EyeLike", "MatMul"})
"""Operators whose result may be larger than all their inputs together."""

LARGEST = 1 << 20
"""Elements of a result that may be folded."""


@dataclass(frozen=True)
class FoldConstants(ir.passes.InPlacePass):
    """Compute what depends on weights and static dimensions alone, with onnxscript's folder.

    before:  x [batch, 8, 4] ─ Shape ─ Gather(0) ─┐             after:  x [batch, 8, 4] ─ Shape(0:1) ─┐
             8 ─ Mul(4) ─────────────────── Concat ─ Reshape                    32 ──────── Concat ─ Reshape

    What grows (a Range, an Expand, a Tile) is folded only where its result is known to be small: a few bytes of a file
    can ask for any amount of memory. The folder takes a dimension as constant only where the shapes say so, and
    `InferShapes` before it derives them from the graph's inputs, whose batch is symbolic: so the batch stays an
    expression.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        with quiet("onnxscript.optimizer"):
            result = fold_constants_ir(model, onnx_shape_inference=True, should_fold=_may_fold)
        return ir.passes.PassResult(model, modified=result.modified)


def _may_fold(node: ir.Node) -> bool | None:
    """False forbids, None leaves it to the folder's own limits."""
    if node.op_type not in GROWING:
        return None
    sizes = [math.prod(value.shape.numpy()) if _is_static(value) and value.shape else None for value in node.outputs]
    return None if all(size is not None and size <= LARGEST for size in sizes) else False


def _is_static(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.is_static()
