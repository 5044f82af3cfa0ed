"""Which tensors one segment hands to the next: a minimum cut.

Every node is computed by the segment before the boundary or by a later one. A value computed before it and read behind
it is carried, at a price of its bytes per sample. Nodes that the exit needs are pinned before the boundary, all others
behind it, except cheap ones (at most 1% of their segment's work together): those may be computed again behind it, or
ahead of their time before it, where that makes the boundary smaller. What comes from weights and the batch size alone
is left out: it is computed wherever it is read.

Source: minimum cut for recomputation as in torch's min-cut partitioner (functorch), with both sides free to move.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from etbac.errors import UnsupportedModelError
from etbac.passes.batch import BatchAnalysis
from etbac.passes.split.layout import can_be_carried
from etbac.passes.split.min_cut import INFINITE, Network
from etbac.passes.split.prepare import Prepared
from etbac.passes.split.values import inputs_of, needed
from etbac.passes.split.work import work

BYTE = 1 << 20
"""The price of a byte per sample. Below it, a tensor costs a little, and an operation computed twice costs 1."""
TENSOR, REARRANGED = 1 << 10, 1 << 9
MAX_EXTRA_WORK = 0.01
MAX_COST = 1 << 50
MAX_NAMED = 5

SOURCE, SINK = "source", "sink"


@dataclass(frozen=True)
class Boundary:
    """`carried`: handed on, in order. `again`: nodes computed before the boundary and again behind it. `ahead`: nodes
    computed before it although only later segments need them."""

    carried: tuple[ir.Value, ...]
    again: frozenset[ir.Node]
    ahead: frozenset[ir.Node]


@dataclass(frozen=True)
class _Problem:
    prepared: Prepared
    available: Collection[ir.Value]
    """What the segment before the boundary is given."""
    early: Collection[ir.Node]
    """What the exit needs."""
    future: Sequence[ir.Node]
    """What later outputs need, in the order of the graph, nodes without a way from `available` left out."""
    wanted: Sequence[ir.Value]
    """Later outputs."""
    max_batch: int
    costs: dict[ir.Node, float] = field(default_factory=dict)

    @property
    def analysis(self) -> BatchAnalysis:
        return self.prepared.analysis

    def cost(self, node: ir.Node) -> float:
        if node not in self.costs:
            self.costs[node] = work(node, self.analysis)
        return self.costs[node]

    def total(self, nodes: Collection[ir.Node]) -> float:
        return sum(cost for cost in map(self.cost, nodes) if cost < math.inf)


def choose_boundary(
    prepared: Prepared,
    available: Collection[ir.Value],
    exit_outputs: Sequence[ir.Value],
    next_outputs: Sequence[ir.Value],
    later_outputs: Sequence[ir.Value],
    max_batch: int,
) -> Boundary:
    """The cheapest boundary behind the exit that gives `exit_outputs`.

    `next_outputs` are those of the next segment, `later_outputs` those of all later ones.
    """
    stop = {*available, prepared.batch_size}
    early = needed(exit_outputs, stop)
    dependent = _dependent(prepared, available)
    behind = needed(later_outputs, stop)
    future = [node for node in prepared.graph if node in behind and node in dependent]
    problem = _Problem(prepared, available, early, future, later_outputs, max_batch)
    before_budget = MAX_EXTRA_WORK * problem.total(early)
    behind_budget = MAX_EXTRA_WORK * problem.total(needed(next_outputs, stop) - early)

    movable = {node for node in future if not prepared.whole.intersection(node.outputs)}
    free = {n for n in movable if problem.cost(n) <= (behind_budget if n in early else before_budget)}
    best = _solve(problem, free) or _solve(problem, movable)
    if best is None:
        raise _nothing_to_carry(problem)
    while excess := [
        nodes
        for nodes, budget in ((best.again, behind_budget), (best.ahead, before_budget))
        if problem.total(nodes) > budget
    ]:
        free -= {max(nodes, key=problem.cost) for nodes in excess}
        cheaper = _solve(problem, free)
        if cheaper is None:
            break
        best = cheaper
    return best


def _dependent(prepared: Prepared, available: Collection[ir.Value]) -> set[ir.Node]:
    """Nodes whose result depends on what the segment is given (and not on the batch size and weights alone)."""
    values, nodes = {*available, *prepared.whole}, set()
    for node in prepared.graph:
        if prepared.whole.intersection(node.outputs) or any(value in values for value in inputs_of(node)):
            if prepared.batch_size in node.outputs:
                continue
            nodes.add(node)
            values.update(node.outputs)
    return nodes


def _solve(problem: _Problem, free: Collection[ir.Node]) -> Boundary | None:
    """The cheapest boundary if only `free` nodes may be computed twice or ahead; None if there is none."""
    side = {node: node if node in free else _pinned(problem, node) for node in problem.future}
    capacity, before = _network(problem, side).source_side(SOURCE, SINK)
    if capacity >= INFINITE:
        return None
    values = [*problem.available, *(value for node in problem.future for value in node.outputs)]
    crossing = [
        value
        for value in values
        if ("carry", value) not in before and (value in problem.available or _vertex(value, side) in before)
    ]
    given = {problem.prepared.batch_size}
    behind = needed(problem.wanted, given.union(crossing))
    read = {value for node in behind for value in inputs_of(node)} | set(problem.wanted)
    carried = tuple(value for value in crossing if value in read)
    ahead = needed(carried, given.union(problem.available))
    return Boundary(
        carried,
        frozenset(node for node in problem.future if node in behind and node in problem.early),
        frozenset(node for node in problem.future if node in ahead and node not in problem.early),
    )


def _pinned(problem: _Problem, node: ir.Node) -> str:
    early = node in problem.early or problem.prepared.whole.intersection(node.outputs)
    return SOURCE if early else SINK


def _vertex(value: ir.Value, side: Mapping[ir.Node, ir.Node | str]) -> ir.Node | str | None:
    """Where a value is computed: a free node, or one of the two sides; None if it is no part of the problem."""
    producer = value.producer()
    return None if producer is None else side.get(producer)


def _network(problem: _Problem, side: Mapping[ir.Node, ir.Node | str]) -> Network:
    network = Network()
    network.connect(SOURCE, SINK, 0)
    carriers: set[ir.Value] = set()

    def reads(value: ir.Value, reader: ir.Node | str, reader_is_late: bool) -> None:
        start = SOURCE if value in problem.available else _vertex(value, side)
        if start is None:
            return
        if reader == SOURCE:
            if reader_is_late:
                network.connect(SOURCE, start, INFINITE)
            return
        if start != SINK and value not in carriers:
            carriers.add(value)
            network.connect(start, ("carry", value), _price(problem, value))
        if start != SINK:
            network.connect(("carry", value), reader, INFINITE)
        if reader_is_late and reader != SINK and start != SOURCE and value.producer() not in problem.early:
            network.connect(reader, start, INFINITE)

    for node, vertex in side.items():
        late = node not in problem.early
        if vertex is node:
            extra = max(1, int(min(problem.cost(node), MAX_COST)))
            tail, head = (node, SINK) if late else (SOURCE, node)
            network.connect(tail, head, extra)
        for value in inputs_of(node):
            reads(value, vertex, late)
    for value in problem.wanted:
        reads(value, SINK, False)
    return network


def _price(problem: _Problem, value: ir.Value) -> int:
    if not can_be_carried(value, problem.analysis):
        return INFINITE
    rows = problem.analysis.rows(value)
    rearranged = 0 if rows is None or (rows.alone and rows.axis == 0) else REARRANGED
    size = problem.analysis.bytes_per_sample(value, problem.max_batch)
    return int(size * BYTE) + TENSOR + rearranged


def _nothing_to_carry(problem: _Problem) -> UnsupportedModelError:
    values = [*problem.available, *(value for node in problem.future for value in node.outputs)]
    bad = [repr(value.name) for value in values if not can_be_carried(value, problem.analysis)][:MAX_NAMED]
    return UnsupportedModelError(
        f"the model cannot be cut behind this exit: one of {', '.join(bad)} would have to be handed to the next "
        "segment, and its rows cannot be taken out, nor can it be computed again; leave out this exit with --exits"
    )


def alive_at_head(prepared: Prepared, done: Sequence[ir.Value], later: Sequence[ir.Value]) -> list[ir.Value]:
    """What a cut that chooses nothing hands on: all values that `done` outputs needed and that are read behind them."""
    before = needed(done)
    behind = [node for node in needed(later) if node not in before]
    read = {value for node in behind for value in inputs_of(node)} | set(later)
    varying = {
        *prepared.graph.inputs,
        *(v for node in _dependent(prepared, prepared.graph.inputs) for v in node.outputs),
    }
    return [value for value in varying & read if value.producer() is None or value.producer() in before]
