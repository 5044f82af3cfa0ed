"""Cut a model at its exits.

1. `prepare` copies the model, analyses every value (`etbac.passes.batch`), and makes the batch size one value.
2. Exit by exit, in the order of the trunk, `choose_boundary` finds the tensors that the rest of the model needs, by a
   minimum cut over bytes per sample; what was carried into a segment is all that its boundary can draw on.
3. `build_segment` copies its piece of the prepared model, puts the boundary tensors in the place of the values that
   they hold (`Gather` by `keep` first), names inputs and outputs by the contract, and drops what is not needed.

The property: for all inputs, batch sizes and sets of survivors, each row's outputs are those of the uncut model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from etbac.contract import FULL_MODEL_ID
from etbac.errors import UnsupportedModelError
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.split.boundary import Boundary, choose_boundary
from etbac.passes.split.prepare import Prepared, prepare
from etbac.passes.split.segment import Piece, build_segment
from etbac.passes.split.values import inputs_of, needed


def split_at_exits(model: ExitModel, max_batch: int = 32) -> list[Segment]:
    """Cut `model` (gates added) behind every exit; the last segment gives the full model's fields.

    `max_batch`: rows over which the bytes of a tensor without a batch are shared when boundaries are compared.
    Raises UnsupportedModelError, naming operator or value, where no cut can be proved right.
    """
    cut = plan_cut(model, max_batch)
    return [build_segment(cut.prepared, piece) for piece in cut.pieces]


@dataclass(frozen=True)
class Cut:
    """Where a model is cut: one piece for every exit and one for the full model, one boundary less."""

    prepared: Prepared
    pieces: tuple[Piece, ...]
    boundaries: tuple[Boundary, ...]
    max_batch: int


def plan_cut(model: ExitModel, max_batch: int = 32) -> Cut:
    """Choose every boundary of `model` (gates added); see `split_at_exits`."""
    prepared = prepare(model)
    fields, gates = _fields(prepared), {exit_id: _gate(prepared, exit_id) for exit_id in model.exits}
    results = {i: [*fields[i].values(), *(gates[i][1:] if i in gates else ())] for i in fields}
    thresholds = {gate[0] for gate in gates.values()}
    given = [value for value in prepared.graph.inputs if value not in thresholds]
    ids, pieces, boundaries = list(fields), [], []
    for index, exit_id in enumerate(ids):
        carried: Sequence[ir.Value] = ()
        if exit_id != FULL_MODEL_ID:
            later = [value for each in ids[index + 1 :] for value in results[each]]
            boundary = choose_boundary(prepared, given, results[exit_id], results[ids[index + 1]], later, max_batch)
            boundaries.append(boundary)
            carried = boundary.carried
        inputs = given if index else _read(given, [*results[exit_id], *carried])
        pieces.append(Piece(index, exit_id, inputs, fields[exit_id], gates.get(exit_id), carried))
        given = list(carried)
    return Cut(prepared, tuple(pieces), tuple(boundaries), max_batch)


def _fields(prepared: Prepared) -> dict[int, dict[str, ir.Value]]:
    """Every exit's fields, the full model's last."""
    source = prepared.source
    return {
        exit_id: {field: prepared.outputs[name] for field, name in names.items()}
        for exit_id, names in [*source.exits.items(), (FULL_MODEL_ID, source.full)]
    }


def _read(given: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> list[ir.Value]:
    """The model's inputs that the first segment needs; the batch size is taken from one of them."""
    read = {value for node in needed(outputs) for value in inputs_of(node)} | set(outputs)
    return [value for value in given if value in read]


def _gate(prepared: Prepared, exit_id: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    inputs = {value.name or "": value for value in prepared.graph.inputs}
    values: Mapping[str, ir.Value] = {**inputs, **prepared.outputs}
    names = [f"gate_{exit_id}.{part}" for part in ("threshold", "confidence", "exit_mask")]
    missing = [name for name in names if name not in values]
    if missing:
        raise UnsupportedModelError(f"exit {exit_id} has no gate: the model has no {missing[0]}; add its gate first")
    return values[names[0]], values[names[1]], values[names[2]]
