"""What a graph's outputs mean: which belong to which exit, and that every exit answers what the full model answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import onnx_ir as ir

from etbac.errors import EtbacError, UnsupportedModelError, UsageError
from etbac.passes.gates import LEARNED_FIELD

Outputs: TypeAlias = dict[str, str]
"""Field -> output name."""

FIELD = "prediction"
"""The field of a model that has only one."""

_EXIT = re.compile(r"exit_([1-9]\d*)(?:\.(.+))?")


def parse_exit_output(text: str) -> tuple[int, str | None, str]:
    """`3=logits_3` -> (3, None, "logits_3"); `3.boxes=out_7` -> (3, "boxes", "out_7")."""
    match = re.fullmatch(r"([1-9]\d*)(?:\.([^=]+))?=(.+)", text)
    if match is None:
        raise UsageError(f"--exit {text}: write ID=OUTPUT, like --exit 3=logits_3, or ID.FIELD=OUTPUT")
    return int(match[1]), match[2], match[3]


def find_exits(names: Iterable[str], asked: Iterable[str], where: str) -> tuple[dict[int, Outputs], Outputs]:
    """(exit id -> its outputs, the full model's outputs) among the graph's outputs `names`, ids ascending.

    `asked`: the texts of `--exit`, empty to go by the names `exit_<id>` and `exit_<id>.<field>`. `where` names the
    model in errors. A model whose one output is `prediction` has no exits. Raises EtbacError where another has none,
    nothing of the full model is left, or fields differ.
    """
    names = list(names)
    found = dict(_asked(names, asked, where) or _named(names))
    if not found and names != [FIELD]:
        raise EtbacError(
            f"{where} has no output named exit_<id>; name its exits with --exit ID=OUTPUT. "
            f"Its outputs are {', '.join(names)}"
        )
    rest = [name for name in names if name not in found]
    if not rest:
        raise EtbacError(f"{where} has exits but no output of the full model; its outputs are {', '.join(names)}")
    exits: dict[int, Outputs] = {}
    for output, (exit_id, field) in sorted(found.items(), key=lambda item: item[1][0]):
        exits.setdefault(exit_id, {})[field or FIELD] = output
    full = _full_fields(rest, exits)
    for exit_id, fields in exits.items():
        _require_same_fields(exit_id, fields, full, where)
    return {exit_id: _in_order(fields, full) for exit_id, fields in exits.items()}, full


def check_batch(model: ir.Model, where: str) -> None:
    """Refuse a model that itself says that an output's size is the same for every batch."""
    for value in model.graph.outputs:
        if value.shape is not None and all(isinstance(dim, int) and dim >= 0 for dim in value.shape):
            raise UnsupportedModelError(
                f"output {value.name} of {where} is {_text(value)}: its batch is fixed. "
                "Export the model with a dynamic batch axis and an example batch of 2 or more"
            )


def check_outputs(model: ir.Model, exits: Mapping[int, Outputs], full: Outputs, where: str) -> None:
    """Refuse a model whose exits differ from the full model in type or trailing shape."""
    values = {value.name: value for value in model.graph.outputs}
    for field, name in full.items():
        expected = values[name]
        for exit_id, outputs in exits.items():
            _require_alike(values[outputs[field]], expected, exit_id, where)


def _named(names: list[str]) -> dict[str, tuple[int, str | None]]:
    matches = {name: _EXIT.fullmatch(name) for name in names}
    return {name: (int(match[1]), match[2]) for name, match in matches.items() if match is not None}


def _asked(names: list[str], asked: Iterable[str], where: str) -> dict[str, tuple[int, str | None]]:
    found: dict[str, tuple[int, str | None]] = {}
    for text in asked:
        exit_id, field, output = parse_exit_output(text)
        if output not in names:
            raise UsageError(f"--exit {text}: {where} has no output {output!r}; its outputs are {', '.join(names)}")
        if output in found or (exit_id, field) in found.values():
            raise UsageError(f"--exit {text}: given twice; name each exit and each output once")
        found[output] = (exit_id, field)
    return found


def _full_fields(rest: list[str], exits: Mapping[int, Outputs]) -> Outputs:
    named = {field for fields in exits.values() for field in fields} - {LEARNED_FIELD}
    if len(rest) == 1 and named == {FIELD}:
        return {FIELD: rest[0]}
    return {name.removeprefix(f"{FIELD}."): name for name in rest}


def _require_same_fields(exit_id: int, fields: Outputs, full: Outputs, where: str) -> None:
    own = set(fields) - ({LEARNED_FIELD} - set(full))
    if own == set(full):
        return
    raise UnsupportedModelError(
        f"exit {exit_id} of {where} has the fields {', '.join(sorted(own))} and the full model has "
        f"{', '.join(sorted(full))}; every exit needs the full model's fields, as outputs exit_{exit_id}.<field>"
    )


def _in_order(fields: Outputs, full: Outputs) -> Outputs:
    extra = {field: name for field, name in fields.items() if field not in full}
    return {field: fields[field] for field in full} | extra


def _require_alike(value: ir.Value, expected: ir.Value, exit_id: int, where: str) -> None:
    if value.dtype == expected.dtype and _agree(value.shape, expected.shape):
        return
    raise UnsupportedModelError(
        f"exit {exit_id} of {where} answers {_text(value)} in {value.name} and the full model answers "
        f"{_text(expected)} in {expected.name}; an exit needs the full model's type and shape"
    )


def _agree(shape: ir.Shape | None, expected: ir.Shape | None) -> bool:
    if shape is None or expected is None:
        return True
    if len(shape) != len(expected):
        return False
    pairs = list(zip(shape, expected, strict=True))[1:]
    return all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))


def _text(value: ir.Value) -> str:
    if value.shape is None:
        return f"{value.dtype} of unknown shape"
    dims = ", ".join(str(dim if isinstance(dim, int) else dim.value or "?") for dim in value.shape)
    return f"{value.dtype} [{dims}]"
