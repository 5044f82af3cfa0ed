"""One operator set version for all that follows."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnxscript.version_converter import ConvertVersionPass

from etbac.errors import UnsupportedModelError
from etbac.passes.quiet import quiet

OPSET = 18


@dataclass(frozen=True)
class UseOpset(ir.passes.InPlacePass):
    """Convert a model below ONNX opset 18 up to it; a later one stays as it is.

    before:  opset 13: x ─ ReduceMean(axes=[1]) ─> y
    after:   opset 18: x, [1] ─ ReduceMean ─> y

    Gates are written in opset 18, where reductions take their axes as an input. Nothing is converted down: ONNX
    Runtime runs later opsets as they are, and a conversion could only lose. ONNX's own converter does the work;
    operators of other domains pass through.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        found = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
        if found is None:
            raise UnsupportedModelError("the model imports no ONNX operator set; export it again with opset 18")
        if found >= OPSET:
            return ir.passes.PassResult(model, modified=False)
        with quiet("onnxscript.version_converter", "onnx_ir"):
            ConvertVersionPass(target_version=OPSET, fallback=True)(model)
        if model.opset_imports.get("") != OPSET:
            raise UnsupportedModelError(
                f"the model is in ONNX opset {found} and cannot be converted to {OPSET}; export it again with opset 18"
            )
        return ir.passes.PassResult(model, modified=True)
