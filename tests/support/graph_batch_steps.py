"""Row-independent steps of random graphs that read the batch size, other inputs, time-major states or sub-graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto
from support.graph_builder import MAX_ROW_SIZE, Graph, Input, Tensor, Typed
from support.graph_steps import Step

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64


def _inputs(g: Graph, kind: str) -> list[Input]:
    return [i for i in g.inputs if i.kind == kind and i.axis == 0]


# -- the batch size as a shape --


def add_expanded(g: Graph, t: Tensor) -> Tensor | None:
    """A value without a batch, expanded to it."""
    if t.axis is None:
        return None
    style = int(g.rng.integers(3))
    if style == 0:
        value = g.op("ConstantOfShape", g.shape(t.dims, t.axis, t))
        value = g.op("Add", value, g.const(0.25, np.float32))
    elif style == 1:
        width = (1,) * t.rank if t.axis == t.rank - 1 else (t.dims[-1],)
        value = g.op("Expand", g.weight(*width, scale=1.0), g.shape(t.dims, t.axis, t))
    else:
        value = g.op("Expand", g.weight(*([1] * t.rank), scale=1.0), g.op("Shape", t.name))
    return replace(t, name=g.op(str(g.choose(["Add", "Mul"])), t.name, value))


def add_expanded_mask(g: Graph, t: Tensor) -> Tensor | None:
    """An all-true mask of the batch's size, as exporters make for attention without padding."""
    if not t.is_rows or t.rank < 2:
        return None
    shape = g.shape(t.dims[:2], 0, t)
    true = g.op("Cast", g.op("Expand", g.const([[1]]), shape), to=BOOL)
    if t.rank > 2:
        true = g.op("Unsqueeze", true, g.const(list(range(2, t.rank))))
    return replace(t, name=g.op("Where", true, t.name, g.const(0.0, np.float32)))


def pick_by_row(g: Graph, t: Tensor) -> Tensor | None:
    """x[arange(B), position]: row numbers as an index."""
    if not t.is_rows or t.rank < 2:
        return None
    rows = g.row_numbers()
    if g.chance(0.3):
        return replace(t, name=g.op("Gather", t.name, rows, axis=0))
    if t.rank < 3:
        return None
    ids = _inputs(g, "ids")
    if ids:
        position = g.op("Gather", ids[0].name, g.const(0), axis=1)
        position = g.op("Mod", position, g.const(t.dims[1]))
    else:
        position = g.op("Expand", g.const([t.dims[1] - 1]), g.batch_size(t))
    index = g.op("Concat", *(g.op("Unsqueeze", part, g.const([1])) for part in (rows, position)), axis=1)
    return Tensor(g.op("GatherND", t.name, index), (1, *t.dims[2:]))


# -- the batch size as data --


def add_batch_size(g: Graph, t: Tensor) -> Tensor:
    size = g.op("Cast", g.batch_size(t), to=FLOAT)
    feature = g.op("Div", size, g.const(8, np.float32))
    return replace(t, name=g.op(str(g.choose(["Add", "Mul"])), t.name, feature))


def add_row_numbers(g: Graph, t: Tensor) -> Tensor | None:
    if t.axis is None or not t.alone:
        return None
    feature = g.op("Div", g.op("Cast", g.row_numbers(), to=FLOAT), g.const(8, np.float32))
    if t.rank > 1:
        feature = g.op("Unsqueeze", feature, g.const(list(t.free_axes)))
    return replace(t, name=g.op("Add", t.name, feature))


def choose_by_batch_size(g: Graph, t: Tensor) -> Tensor:
    """Another factor where the whole batch is larger than two."""
    large = g.op("Greater", g.batch_size(t), g.const([2]))
    factor = g.op("Where", large, g.const(0.5, np.float32), g.const(-1.5, np.float32))
    return replace(t, name=g.op("Mul", t.name, factor))


# -- other inputs --


