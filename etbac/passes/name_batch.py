"""One name for the batch in every shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

BATCH = "batch"


@dataclass(frozen=True)
class NameBatch(ir.passes.InPlacePass):
    """Call the batch `batch` in the shapes of inputs, outputs and recorded values; it is symbolic everywhere after.

    before:  tokens [N, L], mask [-1, L], x [s77, s77]        after:  tokens [batch, L], mask [batch, L], x [batch, s77]

    `axes`: input name -> axis that carries the batch, or None. A name that inputs use for the batch *and* for another
    axis cannot be told apart in recorded shapes: those lose it. A negative size is taken as unknown.
    """

    axes: Mapping[str, int | None]

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        batch_names, other_names = set[str](), set[str]()
        for value in model.graph.inputs:
            for axis, dim in enumerate(value.shape or ()):
                name = dim if isinstance(dim, int) else dim.value
                if isinstance(name, str):
                    (batch_names if axis == self.axes[str(value.name)] else other_names).add(name)
        renamed = {name: None if name in other_names else BATCH for name in batch_names}
        renamed.setdefault(BATCH, None if BATCH not in batch_names else renamed.get(BATCH))

        inputs = set(model.graph.inputs)
        for value in _shaped_values(model):
            if value.shape is not None and value not in inputs:
                value.shape = ir.Shape([_renamed(dim, renamed) for dim in value.shape])
        for value in model.graph.inputs:
            if value.shape is not None:
                value.shape = _input_shape(value.shape, self.axes[str(value.name)])
        return ir.passes.PassResult(model, modified=True)


def rows_axis(shape: ir.Shape | None) -> int:
    """The axis of an output that holds the rows: the one called `batch`, else the only dynamic one, else the first."""
    dims = list(shape or ())
    named = [axis for axis, dim in enumerate(dims) if not isinstance(dim, int) and dim.value == BATCH]
    dynamic = [axis for axis, dim in enumerate(dims) if not isinstance(dim, int)]
    return named[0] if named else dynamic[0] if len(dynamic) == 1 else 0


def _shaped_values(model: ir.Model) -> list[ir.Value]:
    produced = [value for node in model.graph.all_nodes() for value in node.outputs]
    return [*produced, *model.graph.outputs]


def _input_shape(shape: ir.Shape, batch_axis: int | None) -> ir.Shape:
    dims: list[int | str | None] = []
    for axis, dim in enumerate(shape):
        size = dim if isinstance(dim, int) else dim.value
        unknown = isinstance(size, int) and size < 0
        dims.append(BATCH if axis == batch_axis else None if unknown else f"other_{BATCH}" if size == BATCH else size)
    return ir.Shape(dims)


def _renamed(dim: int | ir.SymbolicDim, renamed: Mapping[str, str | None]) -> int | str | None:
    if isinstance(dim, int):
        return None if dim < 0 else dim
    if dim.value is None:
        return None
    words = re.findall(r"[^\W\d]\w*", dim.value)
    if any(word in renamed and renamed[word] is None for word in words):
        return None
    return re.sub(r"[^\W\d]\w*", lambda match: renamed.get(match[0]) or match[0], dim.value)
