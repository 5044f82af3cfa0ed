"""Make the batch size one value, and tell its two meanings apart.

before:  x [B, L, 8] ─ Shape ─ Gather(0) ─┬─ Concat ─ Reshape's shape          (how many rows are there?)
                                          └─ Cast ─ Mul(feature)               (how many rows had the batch?)
after:   batch_size ─┬─ Concat ─ Reshape's shape
                     └─ Identity (whole) ─ Cast ─ Mul(feature)

`batch_size` is computed anew in every segment, from the rows that are there. `whole` values are computed in the first
segment, where all rows are, and carried on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, TopologicalSortPass

from etbac.errors import UnsupportedModelError
from etbac.passes.batch import BatchAnalysis, Fact, analyse
from etbac.passes.batch.facts import BATCH, CONSTANT
from etbac.passes.exit_model import ExitModel

BATCH_SIZE = "batch_size"
MAX_LENGTH = 16
"""A longer vector is no shape."""


@dataclass(frozen=True)
class Prepared:
    """A copy of a model in which every batch size comes from `batch_size` (int64 [1])."""

    source: ExitModel
    analysis: BatchAnalysis
    batch_size: ir.Value
    whole: frozenset[ir.Value]
    outputs: Mapping[str, ir.Value]
    """The model's outputs by the names that they had."""

    @property
    def graph(self) -> ir.Graph:
        return self.source.model.graph


def prepare(model: ExitModel) -> Prepared:
    """Copy the model, analyse the copy, and rewrite it as shown above."""
    copy = replace(model, model=model.model.clone())
    names = [value.name or "" for value in copy.model.graph.outputs]
    NameFixPass()(copy.model)
    return _Rewriter(copy, analyse(copy), names).run()


