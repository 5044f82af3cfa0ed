"""Refusing operators that were left in training mode."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from etbac.errors import UnsupportedModelError


@dataclass(frozen=True)
class RefuseTrainingMode(ir.passes.InPlacePass):
    """Refuse a BatchNormalization or Dropout in training mode, by its name.

    before:  x ─ BatchNormalization(training_mode=1) ─> y
    after:   (UnsupportedModelError)

    A batch norm in training mode mixes the rows of a batch, and a dropout draws at random; folding either would hide
    that. A dropout whose mode is computed at run time is refused too.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for node in model.graph.all_nodes():
            if _in_training_mode(node):
                name = node.name or node.outputs[0].name
                raise UnsupportedModelError(
                    f"{node.op_type} {name!r} is in training mode, so a sample's answer would depend on the "
                    "others or on chance. Put the model in evaluation mode (model.eval()) and export it again"
                )
        return ir.passes.PassResult(model, modified=False)


def _in_training_mode(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "BatchNormalization":
        return bool(node.attributes.get_int("training_mode", 0))
    if node.op_type != "Dropout" or len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    mode = ir.convenience.get_const_tensor(node.inputs[2])
    return mode is None or bool(mode.numpy())
