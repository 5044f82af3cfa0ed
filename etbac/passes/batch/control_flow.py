"""If, Loop and Scan: their bodies are analysed in place, with the facts of the values that they capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from etbac.passes.batch.facts import Fact, Rows, World
from etbac.passes.batch.rule import RowsMixError

MAX_ROUNDS = 8
"""A loop's facts grow along a chain of a few steps; more rounds than this mean that they never settle."""


@dataclass(frozen=True)
class Flow:
    """What a rule for control flow works with.

    `visit` analyses a body given the facts of its inputs and gives those of its outputs; `guess` records that a size
    depends on data.
    """

    worlds: tuple[World, ...]
    visit: Callable[[ir.Graph, Sequence[Fact]], list[Fact]]
    guess: Callable[[], None]

    def unknown_sizes(self) -> list[int]:
        self.guess()
        return [world.other for world in self.worlds]


FlowRule = Callable[[ir.Node, Sequence[Fact | None], Flow], list[Fact]]


def if_(node: ir.Node, inputs: Sequence[Fact | None], flow: Flow) -> list[Fact]:
    _same_for_all_rows(inputs[0], "its condition")
    branches = [flow.visit(node.attributes[name].as_graph(), []) for name in ("then_branch", "else_branch")]
    return [_join(a, b, flow, "its branches") for a, b in zip(*branches, strict=True)]


def loop(node: ir.Node, inputs: Sequence[Fact | None], flow: Flow) -> list[Fact]:
    _same_for_all_rows(inputs[0], "its trip count")
    _same_for_all_rows(inputs[1], "its condition")
    body = node.attributes["body"].as_graph()
    states = [_without_content(fact) for fact in inputs[2:] if fact is not None]
    before = [_scalar(ir.DataType.INT64, flow), _scalar(ir.DataType.BOOL, flow)]
    results = _settle(body, before, states, [], flow, skip=1)
    _same_for_all_rows(results[0], "its condition")
    sizes = _trip_counts(body, inputs, flow)
    last = 1 + len(states)
    return [*results[1:last], *[_stacked(fact, sizes) for fact in results[last:]]]


def scan(node: ir.Node, inputs: Sequence[Fact | None], flow: Flow) -> list[Fact]:
    given = [fact for fact in inputs if fact is not None]
    first = len(given) - node.attributes["num_scan_inputs"].as_int()
    axes = _ints(node, "scan_input_axes") or [0] * (len(given) - first)
    places = [axis % len(_shape(fact)) for fact, axis in zip(given[first:], axes, strict=True)]
    slices = [_slice(fact, place) for fact, place in zip(given[first:], places, strict=True)]
    states = [_without_content(fact) for fact in given[:first]]
    results = _settle(node.attributes["body"].as_graph(), [], states, slices, flow, skip=0)
    sizes = [_shape(given[first], world)[places[0]] for world in range(len(flow.worlds))]
    axes = _ints(node, "scan_output_axes") or [0] * (len(results) - first)
    return [*results[:first], *[_stacked(fact, sizes, axis) for fact, axis in zip(results[first:], axes, strict=True)]]


def _settle(
    body: ir.Graph, before: Sequence[Fact], states: list[Fact], after: Sequence[Fact], flow: Flow, skip: int
) -> list[Fact]:
    """Analyse a body until its carried states stay as they are; `skip` outputs stand before the states."""
    for _ in range(MAX_ROUNDS):
        results = flow.visit(body, [*before, *states, *after])
        last = skip + len(states)
        carried = [
            _join(state, result, flow, "the rounds of its loop")
            for state, result in zip(states, results[skip:last], strict=True)
        ]
        if carried == states:
            return [*results[:skip], *carried, *results[last:]]
        states = carried
    raise RowsMixError("its carried values do not settle")