def embed(g: Graph, t: Tensor) -> Tensor | None:
    """Token ids looked up in a table, added to a projection of `t`."""
    ids = _inputs(g, "ids")
    if not ids or t.axis is None:
        return None
    width = g.size(2, 4)
    table = g.weight(ids[0].vocabulary, width, scale=1.0)
    embedded = Tensor(g.op("Gather", table, ids[0].name), (*ids[0].dims, width))
    if g.chance(0.4):
        positions = g.op("Gather", g.weight(8, width, scale=1.0), g.const(list(range(ids[0].dims[1]))))
        embedded = replace(embedded, name=g.op("Add", embedded.name, positions))
    return replace(embedded, name=g.op("Add", embedded.name, g.adapt(t, embedded).name))


def one_hot(g: Graph, t: Tensor) -> Tensor | None:
    ids = _inputs(g, "ids")
    if not ids or t.axis is None:
        return None
    depth = ids[0].vocabulary
    if ids[0].dims[1] * depth > MAX_ROW_SIZE:
        return None
    hot = g.op("OneHot", ids[0].name, g.const(depth), g.const([0.0, 1.0], np.float32), axis=-1)
    encoded = Tensor(hot, (*ids[0].dims, depth))
    return replace(encoded, name=g.op("Add", hot, g.adapt(t, encoded).name))


def gather_elements(g: Graph, t: Tensor) -> Tensor | None:
    ids = _inputs(g, "ids")
    if not ids or t.axis is None:
        return None
    flat = g.flat_rows(t)
    index = g.op("Mod", ids[0].name, g.const(flat.dims[1]))
    return Tensor(g.op("GatherElements", flat.name, index, axis=1), ids[0].dims)


def largest_of_input(g: Graph, t: Tensor) -> Tensor | None:
    """The index of an input's largest feature, as a feature."""
    floats = [i for i in _inputs(g, "float") if len(i.dims) > 1]
    if not floats:
        return None
    source = floats[int(g.rng.integers(len(floats)))]
    index = g.op("ArgMax", source.name, axis=1, keepdims=0)
    feature = Tensor(g.op("Cast", index, to=FLOAT), (1, *source.dims[2:]))
    return replace(t, name=g.op("Add", t.name, g.adapt(feature, t).name)) if t.axis is not None else None


def masked_mean(g: Graph, t: Tensor) -> Tensor | None:
    """Mean over the tokens that a mask keeps, as a text model pools."""
    masks = _inputs(g, "mask")
    if not masks or t.axis is None:
        return None
    length = masks[0].dims[1]
    tokens = g.adapt(t, Tensor("", (1, length, 3)))
    weights = g.op("Unsqueeze", g.op("Cast", masks[0].name, to=FLOAT), g.const([2]))
    total = g.op("ReduceSum", g.op("Mul", tokens.name, weights), g.const([1]), keepdims=0)
    count = g.op("ReduceSum", weights, g.const([1]), keepdims=0)
    return Tensor(g.op("Div", total, g.op("Max", count, g.const(1.0, np.float32))), (1, 3))


# -- recurrence --


def recurrent(g: Graph, t: Tensor) -> Tensor | None:
    """LSTM or GRU: time-major; the initial state absent, or zeros expanded to the batch."""
    if t.axis is None:
        return None
    rows = g.adapt(t, Tensor("", (1, g.size(2, 3), g.size(2, 3))))
    series = g.transpose(rows, (1, 0, 2))
    steps, width, hidden, directions = series.dims[0], series.dims[2], g.size(2, 3), g.size(1, 2)
    op, gates = ("LSTM", 4) if g.chance(0.6) else ("GRU", 3)
    arguments = [
        series.name,
        g.weight(directions, gates * hidden, width, scale=0.6),
        g.weight(directions, gates * hidden, hidden, scale=0.6),
    ]
    if g.chance(0.5):
        state = g.op("ConstantOfShape", g.shape((directions, 1, hidden), 1, series))
        arguments += ["", "", state, *([state] if op == "LSTM" else [])]
    direction = "bidirectional" if directions == 2 else "forward"
    outputs = g.ops(op, arguments, 2, hidden_size=hidden, direction=direction)
    if g.chance(0.5):
        return Tensor(outputs[1], (directions, 1, hidden), 1)
    return Tensor(outputs[0], (steps, directions, 1, hidden), 2)


# -- sub-graphs --