class _Rewriter:
    def __init__(self, model: ExitModel, analysis: BatchAnalysis, output_names: Sequence[str]) -> None:
        self.output_names = output_names
        self.model, self.graph = model, model.model.graph
        self.facts: dict[ir.Value, Fact] = dict(analysis.facts)
        self.analysis = replace(analysis, facts=self.facts)
        self.names = {value.name for value in analysis.facts}
        self.kept: dict[ir.Value, ir.Value] = {}
        self.batch_size = self._batch_size()

    def run(self) -> Prepared:
        whole = frozenset(
            [self._keep_whole(node, index) for node, index in sorted_uses(self.analysis)] + self._whole_outputs()
        )
        for graph in self.model.model.graphs():
            for node in list(graph):
                self._rewrite(graph, node)
        TopologicalSortPass()(self.model.model)
        outputs = dict(zip(self.output_names, self.graph.outputs, strict=True))
        return Prepared(self.model, self.analysis, self.batch_size, whole, outputs)

    def _batch_size(self) -> ir.Value:
        batched = [value for value in self.graph.inputs if self.model.batch_axes.get(value.name or "") is not None]
        batched.sort(key=lambda value: not value.uses())
        if not batched:
            raise UnsupportedModelError("no input of this model has a batch; name the axis with --batch-axis")
        axis = self.model.batch_axes[batched[0].name or ""]
        shape = ir.node("Shape", [batched[0]], {"start": axis, "end": (axis or 0) + 1})
        self._place(self.graph, None, [shape])
        value = shape.outputs[0]
        self._name(value, BATCH_SIZE)
        worlds = self.analysis.worlds
        self.facts[value] = Fact(ir.DataType.INT64, ((1,),) * len(worlds), (None,) * len(worlds), sized=True)
        return value

    def _keep_whole(self, node: ir.Node, index: int) -> ir.Value:
        value = node.inputs[index]
        assert value is not None
        if value not in self.kept:
            self.kept[value] = self._whole_copy(self._lifted(node, value))
        kept = self.kept[value]
        node.replace_input_with(index, kept)
        return kept

    def _lifted(self, reader: ir.Node, value: ir.Value) -> ir.Value:
        """The same value, which a body computes from sizes alone, computed outside of it."""
        fact, producer = self.facts[value], value.producer()
        if value.graph is self.graph:
            return value
        parts = self._spelled(fact) if fact.dtype == ir.DataType.INT64 else None
        content = fact.contents[0]
        if parts is not None:
            nodes, lifted = self._vector(parts, len(fact.shapes[0] or ()))
        elif fact.pure and not fact.sized and content is not None and not content.any(~0):
            nodes = [ir.node("Constant", [], {"value": ir.tensor(content.array)})]
            lifted = nodes[0].outputs[0]
        elif producer is not None and producer.op_type not in ("Shape", "Size") and len(producer.outputs) == 1:
            inputs = [None if each is None else self._lifted(reader, each) for each in producer.inputs]
            nodes = [ir.Node(producer.domain, producer.op_type, inputs, producer.attributes.values())]
            lifted = nodes[0].outputs[0]
        else:
            raise UnsupportedModelError(
                f"{reader.op_type} {reader.name!r} inside a sub-graph reads {value.name!r}, which depends on the batch "
                "size, as data; move what computes it out of the sub-graph"
            )
        self.graph.extend(nodes)
        self._register(nodes, value, lifted)
        return lifted

    def _whole_outputs(self) -> list[ir.Value]:
        """Outputs that are sizes are data, too."""
        outputs = self.graph.outputs
        sized = [place for place, value in enumerate(outputs) if self.facts[value].pure and self.facts[value].sized]
        for place in sized:
            outputs[place] = self._whole_copy(outputs[place])
        return [outputs[place] for place in sized]

    def _whole_copy(self, value: ir.Value) -> ir.Value:
        identity = ir.node("Identity", [value])
        self._place(self.graph, value.producer(), [identity])
        kept = identity.outputs[0]
        self._name(kept, f"{value.name}.whole")
        fact = self.facts[value]
        self.facts[kept] = replace(fact, contents=(None,) * len(fact.contents))
        kept.type, kept.shape = value.type, value.shape
        return kept

    def _rewrite(self, graph: ir.Graph, node: ir.Node) -> None:
        if self.batch_size in node.outputs:
            return
        for value in node.outputs:
            fact = self.facts.get(value)
            if fact is None or not fact.pure or fact.rows is not None or fact.dtype != ir.DataType.INT64:
                continue
            parts = self._spelled(fact)
            if parts is None or node.op_type == "Constant":
                continue
            self._replace(graph, node, value, self._vector(parts, len(fact.shapes[0] or ())))
        if node.op_type == "Shape" and node.domain == "":
            self._split_shape(graph, node)

    def _spelled(self, fact: Fact) -> list[tuple[str, int]] | None:
        """Each element as ("constant", c) or ("batch", c) for c·B; None if one is neither."""
        contents = [content for content in fact.contents if content is not None]
        if contents[0].array.ndim > 1 or contents[0].array.size > MAX_LENGTH or contents[0].array.size == 0:
            return None
        worlds = self.analysis.worlds
        parts = []
        for place in range(contents[0].array.size):
            values = [int(content.array.reshape(-1)[place]) for content in contents]
            depends = int(contents[0].depends.reshape(-1)[place])
            if depends == CONSTANT:
                parts.append(("constant", values[0]))
                continue
            times = values[0] // worlds[0].batch
            if depends != BATCH or any(v != times * w.batch for v, w in zip(values, worlds, strict=True)):
                return None
            parts.append(("batch", times))
        return parts

    def _vector(self, parts: Sequence[tuple[str, int]], rank: int) -> tuple[list[ir.Node], ir.Value]:
        nodes: list[ir.Node] = []
        pieces = []
        for kind, number in parts:
            piece = self._constant(nodes, [number]) if kind == "constant" or number != 1 else self.batch_size
            if kind == "batch" and number != 1:
                nodes.append(ir.node("Mul", [self.batch_size, piece]))
                piece = nodes[-1].outputs[0]
            pieces.append(piece)
        if len(pieces) > 1:
            nodes.append(ir.node("Concat", pieces, {"axis": 0}))
        elif rank == 0:
            nodes.append(ir.node("Squeeze", pieces))
        elif not nodes:
            nodes.append(ir.node("Identity", pieces))
        return nodes, nodes[-1].outputs[0]

    def _constant(self, nodes: list[ir.Node], numbers: Sequence[int]) -> ir.Value:
        nodes.append(ir.node("Constant", [], {"value": ir.tensor(np.array(numbers, np.int64))}))
        return nodes[-1].outputs[0]

    def _split_shape(self, graph: ir.Graph, node: ir.Node) -> None:
        """Shape of a value with rows that holds other dynamic sizes too: put the batch size in from outside."""
        source = node.inputs[0]
        rows = None if source is None else self.facts[source].rows
        if source is None or rows is None or not node.outputs[0].uses() or len(set(rows.factors)) != 1:
            return
        rank = len(self.facts[source].shapes[0] or ())
        chosen = range(rank)[node.attributes.get_int("start", 0) : node.attributes.get_int("end", rank)]
        if rows.axis not in chosen:
            return
        times = rows.factors[0][0] * rows.factors[0][1]
        before, after = range(chosen.start, rows.axis), range(rows.axis + 1, chosen.stop)
        nodes, middle = self._vector([("batch", times)], 1)
        parts = [middle]
        for piece, place in ((before, 0), (after, len(parts))):
            if len(piece):
                shape = ir.node("Shape", [source], {"start": piece.start, "end": piece.stop})
                nodes.append(shape)
                parts.insert(0 if place == 0 else len(parts), shape.outputs[0])
        nodes.append(ir.node("Concat", parts, {"axis": 0}))
        self._replace(graph, node, node.outputs[0], (nodes, nodes[-1].outputs[0]))

    def _replace(self, graph: ir.Graph, node: ir.Node, old: ir.Value, built: tuple[list[ir.Node], ir.Value]) -> None:
        nodes, new = built
        self._place(graph, node, nodes)
        self._register(nodes, old, new)
        old.replace_all_uses_with(new, replace_graph_outputs=True)

    def _register(self, nodes: Sequence[ir.Node], old: ir.Value, new: ir.Value) -> None:
        """Names and facts of what replaces `old`."""
        for node in nodes:
            for value in node.outputs:
                self._name(value, f"{old.name}.size")
                self.facts[value] = self._small_fact(node, old if value is new else None)

    def _small_fact(self, node: ir.Node, old: ir.Value | None) -> Fact:
        if old is not None:
            return self.facts[old]
        worlds = len(self.analysis.worlds)
        length = (
            node.attributes.get_int("end", 1) - node.attributes.get_int("start", 0) if node.op_type == "Shape" else 1
        )
        return Fact(ir.DataType.INT64, ((length,),) * worlds, (None,) * worlds)

    def _place(self, graph: ir.Graph, after: ir.Node | None, nodes: Sequence[ir.Node]) -> None:
        first = next(iter(graph), None)
        if after is not None:
            graph.insert_after(after, nodes)
        elif first is not None:
            graph.insert_before(first, nodes)
        else:
            graph.extend(nodes)

    def _name(self, value: ir.Value, wanted: str) -> None:
        name, number = wanted, 1
        while name in self.names:
            number += 1
            name = f"{wanted}.{number}"
        self.names.add(name)
        value.name = name
        node = value.producer()
        assert node is not None
        node.name = name


def sorted_uses(analysis: BatchAnalysis) -> Iterator[tuple[ir.Node, int]]:
    """The whole uses in an order that does not depend on memory addresses."""
    yield from sorted(analysis.whole_uses, key=lambda use: (use[0].outputs[0].name or "", use[1]))
