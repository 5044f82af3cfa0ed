"""What a value that depends on the batch size is for: data, or a shape or an index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import onnx_ir as ir

from etbac.passes.batch.facts import Fact
from etbac.passes.batch.operators import LOOKS_UP, STRUCTURAL


def structural_inputs(node: ir.Node, inputs: Sequence[Fact | None]) -> list[int]:
    """Inputs of `node` that are shapes, axes, or numbers of rows that are there."""
    named = [index for index in STRUCTURAL.get(node.op_type, ()) if index < len(inputs)]
    return [*named, 1] if looks_up_rows(node, inputs) else named


def looks_up_rows(node: ir.Node, inputs: Sequence[Fact | None]) -> bool:
    """Whether the second input counts on the axis of the rows of the first."""
    data = inputs[0] if inputs else None
    if node.op_type not in LOOKS_UP or data is None or data.rows is None or data.shapes[0] is None:
        return False
    if node.op_type == "Gather":
        return node.attributes.get_int("axis", 0) % len(data.shapes[0]) == data.rows.axis
    return data.rows.axis >= node.attributes.get_int("batch_dims", 0)


def index_nodes(
    graphs: Sequence[ir.Graph], structural: Mapping[ir.Node, Collection[int]], sized: Mapping[ir.Node, Collection[int]]
) -> set[ir.Node]:
    """Nodes that read sizes or row numbers as data and whose results serve as shapes or indices only."""
    found: set[ir.Node] = set()
    for graph in reversed(graphs):
        for node in reversed(graph):
            if sized.get(node) and all(_is_index(*use, structural, found) for use in _uses(node)):
                found.add(node)
    return found


def _is_index(
    user: ir.Node | None, place: int, structural: Mapping[ir.Node, Collection[int]], found: Collection[ir.Node]
) -> bool:
    return user is not None and (place in structural.get(user, ()) or user in found)


def _uses(node: ir.Node) -> Iterator[tuple[ir.Node | None, int]]:
    """(reader, input number) of every use of the node's results; None for an output of the graph."""
    for value in node.outputs:
        if value.is_graph_output():
            yield None, 0
        yield from value.uses()
