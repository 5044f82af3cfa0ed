"""If, Loop and Scan: their bodies are analysed in place, with the facts of the values that they capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from etbac.passes.batch.facts import Fact, Rows, World
from etbac.passes.batch.rule import Mixed

MAX_ROUNDS = 8
"""A loop's facts grow along a chain of a few steps; more rounds than this mean that they never settle."""

Visit = Callable[[ir.Graph, Sequence[Fact]], list[Fact]]
"""Analyse a body given the facts of its inputs; gives the facts of its outputs."""

Body = Callable[[ir.Node, Sequence[Fact | None], tuple[World, ...], Visit], list[Fact]]


def if_(node: ir.Node, inputs: Sequence[Fact | None], worlds: tuple[World, ...], visit: Visit) -> list[Fact]:
    _same_for_all_rows(inputs[0], "its condition")
    branches = [visit(node.attributes[name].as_graph(), []) for name in ("then_branch", "else_branch")]
    return [join(a, b, worlds, "its branches") for a, b in zip(*branches, strict=True)]


def loop(node: ir.Node, inputs: Sequence[Fact | None], worlds: tuple[World, ...], visit: Visit) -> list[Fact]:
    _same_for_all_rows(inputs[0], "its trip count")
    _same_for_all_rows(inputs[1], "its condition")
    count = len(inputs) - 2
    counter = scalar(ir.DataType.INT64, worlds)
    condition = scalar(ir.DataType.BOOL, worlds)
    states = [_unknown_content(_given(fact)) for fact in inputs[2:]]
    results = settle(node.attributes["body"].as_graph(), [counter, condition], states, [], worlds, visit, skip=1)
    _same_for_all_rows(results[0], "its condition")
    return [*results[1 : 1 + count], *[stacked(fact, worlds) for fact in results[1 + count :]]]


def scan(node: ir.Node, inputs: Sequence[Fact | None], worlds: tuple[World, ...], visit: Visit) -> list[Fact]:
    scanned = node.attributes["num_scan_inputs"].as_int()
    given = [_given(fact) for fact in inputs]
    states = [_unknown_content(fact) for fact in given[: len(given) - scanned]]
    axes = _ints(node, "scan_input_axes") or [0] * scanned
    slices = [_slice(fact, axis) for fact, axis in zip(given[len(states) :], axes, strict=True)]
    results = settle(node.attributes["body"].as_graph(), [], states, slices, worlds, visit, skip=0)
    outputs = results[len(states) :]
    axes = _ints(node, "scan_output_axes") or [0] * len(outputs)
    return [*results[: len(states)], *[stacked(fact, worlds, axis) for fact, axis in zip(outputs, axes, strict=True)]]


def settle(
    body: ir.Graph,
    before: Sequence[Fact],
    states: list[Fact],
    after: Sequence[Fact],
    worlds: tuple[World, ...],
    visit: Visit,
    skip: int,
) -> list[Fact]:
    """Analyse a body until its carried states stay as they are; `skip` outputs stand before the states."""
    for _ in range(MAX_ROUNDS):
        results = visit(body, [*before, *states, *after])
        carried = [
            join(state, result, worlds, "the rounds of its loop")
            for state, result in zip(states, results[skip : skip + len(states)], strict=True)
        ]
        if carried == states:
            return [*results[:skip], *carried, *results[skip + len(states) :]]
        states = carried
    raise Mixed("its carried values do not settle")


def join(a: Fact, b: Fact, worlds: tuple[World, ...], what: str) -> Fact:
    """What holds of a value that is one or the other."""
    rows = a.rows
    if a.rows != b.rows:
        if a.rows is None or b.rows is None or (a.rows.axis, a.rows.factors) != (b.rows.axis, b.rows.factors):
            raise Mixed(f"{what} hold the batch in different places")
        rows = Rows(a.rows.axis, a.rows.factors)
    shapes = tuple(_either(x, y, world) for x, y, world in zip(a.shapes, b.shapes, worlds, strict=True))
    return Fact(a.dtype or b.dtype, shapes, (None,) * len(worlds), rows, a.sized or b.sized)


def scalar(dtype: ir.DataType, worlds: tuple[World, ...]) -> Fact:
    return Fact(dtype, ((),) * len(worlds), (None,) * len(worlds))


def stacked(fact: Fact, worlds: tuple[World, ...], axis: int = 0) -> Fact:
    """A scan output: one element for each round, on a new axis."""
    shapes: list[tuple[int, ...] | None] = []
    place = axis
    for shape, world in zip(fact.shapes, worlds, strict=True):
        if shape is None:
            shapes.append(None)
            continue
        place = axis + len(shape) + 1 if axis < 0 else axis
        shapes.append((*shape[:place], world.other, *shape[place:]))
    rows = None if fact.rows is None else fact.rows.at(fact.rows.axis + (place <= fact.rows.axis))
    return Fact(fact.dtype, tuple(shapes), (None,) * len(worlds), rows, fact.sized)


def _slice(fact: Fact, axis: int) -> Fact:
    """What a body sees of a scanned input."""
    shape = fact.shapes[0]
    if shape is None:
        raise Mixed("the rank of what it scans is not known")
    place = axis % len(shape)
    if fact.rows is not None and fact.rows.axis == place:
        raise Mixed("it runs along the batch")
    rows = None if fact.rows is None else fact.rows.at(fact.rows.axis - (place < fact.rows.axis))
    shapes = tuple(None if each is None else (*each[:place], *each[place + 1 :]) for each in fact.shapes)
    return Fact(fact.dtype, shapes, (None,) * len(shapes), rows, fact.sized)


def _either(a: tuple[int, ...] | None, b: tuple[int, ...] | None, world: World) -> tuple[int, ...] | None:
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else world.other for x, y in zip(a, b, strict=True))


def _unknown_content(fact: Fact) -> Fact:
    return replace(fact, contents=(None,) * len(fact.contents))


def _given(fact: Fact | None) -> Fact:
    assert fact is not None
    return fact


def _ints(node: ir.Node, name: str) -> list[int]:
    attribute = node.attributes.get(name)
    return [] if attribute is None else list(attribute.as_ints())


def _same_for_all_rows(fact: Fact | None, what: str) -> None:
    if fact is not None and fact.rows is not None:
        raise Mixed(f"{what} depends on the rows of the batch")
    if fact is not None and fact.sized:
        raise Mixed(f"{what} depends on the size of the batch")


BODIES: Mapping[str, Body] = {"If": if_, "Loop": loop, "Scan": scan}