def _join(a: Fact, b: Fact, flow: Flow, what: str) -> Fact:
    """What holds of a value that is one or the other."""
    rows = a.rows
    if a.rows != b.rows:
        if a.rows is None or b.rows is None or (a.rows.axis, a.rows.factors) != (b.rows.axis, b.rows.factors):
            raise RowsMixError(f"{what} hold the batch in different places")
        rows = Rows(a.rows.axis, a.rows.factors)
    shapes: list[tuple[int, ...] | None] = []
    for x, y, world in zip(a.shapes, b.shapes, flow.worlds, strict=True):
        if x is None or y is None or len(x) != len(y):
            if rows is not None:
                raise RowsMixError(f"{what} give results of different or unknown rank")
            shapes.append(None)
            continue
        if x != y:
            flow.guess()
        shapes.append(tuple(m if m == n else world.other for m, n in zip(x, y, strict=True)))
    return Fact(a.dtype or b.dtype, tuple(shapes), (None,) * len(flow.worlds), rows, a.sized or b.sized)


def _stacked(fact: Fact, sizes: Sequence[int], axis: int = 0) -> Fact:
    """A scan output: one element for each of `sizes` rounds, on a new axis."""
    place = axis % (len(_shape(fact)) + 1)
    shapes = []
    for world, size in enumerate(sizes):
        shape = _shape(fact, world)
        shapes.append((*shape[:place], size, *shape[place:]))
    rows = None if fact.rows is None else fact.rows.at(fact.rows.axis + (place <= fact.rows.axis))
    return Fact(fact.dtype, tuple(shapes), (None,) * len(sizes), rows, fact.sized)


def _slice(fact: Fact, place: int) -> Fact:
    """What a body sees of an input that is scanned along axis `place`."""
    if fact.rows is not None and fact.rows.axis == place:
        raise RowsMixError("it runs along the batch as if it were time")
    rows = None if fact.rows is None else fact.rows.at(fact.rows.axis - (place < fact.rows.axis))
    shapes = [_shape(fact, world) for world in range(len(fact.shapes))]
    cut = tuple((*shape[:place], *shape[place + 1 :]) for shape in shapes)
    return Fact(fact.dtype, cut, (None,) * len(shapes), rows, fact.sized)


def _trip_counts(body: ir.Graph, inputs: Sequence[Fact | None], flow: Flow) -> list[int]:
    """How many rounds a loop takes, if that is known and no condition ends it before."""
    count, condition = inputs[0], inputs[1]
    passed = body.outputs[0]
    producer = passed.producer()
    if producer is not None and producer.op_type == "Identity":
        passed = producer.inputs[0] or passed
    endless = condition is None or (condition.pure and all(c is not None and bool(c.array) for c in condition.contents))
    if count is None or not count.pure or not endless or passed is not body.inputs[1]:
        return flow.unknown_sizes()
    return [int(content.array.reshape(-1)[0]) for content in count.contents if content is not None]


def _shape(fact: Fact, world: int = 0) -> tuple[int, ...]:
    shape = fact.shapes[world]
    if shape is None:
        raise RowsMixError("the rank of what it runs over is not known")
    return shape


def _scalar(dtype: ir.DataType, flow: Flow) -> Fact:
    return Fact(dtype, ((),) * len(flow.worlds), (None,) * len(flow.worlds))


def _without_content(fact: Fact) -> Fact:
    return replace(fact, contents=(None,) * len(fact.contents))


def _ints(node: ir.Node, name: str) -> list[int]:
    attribute = node.attributes.get(name)
    return [] if attribute is None else list(attribute.as_ints())


def _same_for_all_rows(fact: Fact | None, what: str) -> None:
    if fact is not None and fact.rows is not None:
        raise RowsMixError(f"{what} depends on the rows of the batch")
    if fact is not None and fact.sized:
        raise RowsMixError(f"{what} depends on the size of the batch")


FLOW_RULES: Mapping[str, FlowRule] = {"If": if_, "Loop": loop, "Scan": scan}
