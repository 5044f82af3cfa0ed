"""Appending a gate at every exit."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from etbac.errors import UsageError
from etbac.passes.exit_model import ExitModel
from etbac.passes.gates.base import LEARNED_FIELD, AddGate, Gate, shape_of
from etbac.passes.gates.max_prob import MaxProb
from etbac.passes.gates.registry import parse
from etbac.passes.pipeline import Hook, Pipeline


def default_gate(exit_model: ExitModel) -> Gate:
    """The model's own default; else `max-prob` where its one field is [B, C] in a float type; otherwise the user must
    say which."""
    if exit_model.default_gate is not None:
        return parse(exit_model.default_gate)
    values = {value.name: value for value in exit_model.model.graph.outputs}
    found = {field: values[name] for field, name in exit_model.full.items()}
    if len(found) == 1:
        (value,) = found.values()
        if len(shape_of(value)) == 2 and value.dtype is not None and value.dtype.is_floating_point():
            return MaxProb()
    described = ", ".join(f"{field} [{', '.join(map(str, shape_of(value)))}]" for field, value in found.items())
    raise UsageError(
        f"the gate max-prob is for one prediction [B, C] of float type and this model's are {described}; "
        "choose a gate with --gate or a task with --task"
    )


def add_gates(exit_model: ExitModel, gates: Mapping[int, Gate], hook: Hook | None = None) -> ExitModel:
    """Append each exit's gate to the model in place and record its options in `gates`; `hook` is called after each.

    `gates` has every exit's id. The exits' outputs `exit_<id>.confidence`, which are no fields of the full model, are
    outputs no more: the gate `learned` has read them, or nobody does.
    """
    missing = [exit_id for exit_id in exit_model.exits if exit_id not in gates]
    if missing:
        raise UsageError(f"exit {missing[0]} has no gate; every exit needs one")
    exits = list(exit_model.exits.items())
    added = [AddGate(gates[exit_id], dict(exits[: place + 1])) for place, (exit_id, _) in enumerate(exits)]
    Pipeline(*added, hook=hook)(exit_model.model)
    exit_model.gates.update({exit_id: gates[exit_id].options() for exit_id in exit_model.exits})
    _drop_learned_fields(exit_model)
    return exit_model


def _drop_learned_fields(exit_model: ExitModel) -> None:
    extra = set() if LEARNED_FIELD in exit_model.full else {LEARNED_FIELD}
    dropped = {name for fields in exit_model.exits.values() for field, name in fields.items() if field in extra}
    outputs: list[ir.Value] = [value for value in exit_model.model.graph.outputs if value.name not in dropped]
    exit_model.model.graph.outputs[:] = outputs
    for exit_id, fields in exit_model.exits.items():
        exit_model.exits[exit_id] = {field: name for field, name in fields.items() if field not in extra}
