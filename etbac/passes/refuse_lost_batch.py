"""Refusing a model in which an output has the same size for every batch."""

from __future__ import annotations

import re
from dataclasses import dataclass

import onnx_ir as ir

from etbac.errors import UnsupportedModelError
from etbac.passes.name_batch import BATCH

_SHAPE_READERS = {"Shape", "Size"}


@dataclass(frozen=True)
class RefuseLostBatch(ir.passes.InPlacePass):
    """Refuse a model that answers with a fixed number of rows, with the node that lost the batch.

    before:  x [batch, 196, 768], cls [1, 1, 768] ─ Concat ─ [1, 197, 768] ─ … ─> y [1, 10]
    after:   (UnsupportedModelError: Concat … loses the batch)

    Such a model was exported at one batch size, or mixes the rows of a batch.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for value in model.graph.outputs:
            if loses_batch(value, model):
                node = _where_lost(value, model)
                if node is None:
                    raise UnsupportedModelError(f"output {value.name} does not depend on any input that has a batch")
                raise batch_refusal(node, f"loses the batch, and output {value.name} with it")
        return ir.passes.PassResult(model, modified=False)


def batch_refusal(node: ir.Node, reason: str) -> UnsupportedModelError:
    """The error that names `node` and the shapes it reads."""
    inputs = ", ".join(f"{value.name} {_text(value)}" for value in node.inputs if value is not None)
    return UnsupportedModelError(
        f"{node.op_type} {node.name or node.outputs[0].name!r} (inputs {inputs}) {reason}: it mixes the rows "
        "of a batch, or the model was exported at one batch size. Export with a dynamic batch and an example of 2 rows"
    )


def loses_batch(value: ir.Value, model: ir.Model) -> bool:
    """Whether every dimension of `value` is known to have nothing to do with the batch."""
    if value.shape is None:
        return False
    unrelated = {word for source in model.graph.inputs for dim in source.shape or () for word in _words(dim)} - {BATCH}
    return all(isinstance(dim, int) or (bool(words := _words(dim)) and words <= unrelated) for dim in value.shape)


def _words(dim: int | ir.SymbolicDim) -> set[str]:
    return set() if isinstance(dim, int) or dim.value is None else set(re.findall(r"[^\W\d]\w*", dim.value))


def _where_lost(output: ir.Value, model: ir.Model) -> ir.Node | None:
    """The first node above `output` that reads a value with the batch and gives none."""
    above: set[ir.Node] = set()
    waiting = [output]
    while waiting:
        node = waiting.pop().producer()
        if node is None or node in above:
            continue
        above.add(node)
        waiting.extend(value for value in node.inputs if value is not None)
    for node in model.graph:
        if node not in above or node.op_type in _SHAPE_READERS:
            continue
        if any(_has_batch(value) for value in node.inputs) and all(loses_batch(value, model) for value in node.outputs):
            return node
    return None


def _has_batch(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and any(BATCH in _words(dim) for dim in value.shape)


def _text(value: ir.Value) -> str:
    if value.shape is None:
        return "[?]"
    return f"[{', '.join(str(dim if isinstance(dim, int) else dim.value or '?') for dim in value.shape)}]"