def _condition(g: Graph) -> str:
    """True or false without any row."""
    free = [i for i in g.inputs if i.axis is None and i.kind in ("float", "scalar")]
    if free and g.chance(0.7):
        total = g.op("ReduceSum", free[0].name, keepdims=0)
        return g.op("Greater", total, g.const(0.0, np.float32))
    return g.const(g.chance(0.5), np.bool_)


def branch(g: Graph, t: Tensor) -> Tensor | None:
    """If whose branches capture tensors, weights and another If."""
    if t.axis is None:
        return None
    condition, factor = _condition(g), g.weight(scale=1.0)
    other = g.adapt(g.pick(g.pool, 0.2), t)

    def then(inner: Graph) -> Sequence[Typed]:
        scaled = inner.op("Mul", t.name, factor)
        return [Typed(inner.op("Tanh", scaled))]

    def otherwise(inner: Graph) -> Sequence[Typed]:
        shifted = inner.op("Add", t.name, inner.op("Mul", other.name, inner.const(0.5, np.float32)))
        return [Typed(inner.op("Identity", shifted))]

    def nested(inner: Graph) -> Sequence[Typed]:
        chosen = inner.op("If", condition, then_branch=inner.body(then), else_branch=inner.body(otherwise))
        return [Typed(inner.op("Relu", chosen))]

    last = nested if g.chance(0.25) else otherwise
    return replace(t, name=g.op("If", condition, then_branch=g.body(then), else_branch=g.body(last)))


def loop(g: Graph, t: Tensor) -> Tensor | None:
    """Loop with a fixed trip count; its body captures a tensor and a weight."""
    if t.axis is None:
        return None
    other, factor = g.adapt(g.pick(g.pool, 0.2), t), g.weight(scale=1.0)
    trips = g.size(2, 3)
    number, going, state = g.name("i"), g.name("going"), g.name("state")

    def body(inner: Graph) -> Sequence[Typed]:
        mixed = inner.op("Add", inner.op("Mul", state, factor), other.name)
        following = inner.op("Tanh", mixed)
        return [Typed(inner.op("Identity", going), BOOL), Typed(following), Typed(inner.op("Neg", following))]

    graph = g.body(body, [Typed(number, INT64, ()), Typed(going, BOOL, ()), Typed(state)])
    last, history = g.ops("Loop", [g.const(trips), g.const(True, np.bool_), t.name], 2, body=graph)
    if g.chance(0.3) and t.size * trips <= MAX_ROW_SIZE:
        return replace(t, name=history, dims=(trips, *t.dims), axis=t.axis + 1)
    return replace(t, name=last)


def scan(g: Graph, t: Tensor) -> Tensor | None:
    """Scan over time, batch-major or time-major, from a state of zeros expanded to the batch."""
    if t.axis is None:
        return None
    series = g.adapt(t, Tensor("", (1, g.size(2, 3), g.size(2, 3))))
    time_axis = 1
    if g.chance(0.5):
        series, time_axis = g.transpose(series, (1, 0, 2)), 0
    steps, width = series.dims[time_axis], series.dims[2]
    start = g.op("Expand", g.weight(1, width, scale=0.3), g.shape((1, width), 0, series))
    weight = g.weight(width, width, scale=0.5)
    state, element, shape = g.name("state"), g.name("element"), (None, width)

    def body(inner: Graph) -> Sequence[Typed]:
        following = inner.op("Tanh", inner.op("Add", inner.op("MatMul", state, weight), element))
        return [Typed(following, shape=shape), Typed(inner.op("Identity", following), shape=shape)]

    graph = g.body(body, [Typed(state, shape=shape), Typed(element, shape=shape)])
    attributes = {"body": graph, "num_scan_inputs": 1, "scan_input_axes": [time_axis]}
    last, outputs = g.ops("Scan", [start, series.name], 2, **attributes)
    if g.chance(0.5):
        return Tensor(last, (1, width))
    return Tensor(outputs, (steps, 1, width), 1)


SHAPES: Sequence[Step] = (add_expanded, add_expanded, add_expanded_mask, pick_by_row)
BATCH_AS_DATA: Sequence[Step] = (add_batch_size, add_row_numbers, choose_by_batch_size)
INPUTS: Sequence[Step] = (embed, one_hot, gather_elements, largest_of_input, masked_mean)
SUBGRAPHS: Sequence[Step] = (recurrent, recurrent, branch, loop, scan)
