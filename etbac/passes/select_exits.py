"""Keeping only the exits that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_ir.passes.common import RemoveUnusedNodesPass

from etbac.errors import EtbacError
from etbac.passes.exit_model import ExitModel


def select_exits(exit_model: ExitModel, ids: Sequence[int]) -> ExitModel:
    """Drop, in place, the outputs and heads of all exits but `ids`.

    before:  trunk ─┬─ head 3 ─> exit_3      after `select_exits(model, [7])`:
                    ├─ head 7 ─> exit_7          trunk ─┬─ head 7 ─> exit_7
                    └─ … ─────> logits                  └─ … ─────> logits

    Raises EtbacError for an id that the model does not have.
    """
    unknown = [exit_id for exit_id in ids if exit_id not in exit_model.exits]
    if unknown:
        asked = ",".join(map(str, ids))
        found = ", ".join(map(str, exit_model.exits)) or "none"
        raise EtbacError(
            f"--exits {asked}: this model has no exit {unknown[0]}; it has exits {found}. "
            f"List them with: etbac inspect {exit_model.source.get('path', 'MODEL')}"
        )
    kept = {exit_id: fields for exit_id, fields in exit_model.exits.items() if exit_id in set(ids)}
    needed = {name for fields in (*kept.values(), exit_model.full) for name in fields.values()}
    graph = exit_model.model.graph
    graph.outputs[:] = [value for value in graph.outputs if value.name in needed]
    RemoveUnusedNodesPass()(exit_model.model)
    exit_model.exits = kept
    return exit_model
