"""From a graph with named outputs to an ExitModel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common

from etbac.errors import UsageError
from etbac.frontend.inputs import InputShape
from etbac.frontend.outputs import check_batch, check_outputs, find_exits
from etbac.passes.exit_model import ExitModel
from etbac.passes.infer_shapes import InferShapes
from etbac.passes.name_batch import NameBatch
from etbac.passes.pipeline import Pipeline
from etbac.passes.refuse_lost_batch import RefuseLostBatch
from etbac.passes.repair_baked_batch import RepairBakedBatch

BATCH_NAMES = frozenset({"batch", "batch_size", "batchsize", "n", "b", "bs"})
"""Names, in small letters, by which people call a batch axis."""


def exported_here(
    model: ir.Model,
    where: str,
    source: Mapping[str, Any],
    asked: Iterable[str] = (),
    batch_axes: Mapping[str, int | None] | None = None,
) -> ExitModel:
    """The meaning of a graph that torch exported just now, whose recorded shapes are true.

    `where` names the model in errors, `asked` holds the texts of `--exit`. `batch_axes`: axis of the batch by input, or
    None for an input without; left out, they are read from the shapes.
    """
    exits, full = find_exits(_output_names(model), asked, where)
    axes = _batch_axes(model) if batch_axes is None else dict(batch_axes)
    check_batch(model, where)
    Pipeline(NameBatch(axes), InferShapes())(model)
    check_outputs(model, exits, full, where)
    return ExitModel(model, exits, full, axes, source=source)


def from_elsewhere(
    model: ir.Model,
    where: str,
    source: Mapping[str, Any],
    asked: Iterable[str] = (),
    input_shapes: Mapping[str, InputShape] | None = None,
) -> ExitModel:
    """The meaning of a graph from a file: recorded shapes may be wrong, and a batch size may have been fixed.

    `input_shapes`: those of `--input-shape`, by input; their B is the batch.
    """
    common.InlinePass()(model)
    common.RemoveInitializersFromInputsPass()(model)
    exits, full = find_exits(_output_names(model), asked, where)
    check_batch(model, where)
    axes = {**_batch_axes(model), **_declare_shapes(model, input_shapes or {}, where)}
    Pipeline(
        common.TopologicalSortPass(),
        NameBatch(axes),
        InferShapes(trust_static=False),
        RepairBakedBatch(),
        RefuseLostBatch(),
    )(model)
    check_outputs(model, exits, full, where)
    return ExitModel(model, exits, full, axes, source=source)


def _output_names(model: ir.Model) -> list[str]:
    return [str(value.name) for value in model.graph.outputs]


def _declare_shapes(model: ir.Model, input_shapes: Mapping[str, InputShape], where: str) -> dict[str, int | None]:
    """Give inputs the shapes that the user typed; the batch axis of each."""
    inputs = {str(value.name): value for value in model.graph.inputs}
    for name, shape in input_shapes.items():
        if name not in inputs:
            raise UsageError(f"--input-shape {name}: {where} has no such input; its inputs are {', '.join(inputs)}")
        found = inputs[name].shape
        if found is not None and len(found) != len(shape.shape):
            raise UsageError(f"--input-shape {name}: {where} has {len(found)} axes there, not {len(shape.shape)}")
        inputs[name].shape = ir.Shape(shape.shape)
    return {name: shape.batch_axis for name, shape in input_shapes.items()}


def _batch_axes(model: ir.Model) -> dict[str, int | None]:
    """Axis of the batch by input: where the batch's symbol stands, else axis 0 where that is dynamic, else none."""
    batch = _batch_symbol(model)
    return {str(value.name): _batch_axis(value, batch) for value in model.graph.inputs}


def _batch_symbol(model: ir.Model) -> str | None:
    """The inputs' one symbol that is called as people call a batch, else the one that most outputs begin with."""
    symbols = {
        symbol for value in model.graph.inputs for axis in range(_rank(value)) if (symbol := _symbol(value, axis))
    }
    telling = sorted(symbol for symbol in symbols if symbol.lower() in BATCH_NAMES)
    if len(telling) == 1:
        return telling[0]
    first = Counter(symbol for value in model.graph.outputs if _rank(value) and (symbol := _symbol(value, 0)))
    return first.most_common(1)[0][0] if first else None


def _batch_axis(value: ir.Value, batch: str | None) -> int | None:
    named = [axis for axis in range(_rank(value)) if batch is not None and _symbol(value, axis) == batch]
    if named:
        return named[0]
    return 0 if _rank(value) and _is_dynamic(value, 0) else None


def _rank(value: ir.Value) -> int:
    return 0 if value.shape is None else len(value.shape)


def _symbol(value: ir.Value, axis: int) -> str | None:
    dim = (value.shape or ())[axis]
    return None if isinstance(dim, int) else dim.value


def _is_dynamic(value: ir.Value, axis: int) -> bool:
    dim = (value.shape or ())[axis]
    return not isinstance(dim, int) or dim < 0
