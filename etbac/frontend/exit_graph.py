"""From a graph with named outputs to an ExitModel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import onnx_ir as ir

from etbac.frontend.outputs import check_batch, check_outputs, find_exits
from etbac.passes.exit_model import ExitModel
from etbac.passes.infer_shapes import InferShapes
from etbac.passes.name_batch import NameBatch


def to_exit_model(
    model: ir.Model,
    where: str,
    *,
    asked: Iterable[str] = (),
    batch_axes: Mapping[str, int | None] | None = None,
    trust_static: bool = True,
    source: Mapping[str, Any] | None = None,
) -> ExitModel:
    """Read the meaning of `model`'s outputs, find the batch of its inputs and refuse what cannot be an exit model.

    `where` names the model in errors, `asked` holds the texts of `--exit`. `batch_axes` is known for models that were
    exported here; otherwise it is read from the shapes. `trust_static` false: see InferShapes.
    """
    names = [str(value.name) for value in model.graph.outputs]
    exits, full = find_exits(names, asked, where)
    axes = dict(batch_axes) if batch_axes is not None else _batch_axes(model)
    check_batch(model, where)
    NameBatch(axes)(model)
    InferShapes(trust_static=trust_static)(model)
    check_outputs(model, exits, full, where)
    return ExitModel(model, exits, full, axes, source=source or {})


def _batch_axes(model: ir.Model) -> dict[str, int | None]:
    """Axis of the batch by input: where the outputs' batch stands, else axis 0 where that is dynamic, else none."""
    first = Counter(_symbol(value, 0) for value in model.graph.outputs)
    first.pop(None, None)
    batch = first.most_common(1)[0][0] if first else None
    initializers = set(model.graph.initializers.values())
    return {str(value.name): _batch_axis(value, batch) for value in model.graph.inputs if value not in initializers}


def _batch_axis(value: ir.Value, batch: str | None) -> int | None:
    rank = 0 if value.shape is None else len(value.shape)
    named = [axis for axis in range(rank) if batch is not None and _symbol(value, axis) == batch]
    if named:
        return named[0]
    return 0 if rank and _is_dynamic(value, 0) else None


def _symbol(value: ir.Value, axis: int) -> str | None:
    if value.shape is None or axis >= len(value.shape):
        return None
    dim = value.shape[axis]
    return None if isinstance(dim, int) else dim.value


def _is_dynamic(value: ir.Value, axis: int) -> bool:
    assert value.shape is not None
    dim = value.shape[axis]
    return not isinstance(dim, int) or dim < 0
