"""Cut a model at its exits.

1. `prepare` copies the model, analyses every value (`etbac.passes.batch`), and makes the batch size one value.
2. Exit by exit, in the order of the trunk, `choose_boundary` finds the tensors that the rest of the model needs, by a
   minimum cut over bytes per sample; what was carried into a segment is all that its boundary can draw on.
3. `build_segment` copies the prepared model, puts the boundary tensors in the place of the values that they hold
   (`Gather` by `keep` first), names inputs and outputs by the contract, and drops what is not needed.

The property: for all inputs, batch sizes and sets of survivors, each row's outputs are those of the uncut model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from etbac.contract import FULL_MODEL_ID
from etbac.errors import UnsupportedModelError
from etbac.passes.exit_model import ExitModel, Segment
from etbac.passes.split.boundary import choose_boundary
from etbac.passes.split.prepare import Prepared, prepare
from etbac.passes.split.segment import Piece, build_segment
from etbac.passes.split.values import inputs_of, needed


def split_at_exits(model: ExitModel, max_batch: int = 32) -> list[Segment]:
    """Cut `model` (gates added) behind every exit; the last segment gives the full model's fields.

    `max_batch`: rows over which the bytes of a tensor without a batch are shared when boundaries are compared.
    Raises UnsupportedModelError, naming operator or value, where no cut can be proved right.
    """
    prepared = prepare(model)
    pieces = _pieces(prepared, max_batch)
    return [build_segment(prepared, piece) for piece in pieces]


def _pieces(prepared: Prepared, max_batch: int) -> list[Piece]:
    source = prepared.source
    outputs = {value.name or "": value for value in prepared.graph.outputs}
    fields = {
        exit_id: {field: outputs[name] for field, name in names.items()}
        for exit_id, names in [*source.exits.items(), (FULL_MODEL_ID, source.full)]
    }
    gates = {exit_id: _gate(prepared, exit_id) for exit_id in source.exits}
    results = {i: [*fields[i].values(), *(gates[i][1:] if i in gates else ())] for i in fields}

    pieces: list[Piece] = []
    given = [value for value in prepared.graph.inputs if value not in {gate[0] for gate in gates.values()}]
    ids = list(fields)
    for index, exit_id in enumerate(ids):
        boundary: Sequence[ir.Value] = ()
        if exit_id != FULL_MODEL_ID:
            later = [value for each in ids[index + 1 :] for value in results[each]]
            boundary = choose_boundary(
                prepared, given, results[exit_id], results[ids[index + 1]], later, max_batch
            ).carried
        inputs = given if index else _read(prepared, given, [*results[exit_id], *boundary])
        pieces.append(Piece(index, exit_id, inputs, fields[exit_id], gates.get(exit_id), boundary))
        given = list(boundary)
    return pieces


def _read(prepared: Prepared, given: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> list[ir.Value]:
    """The model's inputs that the first segment needs; the batch size is taken from one of them."""
    nodes = needed(outputs)
    read = {value for node in nodes for value in inputs_of(node)} | set(outputs)
    return [value for value in given if value in read]


def _gate(prepared: Prepared, exit_id: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    values: Mapping[str, ir.Value] = {
        value.name or "": value for value in [*prepared.graph.inputs, *prepared.graph.outputs]
    }
    names = [f"gate_{exit_id}.{part}" for part in ("threshold", "confidence", "exit_mask")]
    missing = [name for name in names if name not in values]
    if missing:
        raise UnsupportedModelError(f"exit {exit_id} has no gate: the model has no {missing[0]}; add its gate first")
    return values[names[0]], values[names[1]], values[names[2]]
