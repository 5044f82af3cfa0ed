"""Small questions about nodes and values that the splitter's parts share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import onnx_ir as ir


def inputs_of(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, values of outer graphs that its bodies capture included."""
    seen: set[ir.Value] = set()
    for value in _reads(node):
        if value not in seen:
            seen.add(value)
            yield value


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        inside = set(body.inputs) | set(body.initializers.values())
        for inner in body:
            yield from (value for value in _reads(inner) if value not in inside)
            inside.update(inner.outputs)
        yield from (value for value in body.outputs if value is not None and value not in inside)


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The sub-graphs of a node."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def needed(outputs: Iterable[ir.Value], stop: Iterable[ir.Value] = ()) -> set[ir.Node]:
    """The nodes that compute `outputs` from the values at which the search stops."""
    stopped = set(stop)
    nodes: set[ir.Node] = set()
    queue = [value for value in outputs if value not in stopped]
    while queue:
        node = queue.pop().producer()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        queue.extend(value for value in inputs_of(node) if value not in stopped)
    return nodes


def keep_only(graph: ir.Graph, nodes: Collection[ir.Node]) -> None:
    """Remove all other nodes of a graph, what their sub-graphs capture included, and initialisers that nobody reads."""
    unused = [node for node in graph if node not in nodes]
    for node in unused:
        _detach(node)
    graph.remove(unused, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def _detach(node: ir.Node) -> None:
    for place in range(len(node.inputs)):
        node.replace_input_with(place, None)
    for body in bodies(node):
        for inner in body:
            _detach(inner)
        body.outputs.clear()
