"""Early exit by ONNX's `If`: the whole model as one graph that stops when every sample of the batch was sure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from etbac.passes.exit_model import ExitModel
from etbac.passes.split.values import inputs_of

ANSWER = "prediction"


def if_graph(exit_model: ExitModel) -> ir.Model:
    """The model of a classifier with gates, in place, with one output `prediction` [B, C].

    before:  stem ─┬─ head 1 ─> exit_1, gate_1.exit_mask
                   └─ trunk ──> logits
    after:   stem ─ head 1 ─ If(all of gate_1.exit_mask)
                               then: exit_1
                               else: trunk; Where(gate_1.exit_mask, exit_1, logits)

    and so on inside the `else` for later exits. What was computed before is read from outside; weights stand where they
    are read first, so that they are constants there. Each sample's answer is that of the first exit that was sure.
    """
    graph = exit_model.model.graph
    named = {value.name: value for value in graph.outputs}
    (full,) = (named[name] for name in exit_model.full.values())
    full.name = "if_last"
    answers = [named[name] for fields in exit_model.exits.values() for name in fields.values()]
    masks = [named[f"gate_{exit_id}.exit_mask"] for exit_id in exit_model.exits]
    depths = _depths([*zip(answers, masks, strict=True), (full,)])
    nodes: list[list[ir.Node]] = [[] for _ in range(len(masks) + 1)]
    for node in list(graph):
        if node in depths:
            nodes[depths[node]].append(node)
    weights = _weights(graph, depths)
    graph.outputs.clear()
    graph.remove(list(graph))

    answer = full
    inside, held = nodes[-1], weights[-1]
    for depth in reversed(range(len(masks))):
        branch = _Branch(depth, answers[depth], masks[depth], full)
        choice, answer = branch.choose(inside, held, answer)
        inside, held = [*nodes[depth], *choice], weights[depth]
    answer.name = ANSWER
    graph.extend(inside)
    graph.initializers.update({str(value.name): value for value in held})
    graph.outputs.append(answer)
    return exit_model.model


class _Branch:
    """The end of what is computed up to one exit: go on only where somebody is not sure."""

    def __init__(self, depth: int, answer: ir.Value, mask: ir.Value, like: ir.Value) -> None:
        self._prefix, self._answer, self._mask, self._like = f"if_{depth}", answer, mask, like

    def choose(
        self, later: Sequence[ir.Node], weights: Sequence[ir.Value], last: ir.Value
    ) -> tuple[list[ir.Node], ir.Value]:
        """Nodes that end in the `If`, and its output; `later` computes `last`, and holds `weights`."""
        axis = ir.tensor(np.array([1]), name=f"{self._prefix}.axis")
        axes = ir.Value(name=axis.name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]), const_value=axis)
        rows = self._node("Unsqueeze", [self._mask, axes], ir.DataType.BOOL)
        chosen = self._node("Where", [rows.outputs[0], self._answer, last])
        otherwise = ir.Graph(
            [], chosen.outputs, nodes=[*later, rows, chosen], initializers=[*weights, axes], name=f"{self._prefix}.else"
        )
        kept = self._node("Identity", [self._answer])
        at_once = ir.Graph([], kept.outputs, nodes=[kept], name=f"{self._prefix}.then")

        counted = self._node("Cast", [self._mask], ir.DataType.INT32, to=ir.DataType.INT32.value)
        fewest = self._node("ReduceMin", counted.outputs, ir.DataType.INT32, keepdims=0)
        sure = self._node("Cast", fewest.outputs, ir.DataType.BOOL, to=ir.DataType.BOOL.value)
        branch = self._node("If", sure.outputs, then_branch=at_once, else_branch=otherwise)
        return [counted, fewest, sure, branch], branch.outputs[0]

    def _node(
        self, op_type: str, inputs: Sequence[ir.Value], dtype: ir.DataType | None = None, **attributes: object
    ) -> ir.Node:
        """With one output: the answer's type and shape, or a helper's of that type."""
        name = f"{self._prefix}.{op_type}" + ("" if dtype is None else f".{dtype.name}")
        output = ir.Value(name=name, type=self._like.type, shape=self._like.shape)
        if dtype is not None:
            output.type, output.shape = ir.TensorType(dtype), None
        return ir.node(op_type, inputs, attributes, outputs=[output], name=name)  # type: ignore[arg-type]


def _depths(wanted: Sequence[Sequence[ir.Value]]) -> dict[ir.Node, int]:
    """Every node that one of these needs, and the first of the groups that does."""
    found: dict[ir.Node, int] = {}
    for depth, values in enumerate(wanted):
        waiting = list(values)
        while waiting:
            producer = waiting.pop().producer()
            if producer is not None and producer not in found:
                found[producer] = depth
                waiting.extend(inputs_of(producer))
    return found


def _weights(graph: ir.Graph, depths: dict[ir.Node, int]) -> list[list[ir.Value]]:
    """Initialisers by the depth at which they are read first; they are the graph's no more."""
    found: list[list[ir.Value]] = [[] for _ in range(max(depths.values()) + 1)]
    first: dict[ir.Value, int] = {}
    for node, depth in depths.items():
        for value in inputs_of(node):
            if value.is_initializer():
                first[value] = min(depth, first.get(value, depth))
    graph.initializers.clear()
    for value, depth in first.items():
        found[depth].append(value)
    return found
